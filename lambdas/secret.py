"""A secret of Secrets Manager, asked for once and then again now and then, so that a new one is taken up."""

import http.client
import json
import time

from ics.errors import FunctionFailed
from lambdas import aws_http

KEPT = 300.0
"""Seconds for which a secret is not asked for again."""

_known: dict[str, tuple[float, str]] = {}


def secret(arn: str) -> str:
    """The text of a secret (AWS Secrets Manager API reference, GetSecretValue).

    Raises:
        FunctionFailed: it cannot be read, and was never.
    """
    read_at, text = _known.get(arn, (float("-inf"), ""))
    if time.monotonic() - read_at < KEPT:
        return text
    try:
        answer = aws_http.request(
            "POST",
            f"{aws_http.service_url('secrets_manager', 'secretsmanager')}/",
            service="secretsmanager",
            headers={"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "secretsmanager.GetSecretValue"},
            body=json.dumps({"SecretId": arn}).encode(),
            timeout=5,
        )
        if answer.status != 200:
            raise OSError(f"HTTP {answer.status}")
        text = str(json.loads(answer.body)["SecretString"])
    except (OSError, http.client.HTTPException) as error:
        if not text:
            raise FunctionFailed(f"the origin's secret cannot be read: {error}") from error
    _known[arn] = (time.monotonic(), text)
    return text
