"""The API's routes: who may ask what, what each takes and gives, and how a refusal becomes a problem.

Powertools matches paths and turns answers into API Gateway's. It validates nothing here: its validation needs pydantic,
which takes a cold function another 0.4 s of CPU; what comes in is parsed by hand, and `/openapi.json`, for which alone
pydantic is imported, is made of the same declarations.
"""

import base64
import binascii
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from obstore.exceptions import BaseError

from ics.errors import (
    BadRequest,
    BodyTooLarge,
    IcsError,
    InvalidParameter,
    MethodNotAllowed,
    NoSuchModel,
    NoSuchRoute,
    ReadFailed,
    RoleNeeded,
)
from lambdas.api.problems import problem_of
from lambdas.runtime import log, settings

ROLES = ("viewer", "reviewer", "operator")
"""Groups of the user pool, each of which may do what those before it may."""

LEAST_ROLE: Mapping[str, str | None] = {
    "GET /openapi.json": None,
    "GET /docs": None,
    "GET /v1/models": "viewer",
    "GET /v1/accuracy": "viewer",
    "POST /v1/classify": "viewer",
    "POST /getPrediction": "viewer",
    "POST /v1/uploads": "viewer",
    "GET /v1/images/<image_id>": "viewer",
    "GET /v1/runs": "viewer",
    "GET /v1/runs/<run>": "viewer",
    "GET /v1/reviews": "reviewer",
    "PUT /v1/images/<image_id>/label": "reviewer",
    "PUT /v1/images/<image_id>/quarantine": "reviewer",
    "POST /v1/runs": "operator",
}
"""Who may ask what, the whole of it; None is anybody."""

MAX_JSON = 64 * 1024
"""Bytes of a JSON body."""


@dataclass(frozen=True)
class Parameter:
    """A query parameter. An integer has a `least` and a `most`, a string is at most `most` characters."""

    name: str
    says: str
    kind: str = "string"
    least: int = 1
    most: int = 200
    pattern: str = ""


@dataclass(frozen=True)
class Declared:
    """What a route's document says of it. `answer` is the dataclass of its JSON; `body` its body's, or media types."""

    method: str
    path: str
    summary: str
    description: str
    answer: Any
    status: int
    role: str | None
    query: tuple[Parameter, ...] = ()
    body: Any = None
    errors: tuple[type[IcsError], ...] = ()


DECLARED: list[Declared] = []
"""Every route, as it was added."""

app = APIGatewayHttpResolver()


def route(
    method: str,
    path: str,
    *,
    answer: Any,
    status: int = 200,
    query: tuple[Parameter, ...] = (),
    body: Any = None,
    errors: tuple[type[IcsError], ...] = (),
) -> Callable[[Callable[..., Response[Any]]], Callable[..., Response[Any]]]:
    """Add a route, whose least role is in the table; its function's docstring is what the document says of it."""
    least = LEAST_ROLE[f"{method} {path}"]

    def add(function: Callable[..., Response[Any]]) -> Callable[..., Response[Any]]:
        @functools.wraps(function)
        def guarded(**given: str) -> Response[Any]:
            if least is not None:
                _require(least)
            return function(**given)

        summary, _, rest = (function.__doc__ or "").partition("\n")
        DECLARED.append(
            Declared(
                method, path, summary.rstrip("."), " ".join(rest.split()), answer, status, least, query, body, errors
            )
        )
        app.route(path, method=method, operation_id=function.__name__)(guarded)
        return guarded

    return add


