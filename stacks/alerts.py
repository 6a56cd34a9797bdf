"""Where people are told: the alert topic and its key, who is subscribed, and what becomes e-mail."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.acknowledge import acknowledge
from stacks.alarm import alarm
from stacks.config import DeployConfig

# The AWS services that publish alerts. A topic under an AWS-managed key would silence both: that key's policy cannot
# admit them (SNS Developer Guide, "Enable compatibility between event sources ... and encrypted topics").
PUBLISHERS = ("cloudwatch.amazonaws.com", "events.amazonaws.com")

MAIL_SECONDS = 30
"""PaceMail's timeout: shorter than its claim on an alert (lambdas/pace_mail/mailed.py)."""

MAIL_TRIES = 200
KEPT_DAYS = 14  # the longest that SQS keeps a message
UNREAD_DAYS = 3
LEFT_FOR_PEOPLE = {
    "CKV_AWS_27": "encrypted with keys that SQS manages, which checkov does not look for",
    "AwsSolutions-SQS3": "whoever reads it decides on what cannot be read: there is no place further on",
    "Serverless-SQSRedrivePolicy": "whoever reads it decides on what cannot be read: there is no place further on",
}


class Alerts(Construct):
    """`topic`, encrypted with `key`, whose queues and HTTPS endpoints get each message's JSON as it is published.

    E-mail is paced: `outgoing` is a queue of all alerts, of which PaceMail makes mails, and `mail` the topic that sends
    them. SNS suspends a subscriber who is mailed faster than some ten times a second, and people do so earlier.
    """

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
        self.mail = sns.Topic(self, "Mail", display_name="ICS", master_key=self.key, enforce_ssl=True)
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=publishers, actions=["sns:Publish"], resources=[self.topic.topic_arn], conditions=here
            )
        )
        lost = self._undelivered(config)
        for address in config.alert_emails:
            self.mail.add_subscription(subscriptions.EmailSubscription(address, dead_letter_queue=lost))
        for url in config.alert_https:
            self.topic.add_subscription(
                subscriptions.UrlSubscription(url, protocol=sns.SubscriptionProtocol.HTTPS, dead_letter_queue=lost)
            )
        for name in config.alert_queues:
            queue = self._queue(name, config)
            self.topic.add_subscription(
                subscriptions.SqsSubscription(queue, raw_message_delivery=True, dead_letter_queue=lost)
            )
        self.outgoing = self._outgoing(config)
        # Not raw: the mail needs the subject, and SNS's id where a message has none of ours.
        self.topic.add_subscription(subscriptions.SqsSubscription(self.outgoing, dead_letter_queue=lost))

    def _undelivered(self, config: DeployConfig) -> sqs.Queue:
        """Where SNS leaves what a subscriber did not take after all its tries."""
        queue = sqs.Queue(
            self,
            "Undelivered",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(KEPT_DAYS),
        )
        alarm(
            queue,
            "alerts-undelivered",
            config,
            self.topic,
            metric=queue.metric_approximate_number_of_messages_visible(period=cdk.Duration.minutes(5)),
            threshold=1,
            says="An alert did not reach one of the topic's subscribers.",
        )
        acknowledge(queue, LEFT_FOR_PEOPLE)
        return queue

    def _outgoing(self, config: DeployConfig) -> sqs.Queue:
        """The alerts that wait to be mailed; those that could not be, after many tries, wait for people beside it."""
        shared = {
            "encryption": sqs.QueueEncryption.SQS_MANAGED,
            "enforce_ssl": True,
            "retention_period": cdk.Duration.days(KEPT_DAYS),
        }
        unmailed = sqs.Queue(self, "Unmailed", **shared)  # type: ignore[arg-type]
        alarm(
            unmailed,
            "mail-stuck",
            config,
            self.topic,
            metric=unmailed.metric_approximate_number_of_messages_visible(period=cdk.Duration.minutes(5)),
            threshold=1,
            says="An alert could not be mailed; queues and HTTPS endpoints have got it.",
        )
        acknowledge(unmailed, LEFT_FOR_PEOPLE)
        outgoing = sqs.Queue(
            self,
            "Outgoing",
            # Lambda Developer Guide, "Using Lambda with Amazon SQS": at least six times the function's timeout.
            visibility_timeout=cdk.Duration.seconds(6 * MAIL_SECONDS),
            # To wait for the next minute counts as a delivery: so many are hours of a flood.
            dead_letter_queue=sqs.DeadLetterQueue(queue=unmailed, max_receive_count=MAIL_TRIES),
            **shared,  # type: ignore[arg-type]
        )
        acknowledge(outgoing, {"CKV_AWS_27": LEFT_FOR_PEOPLE["CKV_AWS_27"]})
        return outgoing

    def _queue(self, name: str, config: DeployConfig) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            name,
            queue_name=name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(KEPT_DAYS),
            removal_policy=cdk.RemovalPolicy.DESTROY,  # named, so one left behind would block the next deployment
        )
        alarm(
            queue,
            "alerts-unread",
            config,
            self.topic,
            metric=queue.metric_approximate_age_of_oldest_message(period=cdk.Duration.minutes(5)),
            threshold=cdk.Duration.days(UNREAD_DAYS).to_seconds(),
            says=f"An alert has waited {UNREAD_DAYS} days in the queue {name}; after {KEPT_DAYS} it is gone.",
            subject=name,
        )
        acknowledge(queue, LEFT_FOR_PEOPLE)
        return queue
