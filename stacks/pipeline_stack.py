"""PipelineStack: the functions and the state machine that turn images in S3 into result rows."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from stacks.alerts import Alerts
from stacks.buckets import Buckets
from stacks.classify_images import ClassifyImages
from stacks.config import DeployConfig
from stacks.dashboard import Dashboard
from stacks.functions import Functions
from stacks.mail import Mail
from stacks.run_alarms import RunAlarms


class PipelineStack(cdk.Stack):
    """Its outputs are what the `ics` command needs to start a run."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        *,
        buckets: Buckets,
        table: dynamodb.ITable,
        alerts: Alerts,
        **properties: Any,
    ) -> None:
        super().__init__(scope, construct_id, **properties)
        functions = Functions(self, "Functions", config, buckets, table, alerts)
        classify_images = ClassifyImages(
            self,
            "ClassifyImages",
            config,
            functions=functions,
            working=buckets.working,
            alerts=alerts,
        )
        mail = Mail(self, "Mail", config, alerts=alerts, table=table)
        alarms = RunAlarms(
            self,
            "Alarms",
            config,
            alerts.topic,
            state_machine=classify_images.state_machine,
            state_machine_log=classify_images.log,
            functions={**functions.all, "PaceMail": mail.function},
        )
        Dashboard(self, "Dashboard", config, state_machine=classify_images.state_machine, alarms=alarms)
        for key, value in {
            "StateMachineArn": classify_images.state_machine.state_machine_arn,
            "DefaultModel": config.default_model,
            "Models": ",".join(config.models),
            "Endpoints": ",".join(config.endpoints) or "none",
            "Threshold": str(config.threshold),
        }.items():
            cdk.CfnOutput(self, key, value=value)