def answered(value: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> Response[Any]:
    """An answer; what is no text is written as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Response(status, content_type, text, {name.replace("_", "-"): one for name, one in headers.items()})


def caller() -> str:
    """The name of whoever asks, as the user pool knows it."""
    claims = _claims()
    return str(claims.get("username") or claims.get("cognito:username") or claims.get("sub") or "")


def body() -> bytes:
    """The request's body as it was sent."""
    content = app.current_event.get("body") or ""
    return base64.b64decode(content) if app.current_event.get("isBase64Encoded") else content.encode()


def json_body(most: int = MAX_JSON) -> dict[str, Any]:
    """The request's body, a JSON object.

    Raises:
        BodyTooLarge, BadRequest: it is too long, or is none.
    """
    content = body()
    if len(content) > most:
        raise BodyTooLarge(f"{len(content):,} bytes; this route takes {most:,}")
    try:
        found = json.loads(content)
        content.decode("utf-8")
        json.dumps(found, ensure_ascii=False).encode()  # refuses lone surrogates, which JSON can spell
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON in UTF-8") from error
    if not isinstance(found, dict):
        raise BadRequest("the body is not a JSON object")
    return found


def only(found: Mapping[str, Any], *names: str) -> None:
    """Raise InvalidParameter where an object has fields besides these."""
    unknown = sorted(found.keys() - set(names))
    if unknown:
        raise InvalidParameter(f"unknown field {unknown[0][:80]!r}; allowed are: {', '.join(names)}")


def asked(parameter: Parameter) -> str | None:
    """A query parameter's text, None where it is not given. Raises InvalidParameter, also where it comes twice."""
    given = (app.current_event.get("queryStringParameters") or {}).get(parameter.name)
    if given is None:
        return None
    if not 1 <= len(given) <= parameter.most or (parameter.pattern and not re.fullmatch(parameter.pattern, given)):
        raise InvalidParameter(f"{parameter.name}: {parameter.says}; at most {parameter.most} characters")
    return str(given)


def asked_number(parameter: Parameter, default: int) -> int:
    """A query parameter's number, the default where it is not given. Raises InvalidParameter."""
    given = (app.current_event.get("queryStringParameters") or {}).get(parameter.name)
    if given is None:
        return default
    if not re.fullmatch(r"[0-9]{1,4}", given) or not parameter.least <= int(given) <= parameter.most:
        raise InvalidParameter(f"{parameter.name} must be a whole number from {parameter.least} to {parameter.most}")
    return int(given)


MODEL = Parameter("model", "one of the environment's models, else its default one", most=63)


def asked_model() -> str:
    """The model that a request names, else the default one. Raises NoSuchModel, InvalidParameter."""
    model = asked(MODEL) or settings().default_model
    if model not in settings().models:
        raise NoSuchModel(f"no model {model!r}; there are: {', '.join(settings().models)}")
    return model


def may(least: str) -> bool:
    """Whether the caller's groups reach this role. API Gateway has checked who it is."""
    return bool(set(_groups()) & set(ROLES[ROLES.index(least) :]))


def _require(least: str) -> None:
    """Raise RoleNeeded where the caller's groups do not reach `least`."""
    if not may(least):
        raise RoleNeeded(f"this needs the role {least}, and you have {' and '.join(_groups()) or 'none'}")


def _groups() -> list[str]:
    """The caller's groups; API Gateway writes a claim that is a list as `[one two]`."""
    return str(_claims().get("cognito:groups", "")).strip("[]").replace(",", " ").split()


def _claims() -> Mapping[str, Any]:
    context: Mapping[str, Any] = app.current_event["requestContext"]
    found: Mapping[str, Any] = context.get("authorizer", {}).get("jwt", {}).get("claims", {})
    return found


def _refused(error: Exception) -> Response[Any]:
    made = problem_of(error, app.current_event["requestContext"]["requestId"])
    return Response(made["statusCode"], None, made["body"], made["headers"])


@app.exception_handler(IcsError)  # type: ignore[untyped-decorator]
def _ics_error(error: IcsError) -> Response[Any]:
    log("refused", "WARNING", problem=type(error).__name__, detail=str(error)[:300])
    return _refused(error)


@app.exception_handler(BaseError)  # type: ignore[untyped-decorator]
def _no_answer_of_s3(error: BaseError) -> Response[Any]:
    log("S3 failed", "ERROR", problem=type(error).__name__, detail=str(error)[:300])
    return _refused(ReadFailed("S3 does not answer"))


@app.exception_handler(Exception)  # type: ignore[untyped-decorator]
def _fault(error: Exception) -> Response[Any]:
    log("fault", "ERROR", problem=type(error).__name__, detail=str(error)[:300])
    return _refused(error)


@app.not_found
def _nothing_there(_error: NotFoundError) -> Response[Any]:
    path, method = app.current_event["rawPath"], app.current_event["requestContext"]["http"]["method"]
    allowed = [one.method for one in DECLARED if _matches(one.path, path)]
    if allowed and method not in allowed:  # else its name has characters that no name of ours has
        return _refused(MethodNotAllowed(f"{method} is not for {path[:100]}: {', '.join(allowed)}", ", ".join(allowed)))
    return _refused(NoSuchRoute(f"nothing is at {path[:100]}; what there is says /docs"))


def _matches(pattern: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"<\w+>", "[^/]+", pattern).replace(".", r"\."), path) is not None


def from_base64(text: Any, most: int) -> bytes:
    """Bytes that a field holds in base64, at most so many. Raises InvalidParameter, BodyTooLarge."""
    if not isinstance(text, str):
        raise InvalidParameter("image must be a string: a picture's bytes in base64")
    if len(text) * 3 // 4 > most + 3:
        raise BodyTooLarge(f"about {len(text) * 3 // 4:,} bytes; this route takes {most:,}: use POST /v1/uploads")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidParameter("image is not base64") from error
