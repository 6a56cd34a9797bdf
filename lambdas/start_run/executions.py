"""The state machine's executions: whether one was ever started, and starting one.

Requests and errors are those of the Step Functions API reference (JSON 1.0).
"""

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from ics.errors import StartFailed
from lambdas import aws_http
from lambdas.runtime import settings

ATTEMPTS = 4
"""Requests made for one answer, with 100 ms before the second and twice as long before each further one."""

_AGAIN = ("ThrottlingException", "ServiceUnavailable", "InternalServerError")


def is_started(run: str) -> bool:
    """Whether the run was ever started, in the 90 days for which Step Functions knows. Raises StartFailed."""
    machine = settings().state_machine
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{run}"
    return _call("DescribeExecution", {"executionArn": arn}, unless="ExecutionDoesNotExist")


def start(run: str, request: Mapping[str, Any]) -> None:
    """Start the run, once: of a run that was started already this changes nothing. Raises StartFailed."""
    asked = {"stateMachineArn": settings().state_machine, "name": run, "input": json.dumps(request)}
    _call("StartExecution", asked, unless="ExecutionAlreadyExists")


def _call(operation: str, request: Mapping[str, Any], *, unless: str) -> bool:
    """Whether it was done; False where the answer is the error `unless`."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AWSStepFunctions.{operation}"}
    url, body = aws_http.service_url("sfn", "states") + "/", json.dumps(request).encode()
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(0.1 * 2 ** (attempt - 1))
        try:
            answer = aws_http.request("POST", url, service="states", headers=headers, body=body, timeout=5)
        except (OSError, http.client.HTTPException) as error:
            problem = f"no answer: {error}"
            continue
        if answer.status == 200:
            return True
        if answer.status >= 500:
            problem = f"HTTP {answer.status}"
            continue
        said = json.loads(answer.body)
        kind = str(said.get("__type", "")).rpartition("#")[2]
        if kind == unless:
            return False
        problem = f"{kind}: {said.get('message') or said.get('Message')}"
        if kind not in _AGAIN:
            break
    raise StartFailed(f"{operation}: {problem}")
