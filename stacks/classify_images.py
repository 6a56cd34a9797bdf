"""The state machine: its definition as written in `statemachine/`, and what it may do.

Substituting a function's ARN into a definition grants nothing. The rights are a policy of their own, made after the
state machine because they name it: in the role's default policy they would be a cycle.
"""

import re
from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.acknowledge import acknowledge, acknowledge_wildcards
from stacks.alerts import Alerts
from stacks.config import ROOT, ConfigError, DeployConfig
from stacks.functions import Functions
from stacks.log_group import log_group

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
        name = f"ics-{config.environment}-classify-images"
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        text = DEFINITION.read_text()
        substitutions = {state: function.function_arn for state, function in functions.by_state.items()}
        substitutions["AlertTopic"] = alerts.topic.topic_arn
        _check_placeholders(text, substitutions)

        # Under this prefix CloudWatch Logs' policy for log delivery never outgrows its size limit.
        self.log = log_group(self, "Logs", f"/aws/vendedlogs/states/{name}", config)
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=name,
            # As text: `from_file` would make an asset, and the template would not show what is deployed.
            definition_body=sfn.DefinitionBody.from_string(text),
            definition_substitutions=substitutions,
            role=role,
            logs=sfn.LogOptions(
                destination=self.log,
                level=sfn.LogLevel.ERROR,
                include_execution_data=False,
            ),
        )
        rights = _rights(self.state_machine, functions, working, alerts)
        policy = iam.Policy(self, "Rights", roles=[role], statements=rights)
        acknowledge_wildcards(policy, rights, "executions and each run's plan get names only when a run starts")
        acknowledge(role, {"AwsSolutions-IAM5[Resource::*]": "the delivery of logs has no resource (CDK's own policy)"})
        untraced = "the execution's history times every state, and the functions' logs carry run and batch"
        acknowledge(
            self.state_machine,
            {
                "AwsSolutions-SF1": "errors are logged; all events of all children would be dozens of lines a batch",
                "AwsSolutions-SF2": untraced,
                "Serverless-StepFunctionStateMachineXray": untraced,
                "E3601": "cfn-lint's schema lacks OutputPath on Succeed, which the Amazon States Language has",
            },
        )


def _rights(
    state_machine: sfn.StateMachine, functions: Functions, working: s3.IBucket, alerts: Alerts
) -> list[iam.PolicyStatement]:
    """What the definition does, and what a distributed Map does to its own children, redrive included."""
    arn = state_machine.state_machine_arn
    name, stack = state_machine.state_machine_name, cdk.Stack.of(state_machine)
    executions = [  # the run's own, and the Map's children, whose name goes on with the Map run's label
        f"arn:{stack.partition}:states:{stack.region}:{stack.account}:execution:{name}{rest}" for rest in (":*", "/*")
    ]
    granted: list[tuple[list[str], list[str]]] = [
        (["states:StartExecution"], [arn]),
        (["states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"], executions),
        (["s3:GetObject"], [working.arn_for_objects("runs/*/plan.jsonl")]),
        (["lambda:InvokeFunction"], [function.function_arn for function in functions.all.values()]),
        (["sns:Publish"], [alerts.topic.topic_arn]),
        (["kms:Decrypt", "kms:GenerateDataKey"], [alerts.key.key_arn]),
    ]
    return [iam.PolicyStatement(actions=actions, resources=resources) for actions, resources in granted]


def _check_placeholders(text: str, substitutions: Mapping[str, str]) -> None:
    """Raise `ConfigError` where the definition's `${Placeholders}` and the substitutions differ."""
    placeholders = set(re.findall(r"\$\{(\w+)\}", text))
    if placeholders != set(substitutions):
        unknown, unused = sorted(placeholders - set(substitutions)), sorted(set(substitutions) - placeholders)
        raise ConfigError(f"{DEFINITION.name}: placeholders without a value: {unknown}; values not placed: {unused}")
