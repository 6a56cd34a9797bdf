"""One request to Amazon Rekognition, and its errors as ICS tells them apart.

Shapes and names: Amazon Rekognition API reference, DetectLabels and DetectCustomLabels, "Errors"; the protocol is AWS
JSON 1.1, where an error's name is the `__type` of its body.
"""

import http.client
import json
from typing import Any

from ics.contracts import Prediction
from ics.detection import from_custom_labels, from_labels
from ics.errors import EndpointRefused, EndpointThrottled, EndpointUnavailable, InvalidAnswer, ModelRefused
from lambdas import aws_http
from lambdas.runtime import Detection

READ_TIMEOUT = 10.0
"""Seconds for one image; answers take about half a second."""

_THROTTLED = ("ThrottlingException", "ProvisionedThroughputExceededException", "LimitExceededException")
_THIS_IMAGE = ("InvalidImageFormatException", "ImageTooLargeException", "InvalidParameterException")
"""What is wrong with an image: the other parameters were checked when the environment was deployed."""


def detect(image: bytes, wanted: Detection) -> Prediction:
    """Ask about one image, which is in base64.

    Raises:
        ModelRefused: Rekognition does not take this image.
        EndpointThrottled, EndpointUnavailable: try again later.
        EndpointRefused: another try would end the same: no right, no such version, or one that is not running.
        InvalidAnswer: an answer, but not what the API reference describes.
    """
    operation, request = _request(wanted)
    body = b'{"Image":{"Bytes":"%b"},%b' % (image, json.dumps(request).encode()[1:])
    try:
        answer = aws_http.request(
            "POST",
            f"{aws_http.service_url('rekognition', 'rekognition')}/",
            service="rekognition",
            headers={"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"RekognitionService.{operation}"},
            body=body,
            timeout=READ_TIMEOUT,
        )
    except (OSError, http.client.HTTPException) as error:
        raise EndpointUnavailable(f"{operation}: {type(error).__name__}: {error}") from error
    if answer.status != 200:
        raise _error(operation, answer)
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer(f"{operation}: not JSON") from error
    return from_custom_labels(found, wanted.version_arn) if wanted.version_arn else from_labels(found)


def _request(wanted: Detection) -> tuple[str, dict[str, Any]]:
    least = 100 * wanted.min_confidence
    if wanted.version_arn:
        asked = {"ProjectVersionArn": wanted.version_arn, "MaxResults": wanted.max_labels, "MinConfidence": least}
        return "DetectCustomLabels", asked
    return "DetectLabels", {"MaxLabels": wanted.max_labels, "MinConfidence": least}


def _error(operation: str, answer: aws_http.Response) -> Exception:
    try:
        fields = json.loads(answer.body)
        name, said = str(fields.get("__type", "")), str(fields.get("message") or fields.get("Message") or "")
    except (ValueError, RecursionError, AttributeError):
        name = said = ""
    name = name.rpartition("#")[2]
    problem = f"{operation}: HTTP {answer.status} {name}: {said[:300]}"
    if name in _THIS_IMAGE:
        return ModelRefused(problem)
    if name in _THROTTLED or answer.status == 429:
        return EndpointThrottled(problem)
    if answer.status >= 500:
        return EndpointUnavailable(problem)
    return EndpointRefused(problem)
