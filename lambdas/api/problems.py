"""Refusals as RFC 9457 problem details: the names of `ics.errors`, each with its HTTP status."""

import json
from typing import Any

from ics import errors
from ics.errors import (
    AccessDenied,
    ApiError,
    BatchError,
    EndpointThrottled,
    EndpointUnavailable,
    IcsError,
    ImageError,
    MethodNotAllowed,
    NotAnImage,
    ObjectChanged,
    ObjectNotFound,
    ObjectTooLarge,
    ReadFailed,
    ReleaseFailed,
    RequestError,
    RoleUnavailable,
    RunNotFound,
    StartFailed,
    TableUnavailable,
    UnsupportedFormat,
)

MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 2
"""What a caller is told to wait where another try may end better."""

INTERNAL = "InternalError"

_STATUS: tuple[tuple[type[IcsError], int], ...] = (
    (ObjectTooLarge, 413),
    (NotAnImage, 415),
    (UnsupportedFormat, 415),
    (ObjectNotFound, 404),
    (ObjectChanged, 409),
    (ReadFailed, 503),
    (AccessDenied, 502),
    (ImageError, 422),
    (EndpointThrottled, 503),
    (EndpointUnavailable, 503),
    (BatchError, 502),
    (ReleaseFailed, 502),
    (RunNotFound, 404),
    (RequestError, 422),
    (StartFailed, 503),
    (RoleUnavailable, 503),
    (TableUnavailable, 503),
)
"""The status of each kind of error; the first that fits counts. What fits none is ours to mend."""


def status_of(kind: type[IcsError]) -> int:
    """The HTTP status of an error."""
    if issubclass(kind, ApiError):
        return kind.status
    return next((status for one, status in _STATUS if issubclass(kind, one)), 500)


def problem_of(error: Exception, request: str) -> dict[str, Any]:
    """A refusal as API Gateway takes it; `request` is the request's id. What is ours to mend is not told in words."""
    name, status = INTERNAL, 500
    if isinstance(error, IcsError):
        status = status_of(type(error))
        name = type(error).__name__
    shown = str(error) if status in (404, 405, 409, 413, 422, 403, 400, 415) else ""
    content = {
        "type": f"/docs#{name}",
        "title": _title(error, name),
        "status": status,
        "detail": shown[:500] or _title(error, name),
        "instance": f"urn:request:{request}",
    }
    headers = {"Content-Type": MEDIA_TYPE}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allowed
    if status == 503:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return {"statusCode": status, "headers": headers, "body": json.dumps(content, ensure_ascii=False)}


def names() -> dict[str, tuple[int, str]]:
    """Every error that a caller may meet: its status, and what it means, by its name."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, IcsError)]
    met = [
        one for one in kinds if status_of(one) != 500 and one not in (ApiError, ImageError, BatchError, RequestError)
    ]
    return {one.__name__: (status_of(one), _first_line(one)) for one in sorted(met, key=lambda one: one.__name__)}


def _title(error: Exception, name: str) -> str:
    return "something went wrong here; it is logged" if name == INTERNAL else _first_line(type(error))


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n")[0]
