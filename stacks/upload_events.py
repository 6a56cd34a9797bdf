"""Runs that begin by themselves: S3 tells EventBridge of an upload, a queue gathers them, StartRun starts a run."""

import json

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from ics import paths
from stacks.acknowledge import acknowledge
from stacks.alarm import alarm
from stacks.buckets import Buckets
from stacks.config import DeployConfig, EventsConfig
from stacks.function import function
from stacks.rights import write
from stacks.table import on_table

RUNBOOKS = ("dead-letters", "uploads-waiting")
SECONDS = 30  # StartRun's own timeout; a claim of its is old after twice as long (lambdas/start_run/starting.py)
KEPT_DAYS = 14  # the longest that SQS keeps a message
RECEIVES = 5
WAITED_MINUTES = 30  # beyond a window, and some deliveries that failed


class UploadEvents(Construct):
    """`queue`, of uploads under `[events].prefix`; `dead_letters`, of what could not be started; and StartRun."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        settings: EventsConfig,
        *,
        buckets: Buckets,
        table: dynamodb.ITable,
        state_machine: sfn.StateMachine,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = self._queue("DeadLetters", f"ics-{config.environment}-uploads-dead")
        self.queue = self._queue(
            "Queue",
            f"ics-{config.environment}-uploads",
            # Lambda Developer Guide, "Using Lambda with Amazon SQS": at least six times the function's timeout, and the
            # window.
            visibility_timeout=cdk.Duration.seconds(6 * SECONDS + settings.window_seconds),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=RECEIVES),
        )
        events.Rule(
            self,
            "Rule",
            description=f"Uploads under {settings.prefix} are classified",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [buckets.images.bucket_name]},
                    "object": {"key": [{"prefix": settings.prefix}]},
                },
            ),
            targets=[targets.SqsQueue(self.queue, dead_letter_queue=self.dead_letters)],
        )
        start_run = function(
            self,
            "StartRun",
            config,
            folder="start_run",
            seconds=SECONDS,
            memory=1024,
            environment={
                "WORKING_BUCKET": buckets.working.bucket_name,
                "TABLE": table.table_name,
                "IMAGES_BUCKET": buckets.images.bucket_name,
                "UPLOAD_PREFIX": settings.prefix,
                "UPLOAD_REQUEST": json.dumps(settings.request, separators=(",", ":")),
                "STATE_MACHINE": state_machine.state_machine_arn,
                "LOG_LEVEL": "INFO",
            },
            rights=[
                iam.PolicyStatement(
                    actions=["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
                    resources=[self.queue.queue_arn],
                ),
                on_table(table, "BatchGetItem", "PartiQLInsert", "PutItem"),
                *write(buckets.working, f"{paths.MANIFESTS}*"),
                iam.PolicyStatement(actions=["states:StartExecution"], resources=[state_machine.state_machine_arn]),
                iam.PolicyStatement(actions=["states:DescribeExecution"], resources=[_executions(state_machine)]),
            ],
            failures="SQS delivers again what it failed at, and then keeps it among the dead letters",
        )
        gather = lambda_.EventSourceMapping(
            self,
            "Gather",
            target=start_run,
            event_source_arn=self.queue.queue_arn,
            # Lambda takes more than 10 messages at once only with a window.
            batch_size=10_000 if settings.window_seconds else 10,
            max_batching_window=cdk.Duration.seconds(settings.window_seconds) if settings.window_seconds else None,
            max_concurrency=2,
            report_batch_item_failures=True,
        )
        acknowledge(
            gather, {"Serverless-LambdaEventSourceMappingDestination": "for a queue that is its own dead-letter queue"}
        )
        self._alarms(config, topic)

    def _queue(self, construct_id: str, name: str, **properties: object) -> sqs.Queue:
        return sqs.Queue(
            self,
            construct_id,
            queue_name=name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(KEPT_DAYS),
            removal_policy=cdk.RemovalPolicy.DESTROY,  # named, so one left behind would block the next deployment
            **properties,  # type: ignore[arg-type]
        )

    def _alarms(self, config: DeployConfig, topic: sns.ITopic) -> None:
        period = cdk.Duration.minutes(5)
        alarm(
            self.dead_letters,
            "dead-letters",
            config,
            topic,
            metric=self.dead_letters.metric_approximate_number_of_messages_visible(period=period),
            threshold=1,
            says="Uploads could not be given to a run, and wait for `ics redrive`.",
        )
        alarm(
            self.queue,
            "uploads-waiting",
            config,
            topic,
            metric=self.queue.metric_approximate_age_of_oldest_message(period=period),
            threshold=cdk.Duration.minutes(WAITED_MINUTES).to_seconds(),
            says=f"An upload has waited {WAITED_MINUTES} minutes for a run to be started over it.",
        )
        kept = "encrypted with keys that SQS manages, which checkov does not look for"
        last = "people look at what lies here, and `ics redrive` sends it back: there is no place further on"
        acknowledge(self.queue, {"CKV_AWS_27": kept})
        acknowledge(
            self.dead_letters,
            {"CKV_AWS_27": kept, "AwsSolutions-SQS3": last, "Serverless-SQSRedrivePolicy": last},
        )


def _executions(state_machine: sfn.StateMachine) -> str:
    """The ARN pattern of a state machine's own executions."""
    stack = cdk.Stack.of(state_machine)
    name = state_machine.state_machine_name
    return f"arn:{stack.partition}:states:{stack.region}:{stack.account}:execution:{name}:*"
