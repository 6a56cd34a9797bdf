"""E-mail at a pace: PaceMail takes alerts from their queue and publishes them, merged, to the mail topic."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from stacks.acknowledge import acknowledge
from stacks.alerts import MAIL_SECONDS, Alerts
from stacks.config import DeployConfig
from stacks.function import function
from stacks.rights import publish
from stacks.table import on_table

MERGED = 100  # alerts of one mail


class Mail(Construct):
    """The function `pace_mail`, and the queue that it is fed from."""

    def __init__(
        self, scope: Construct, construct_id: str, config: DeployConfig, *, alerts: Alerts, table: dynamodb.ITable
    ) -> None:
        super().__init__(scope, construct_id)
        self.function = function(
            self,
            "PaceMail",
            config,
            folder="pace_mail",
            seconds=MAIL_SECONDS,
            memory=512,
            environment={
                "TABLE": table.table_name,
                "MAIL_TOPIC": alerts.mail.topic_arn,
                "MAIL_QUEUE": alerts.outgoing.queue_url,
                "LOG_LEVEL": "INFO",
            },
            rights=[
                iam.PolicyStatement(
                    actions=[
                        "sqs:ChangeMessageVisibility",
                        "sqs:DeleteMessage",
                        "sqs:GetQueueAttributes",
                        "sqs:ReceiveMessage",
                    ],
                    resources=[alerts.outgoing.queue_arn],
                ),
                on_table(table, "BatchGetItem", "GetItem", "PutItem"),
                *publish(alerts.mail, alerts.key),
            ],
            failures="SQS delivers again what it failed at, and then keeps it among the dead letters",
        )
        outgoing = lambda_.EventSourceMapping(
            self,
            "Outgoing",
            target=self.function,
            event_source_arn=alerts.outgoing.queue_arn,
            batch_size=MERGED,
            max_batching_window=cdk.Duration.seconds(1),  # Lambda takes more than 10 messages at once only with one
            max_concurrency=2,  # the least there is: more would mail one by one what could be merged
            report_batch_item_failures=True,
        )
        acknowledge(
            outgoing,
            {"Serverless-LambdaEventSourceMappingDestination": "for a queue that is its own dead-letter queue"},
        )
