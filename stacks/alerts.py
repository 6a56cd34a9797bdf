"""Where people are told: the alert topic, its key, and who is subscribed."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.config import DeployConfig

# The AWS services that publish alerts. A topic under an AWS-managed key would silence both: that key's policy cannot
# admit them (SNS Developer Guide, "Enable compatibility between event sources ... and encrypted topics").
PUBLISHERS = ("cloudwatch.amazonaws.com", "events.amazonaws.com")


class Alerts(Construct):
    """`topic`, encrypted with `key`; e-mail gets a message's text, queues and HTTPS endpoints its JSON."""

    def __init__(self, scope: Construct, construct_id: str, config: DeployConfig) -> None:
        super().__init__(scope, construct_id)
        account = cdk.Stack.of(self).account
        removal = cdk.RemovalPolicy[config.removal.upper()]
        publishers = [iam.ServicePrincipal(name) for name in PUBLISHERS]
        here = {"StringEquals": {"aws:SourceAccount": account}}

        self.key = kms.Key(self, "Key", description="ICS alerts", enable_key_rotation=True, removal_policy=removal)
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=publishers, actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=["*"], conditions=here
            )
        )
        self.topic = sns.Topic(self, "Topic", display_name="ICS", master_key=self.key, enforce_ssl=True)
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=publishers, actions=["sns:Publish"], resources=[self.topic.topic_arn], conditions=here
            )
        )
        for address in config.alert_emails:
            self.topic.add_subscription(subscriptions.EmailSubscription(address))
        for url in config.alert_https:
            self.topic.add_subscription(subscriptions.UrlSubscription(url, protocol=sns.SubscriptionProtocol.HTTPS))
        for name in config.alert_queues:
            self.topic.add_subscription(subscriptions.SqsSubscription(self._queue(name), raw_message_delivery=True))

    def _queue(self, name: str) -> sqs.Queue:
        return sqs.Queue(
            self,
            name,
            queue_name=name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
            removal_policy=cdk.RemovalPolicy.DESTROY,  # named, so one left behind would block the next deployment
        )
