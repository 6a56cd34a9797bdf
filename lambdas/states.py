"""What is asked of Step Functions: how an execution stands, which there are, and to start one.

Requests and errors are those of the Step Functions API reference (JSON 1.0); boto3 would cost a cold function 200 ms.
"""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ics.errors import StartFailed
from lambdas import aws_http

ATTEMPTS = 4
"""Requests made for one answer, with 100 ms before the second and twice as long before each further one."""

_AGAIN = ("ThrottlingException", "ServiceUnavailable", "InternalServerError")


@dataclass(frozen=True, slots=True)
class Execution:
    """How an execution stands. `ended` is Unix time in seconds, 0 where it has not ended; `input` is JSON.

    `error` is what it ended with, empty where that is nothing.
    """

    status: str
    ended: float
    input: str
    error: str = ""


def describe_execution(arn: str) -> Execution | None:
    """How an execution stands; None where there is none of this ARN, or where AWS has forgotten it after 90 days.

    Source: Step Functions API reference, DescribeExecution.

    Raises:
        OSError: Step Functions does not answer, or refuses.
    """
    try:
        answer = aws_http.request(
            "POST",
            f"{aws_http.service_url('sfn', 'states')}/",
            service="states",
            headers={
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": "AWSStepFunctions.DescribeExecution",
            },
            body=json.dumps({"executionArn": arn}).encode(),
        )
    except http.client.HTTPException as error:
        raise OSError(f"DescribeExecution: {error}") from error
    if answer.status == 400 and b"ExecutionDoesNotExist" in answer.body:
        return None
    if answer.status != 200:
        raise OSError(f"DescribeExecution of {arn} answered HTTP {answer.status}")
    found = json.loads(answer.body)
    return Execution(
        found["status"], float(found.get("stopDate") or 0), found.get("input") or "null", found.get("error") or ""
    )


def execution_arn(state_machine: str, run: str) -> str:
    """The ARN of a state machine's execution of this name."""
    return f"{state_machine.replace(':stateMachine:', ':execution:')}:{run}"


def call(operation: str, request: Mapping[str, Any], *, unless: str) -> dict[str, Any] | None:
    """The answer to an operation; None where it is the error `unless`.

    Raises:
        StartFailed: Step Functions refused, or did not answer to the last.
    """
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
        if answer.status >= 500:
            problem = f"HTTP {answer.status}"
            continue
        said: dict[str, Any] = json.loads(answer.body)
        if answer.status == 200:
            return said
        kind = str(said.get("__type", "")).rpartition("#")[2]
        if kind == unless:
            return None
        problem = f"{kind}: {said.get('message') or said.get('Message')}"
        if kind not in _AGAIN:
            break
    raise StartFailed(f"{operation}: {problem}")
