"""What Step Functions says of an execution."""

import http.client
import json
from dataclasses import dataclass

from lambdas import aws_http


@dataclass(frozen=True, slots=True)
class Execution:
    """How an execution stands. `ended` is Unix time in seconds, 0 where it has not ended."""

    status: str
    ended: float


def describe_execution(arn: str) -> Execution | None:
    """How an execution stands; None where there is none of this ARN, or where AWS has forgotten it after 90 days.

    Source: Step Functions API reference, DescribeExecution.

    Raises:
        OSError: Step Functions does not answer, or refuses.
    """
    try:
        answer = aws_http.request(
            "POST",
            f"{aws_http.service_url('states', 'states')}/",
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
    return Execution(found["status"], float(found.get("stopDate") or 0))
