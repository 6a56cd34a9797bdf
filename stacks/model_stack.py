"""ModelStack: one SageMaker endpoint for each of the environment's models that has one."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.config import DeployConfig
from stacks.endpoint import Endpoint


class ModelStack(cdk.Stack):
    """Serves the environment's models; every endpoint captures its traffic into the results bucket."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        *,
        results: s3.IBucket,
        topic: sns.ITopic,
        **properties: Any,
    ) -> None:
        super().__init__(scope, construct_id, **properties)
        for name in config.endpoints:
            Endpoint(self, name, config, results=results, topic=topic)
