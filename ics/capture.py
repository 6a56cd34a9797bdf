"""What SageMaker's data capture writes, read back: which request held which images, and what the model answered.

A capture file is JSON Lines, a line a request:

    {"captureData": {"endpointInput":  {"observedContentType", "mode": "INPUT",  "data", "encoding"},
                     "endpointOutput": {"observedContentType", "mode": "OUTPUT", "data", "encoding"}},
     "eventMetadata": {"eventId", "inferenceTime", "inferenceId"?, "customAttributes"?}, "eventVersion": "0"}

`encoding` is `JSON` or `CSV` where the endpoint's configuration lists the content type (then `data` is the body as
text), else `BASE64`. Source: SageMaker Developer Guide, "Capture data from real-time endpoint".
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ics.contracts import Prediction
from ics.errors import InvalidAnswer, InvalidBody, InvalidCapture
from ics.wire import RequestImage, parse_answer, parse_request


@dataclass(frozen=True, slots=True)
class Captured:
    """One request to an endpoint and its answer, as the bytes they were.

    `inference_id` joins to the rows; where the caller gave none it is the event's id. `inference_time` is ISO 8601 UTC.
    A side that the endpoint's configuration does not capture is empty.
    """

    inference_id: str
    event_id: str
    inference_time: str
    request: bytes
    request_type: str
    response: bytes
    response_type: str


def read_captured(line: bytes) -> Captured:
    """Read one line of a capture file, whatever its encodings.

    Raises:
        InvalidCapture: names what is missing or cannot be decoded.
    """
    try:
        fields = json.loads(line)
        data, event = fields["captureData"], fields["eventMetadata"]
        request, request_type = _body(data, "endpointInput")
        response, response_type = _body(data, "endpointOutput")
        return Captured(
            inference_id=_text(event, "inferenceId") if "inferenceId" in event else _text(event, "eventId"),
            event_id=_text(event, "eventId"),
            inference_time=_text(event, "inferenceTime"),
            request=request,
            request_type=request_type,
            response=response,
            response_type=response_type,
        )
    except KeyError as error:
        raise InvalidCapture(f"{error} is missing") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidCapture(str(error)) from error


def captured_images(captured: Captured) -> Iterator[tuple[RequestImage, Prediction | None]]:
    """Each image of a captured request, with its line, and what the model said of it.

    The prediction is None where the endpoint refused the request or its answer was not captured.

    Raises:
        InvalidCapture: the request is not in the wire format (`ics.wire`), or was not captured.
    """
    try:
        images = parse_request(captured.request, captured.request_type)
    except InvalidBody as error:
        raise InvalidCapture(f"request {captured.inference_id}: {error}") from error
    predictions: list[Prediction] | list[None]
    try:
        predictions = parse_answer(captured.response, [image.id for image in images])
    except InvalidAnswer:
        predictions = [None] * len(images)
    return zip(images, predictions, strict=True)


def _body(data: Any, side: str) -> tuple[bytes, str]:
    """The bytes and the content type of one side, both empty where it was not captured."""
    if not isinstance(data, dict):
        raise TypeError("captureData is not an object")
    if side not in data:
        return b"", ""
    text, encoding = _text(data[side], "data"), data[side]["encoding"]
    if encoding == "BASE64":
        body = base64.b64decode(text, validate=True)
    elif encoding in ("JSON", "CSV"):
        body = text.encode()
    else:
        raise ValueError(f"encoding is {encoding!r}; expected JSON, CSV or BASE64")
    return body, _text(data[side], "observedContentType") if data[side].get("observedContentType") else ""


def _text(fields: Any, name: str) -> str:
    if not isinstance(fields[name], str):
        raise TypeError(f"{name} is not a string")
    return str(fields[name])
