"""DataStack: what outlives a deployment: buckets, table, alert topic and key; and who trains from them."""

from typing import Any

import aws_cdk as cdk
from constructs import Construct

from stacks.alerts import Alerts
from stacks.buckets import Buckets
from stacks.config import DeployConfig
from stacks.reviewer_role import reviewer_role
from stacks.table import table
from stacks.training_role import training_role


class DataStack(cdk.Stack):
    """Gives `buckets`, `table`, `alerts` and the role of `reviewers` to the stacks that follow."""

    def __init__(self, scope: Construct, construct_id: str, config: DeployConfig, **properties: Any) -> None:
        super().__init__(scope, construct_id, **properties)
        self.buckets = Buckets(self, "Buckets", config)
        self.table = table(self, "Table", config)
        self.alerts = Alerts(self, "Alerts", config)
        for key, value in {
            "ImagesBucketName": self.buckets.images.bucket_name,
            "ResultsBucketName": self.buckets.results.bucket_name,
            "WorkingBucketName": self.buckets.working.bucket_name,
            "TableName": self.table.table_name,
            "AlertTopicArn": self.alerts.topic.topic_arn,
            "MailTopicArn": self.alerts.mail.topic_arn,
        }.items():
            cdk.CfnOutput(self, key, value=value)
        self.reviewers = reviewer_role(self, "ReviewerRole", self.buckets)
        cdk.CfnOutput(self, "ReviewerRoleArn", value=self.reviewers.role_arn)
        if config.training:
            role = training_role(self, "TrainingRole", config, self.buckets)
            cdk.CfnOutput(self, "TrainingRoleArn", value=role.role_arn)
