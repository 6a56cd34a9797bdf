"""Answers of the SageMaker runtime, and its errors in AWS's shapes: API reference, InvokeEndpoint, "Errors"."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.control import ACCOUNT, REGION


@dataclass(frozen=True)
class Answer:
    """What the caller gets: HTTP status, headers, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def model_error(endpoint: str, variant: str, status: int, message: str) -> Answer:
    """What the container answered with 4xx or 5xx, or 0 where it gave no answer at all."""
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    side = "client" if 400 <= status < 500 else "server"
    return error(
        424,
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{message}". See '
        f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}#logEventViewer:group={group} "
        f"in account {ACCOUNT} for more information.",
        OriginalStatusCode=status,
        OriginalMessage=message,
        LogStreamArn=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:{variant}",
    )


def error(status: int, code: str, message: str, **members: Any) -> Answer:
    """An error of SageMaker's own."""
    headers = {"content-type": "application/json", "x-amzn-errortype": code}
    return Answer(status, headers, json.dumps({"Message": message, **members}).encode())
