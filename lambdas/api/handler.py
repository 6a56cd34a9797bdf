"""The HTTP API: let in what came through CloudFront, route it, write one line of log, send safe headers along."""

import hmac
import time
from collections.abc import Mapping
from typing import Any

from ics.errors import IcsError, PastTheFrontDoor
from lambdas.api import accuracy, classifying, describing, hiding, images, reviews, runs, uploads
from lambdas.api.problems import problem_of
from lambdas.api.router import app
from lambdas.runtime import log, settings
from lambdas.secret import secret

ROUTES = (accuracy, classifying, describing, images, hiding, reviews, runs, uploads)
"""The modules whose routes `app` holds: to import them is to add them."""

ORIGIN_HEADER = "x-ics-origin"
"""What CloudFront adds to each request, and nobody else knows."""

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Of every answer that does not set them itself."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request of API Gateway (payload format 2.0) -> its answer."""
    began, asked = time.monotonic(), event["requestContext"]
    try:
        given = event["headers"].get(ORIGIN_HEADER, "")
        if not hmac.compare_digest(given.encode(), secret(settings().origin_secret).encode()):
            raise PastTheFrontDoor("call the address that `ics open` gives: this one answers nobody but CloudFront")
        answer = app.resolve(event, context)
    except IcsError as error:
        answer = problem_of(error, asked["requestId"])
    given = {name.lower(): value for name, value in answer.get("headers", {}).items()}
    answer["headers"] = HEADERS | given
    log("request", **_told(asked), status=answer["statusCode"], ms=round((time.monotonic() - began) * 1000))
    return answer


def _told(asked: Mapping[str, Any]) -> dict[str, str]:
    """What the log says of a request: who, what and where, none of what was sent, and no more of a long path."""
    claims = asked.get("authorizer", {}).get("jwt", {}).get("claims", {})
    method, path = asked["http"]["method"], asked["http"]["path"]
    return {"request": asked["requestId"], "method": method, "path": path[:200], "by": claims.get("sub", "")}
