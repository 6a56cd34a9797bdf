"""Another Lambda function, invoked once and waited for (Lambda API reference, Invoke)."""

import http.client
import json
from collections.abc import Mapping
from typing import Any

from ics import errors
from ics.errors import EndpointUnavailable, FunctionFailed, IcsError
from lambdas import aws_http


def invoke(function: str, event: Mapping[str, Any], seconds: float) -> Any:
    """What a function of this name answers.

    Raises:
        IcsError: what the function raised, where it is one of ICS's own.
        EndpointUnavailable: no answer within so many seconds; Lambda is throttled, or fails.
        FunctionFailed: any other end.
    """
    url = f"{aws_http.service_url('lambda', 'lambda')}/2015-03-31/functions/{function}/invocations"
    try:
        answer = aws_http.request(
            "POST", url, service="lambda", headers={"Content-Type": "application/json"},
            body=json.dumps(event).encode(), timeout=seconds,
        )  # fmt: skip
    except (OSError, http.client.HTTPException) as error:
        raise EndpointUnavailable(f"{function}: {type(error).__name__}: {error}") from error
    if answer.status == 429 or answer.status >= 500:
        raise EndpointUnavailable(f"{function}: HTTP {answer.status}")
    if answer.status != 200:
        raise FunctionFailed(f"{function}: HTTP {answer.status}")
    said = json.loads(answer.body)
    if "x-amz-function-error" not in answer.headers:
        return said
    kind, problem = str(said.get("errorType")), str(said.get("errorMessage"))
    raise _named(kind, problem) or FunctionFailed(f"{function}: {kind}: {problem}")


def _named(kind: str, problem: str) -> IcsError | None:
    """The error of this name, where it is one that is made of a message alone."""
    known = getattr(errors, kind, None)
    if not isinstance(known, type) or not issubclass(known, IcsError) or known.__init__ is not Exception.__init__:
        return None
    return known(problem)
