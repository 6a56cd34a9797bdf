"""LearningStack: what is learned from the answers of people."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.accuracy import Accuracy
from stacks.buckets import Buckets
from stacks.config import DeployConfig


class LearningStack(cdk.Stack):
    """Its output is what starts an evaluation."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        *,
        buckets: Buckets,
        topic: sns.ITopic,
        **properties: Any,
    ) -> None:
        super().__init__(scope, construct_id, **properties)
        accuracy = Accuracy(self, "Accuracy", config, buckets=buckets, topic=topic)
        cdk.CfnOutput(self, "EvaluateArn", value=accuracy.state_machine.state_machine_arn)
