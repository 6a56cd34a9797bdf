"""The state machine's executions: whether one was ever started, and starting one."""

import json
from collections.abc import Mapping
from typing import Any

from lambdas import states
from lambdas.runtime import settings


def is_started(run: str) -> bool:
    """Whether the run was ever started, in the 90 days for which Step Functions knows. Raises StartFailed."""
    asked = {"executionArn": states.execution_arn(settings().state_machine, run)}
    return states.call("DescribeExecution", asked, unless="ExecutionDoesNotExist") is not None


def start(run: str, request: Mapping[str, Any]) -> None:
    """Start the run, once: of a run that was started already this changes nothing. Raises StartFailed."""
    asked = {"stateMachineArn": settings().state_machine, "name": run, "input": json.dumps(request)}
    states.call("StartExecution", asked, unless="ExecutionAlreadyExists")
