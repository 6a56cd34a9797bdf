"""The state machine of a run, and what it may do.

Substituting a function's ARN into a definition grants nothing. The rights are a policy of their own, made after the
state machine because they name it: in the role's default policy they would be a cycle.
"""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.acknowledge import acknowledge_wildcards
from stacks.alerts import Alerts
from stacks.config import ROOT, DeployConfig
from stacks.functions import Functions
from stacks.state_machine import on_children, state_machine

DEFINITION = ROOT / "statemachine" / "classify_images.asl.json"


class ClassifyImages(Construct):
    """The Standard state machine `ics-<environment>-classify-images`, and the `log` of its errors."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: DeployConfig,
        *,
        functions: Functions,
        working: s3.IBucket,
        alerts: Alerts,
    ) -> None:
        super().__init__(scope, construct_id)
        substitutions = {state: function.function_arn for state, function in functions.by_state.items()}
        substitutions["AlertTopic"] = alerts.topic.topic_arn
        made = state_machine(self, config, f"ics-{config.environment}-classify-images", DEFINITION, substitutions)
        self.log, self.state_machine = made.log, made.machine
        rights = _rights(self.state_machine, functions, working, alerts)
        policy = iam.Policy(self, "Rights", roles=[made.role], statements=rights)
        acknowledge_wildcards(policy, rights, "executions and each run's plan get names only when a run starts")


def _rights(
    machine: sfn.StateMachine, functions: Functions, working: s3.IBucket, alerts: Alerts
) -> list[iam.PolicyStatement]:
    """What the definition does."""
    granted: list[tuple[list[str], list[str]]] = [
        (["s3:GetObject"], [working.arn_for_objects("runs/*/plan.jsonl")]),
        (["lambda:InvokeFunction"], [function.function_arn for function in functions.all.values()]),
        (["sns:Publish"], [alerts.topic.topic_arn]),
        (["kms:Decrypt", "kms:GenerateDataKey"], [alerts.key.key_arn]),
    ]
    return [
        *on_children(machine),
        *(iam.PolicyStatement(actions=actions, resources=resources) for actions, resources in granted),
    ]
