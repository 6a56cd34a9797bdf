"""One InvokeEndpoint request, and its errors as ICS tells them apart.

Shapes and status codes: SageMaker Runtime API reference, InvokeEndpoint. What the container answers with 4xx or 5xx
comes as `ModelError` (HTTP 424) with `OriginalStatusCode`; all else is SageMaker itself.
"""

import http.client
import json

from ics.errors import EndpointRefused, EndpointThrottled, EndpointUnavailable, IcsError
from ics.wire import JSON_LINES
from lambdas import aws_http

READ_TIMEOUT = 25.0
"""Seconds. The state machine tries again, not this client, so that the worst path stays within a child's 300 s."""

_MODEL_ERROR = 424
_BODY_REFUSED = (400, 413, 422)
_THROTTLED = ("ThrottlingException", "ModelNotReadyException")


class BodyRefused(IcsError):
    """The container refuses this body (its own 400, 413 or 422): an image of it may be the reason."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the container answered {status}")
        self.status = status


def invoke(endpoint: str, body: bytes, inference_id: str) -> bytes:
    """Send a JSON Lines body and return the answer's body.

    Raises:
        BodyRefused: halve the body and try again.
        EndpointThrottled, EndpointUnavailable: try again later.
        EndpointRefused: another try would end the same.
    """
    try:
        answer = aws_http.request(
            "POST",
            f"{aws_http.service_url('sagemaker_runtime', 'runtime.sagemaker')}/endpoints/{endpoint}/invocations",
            service="sagemaker",
            headers={"Content-Type": JSON_LINES, "Accept": JSON_LINES, "X-Amzn-SageMaker-Inference-Id": inference_id},
            body=body,
            timeout=READ_TIMEOUT,
        )
    except (OSError, http.client.HTTPException) as error:
        raise EndpointUnavailable(f"{endpoint}: {type(error).__name__}: {error}") from error
    if answer.status == 200:
        return answer.body
    kind = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
    status = _original_status(answer.body) if answer.status == _MODEL_ERROR else answer.status
    problem = f"{endpoint}: HTTP {answer.status} {kind}" + (
        f", container's {status}" if status != answer.status else ""
    )
    if answer.status == _MODEL_ERROR and status in _BODY_REFUSED:
        raise BodyRefused(status)
    if status == 429 or kind in _THROTTLED:
        raise EndpointThrottled(problem)
    if status >= 500 or (answer.status == _MODEL_ERROR and status < 100):
        raise EndpointUnavailable(problem)
    raise EndpointRefused(problem)


def _original_status(body: bytes) -> int:
    """The container's own status; 0 where it gave none (it timed out or its connection broke)."""
    try:
        return int(json.loads(body)["OriginalStatusCode"])
    except (ValueError, KeyError, TypeError):
        return 0
