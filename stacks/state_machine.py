"""A Standard state machine: its definition as written in `statemachine/`, its role, and the log of its errors."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.acknowledge import acknowledge
from stacks.config import ConfigError, DeployConfig
from stacks.log_group import log_group


@dataclass(frozen=True)
class Made:
    """The state machine; its role, which may do nothing yet but write its `log`."""

    machine: sfn.StateMachine
    role: iam.Role
    log: logs.LogGroup


def state_machine(
    scope: Construct, config: DeployConfig, name: str, definition: Path, substitutions: Mapping[str, str]
) -> Made:
    """The state machine of this name, with each `${Placeholder}` of its definition substituted.

    Raises:
        ConfigError: placeholders and substitutions differ.
    """
    role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
    text = definition.read_text()
    _check_placeholders(definition.name, text, substitutions)

    # Under this prefix CloudWatch Logs' policy for log delivery never outgrows its size limit.
    log = log_group(scope, "Logs", f"/aws/vendedlogs/states/{name}", config)
    machine = sfn.StateMachine(
        scope,
        "StateMachine",
        state_machine_name=name,
        # As text: `from_file` would make an asset, and the template would not show what is deployed.
        definition_body=sfn.DefinitionBody.from_string(text),
        definition_substitutions=dict(substitutions),
        role=role,
        logs=sfn.LogOptions(
            destination=log,
            level=sfn.LogLevel.ERROR,
            include_execution_data=False,
        ),
    )
    acknowledge(role, {"AwsSolutions-IAM5[Resource::*]": "the delivery of logs has no resource (CDK's own policy)"})
    untraced = "the execution's history times every state, and the functions' logs carry run and batch"
    acknowledge(
        machine,
        {
            "AwsSolutions-SF1": "errors are logged; all events of all children would be dozens of lines a batch",
            "AwsSolutions-SF2": untraced,
            "Serverless-StepFunctionStateMachineXray": untraced,
            "E3601": "cfn-lint's schema lacks OutputPath on Succeed, which the Amazon States Language has",
        },
    )
    return Made(machine, role, log)


def on_children(machine: sfn.StateMachine) -> Iterator[iam.PolicyStatement]:
    """What a distributed Map does to its own children, redrive included."""
    arn = machine.state_machine_arn
    name, stack = machine.state_machine_name, cdk.Stack.of(machine)
    executions = [  # the run's own, and the Map's children, whose name goes on with the Map run's label
        f"arn:{stack.partition}:states:{stack.region}:{stack.account}:execution:{name}{rest}" for rest in (":*", "/*")
    ]
    yield iam.PolicyStatement(actions=["states:StartExecution"], resources=[arn])
    yield iam.PolicyStatement(
        actions=["states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"], resources=executions
    )


def _check_placeholders(name: str, text: str, substitutions: Mapping[str, str]) -> None:
    placeholders = set(re.findall(r"\$\{(\w+)\}", text))
    if placeholders != set(substitutions):
        unknown, unused = sorted(placeholders - set(substitutions)), sorted(set(substitutions) - placeholders)
        raise ConfigError(f"{name}: placeholders without a value: {unknown}; values not placed: {unused}")
