"""Faults that an endpoint, or S3, can be told to have, to rehearse bad days: throttling, errors, slowness, nonsense.

`PUT /_local/faults/<endpoint>`, or `/rekognition` or `/s3`, with a JSON list of faults replaces those there were. Each
request meets the first fault that fits it and has times left; of those to S3 only what the functions ask for.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from local.sagemaker.answers import Answer, error, model_error

S3 = "s3"
"""The name under which S3's faults are set; an endpoint of this name would share them."""

Kind = Literal["throttle", "unavailable", "model_error", "slow", "nonsense"]


@dataclass(frozen=True)
class Fault:
    """What happens to the next `times` requests whose body contains `containing`.

    Of requests to S3 `PUT /bucket/key` is what contains it, and `unavailable` is the only kind. `status` is the
    container's own for `model_error` (0: it broke the connection); `seconds` is the delay of `slow`, after which the
    model answers as ever.
    """

    kind: Kind
    times: int = 1
    containing: str = ""
    status: int = 500
    seconds: float = 0.0


class Faults:
    """The faults of all endpoints."""

    def __init__(self) -> None:
        self._by_endpoint: dict[str, list[Fault]] = {}

    def set(self, endpoint: str, faults: Sequence[Mapping[str, Any]]) -> None:
        """Replace an endpoint's faults; raises TypeError for a member that a fault does not have."""
        self._by_endpoint[endpoint] = [Fault(**fault) for fault in faults]

    async def meet(self, endpoint: str, variant: str, body: bytes) -> Answer | None:
        """The answer of the fault that this request meets; None where the model is to answer."""
        fault = self.take(endpoint, body)
        return None if fault is None else await _answer(fault, endpoint, variant)

    def meet_s3(self, scope: Mapping[str, Any]) -> Answer | None:
        """The answer of the fault that a function's request to S3 meets; None where S3 is to answer."""
        if not self._by_endpoint.get(S3) or scope["path"].startswith("/_local/"):
            return None
        headers = dict(scope["headers"])
        if not headers.get(b"x-amz-security-token", b"").startswith(b"arn:"):
            return None
        if b"/s3/aws4_request" not in headers.get(b"authorization", b""):
            return None
        if self.take(S3, f"{scope['method']} {scope['path']}".encode()) is None:
            return None
        # S3 API reference, "Error responses": SlowDown, 503.
        body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        return Answer(503, {"content-type": "application/xml"}, body)

    def take(self, name: str, text: bytes) -> Fault | None:
        """The fault that this request meets, which then has one time less."""
        faults = self._by_endpoint.get(name, [])
        for number, fault in enumerate(faults):
            if fault.times > 0 and fault.containing.encode() in text:
                faults[number] = replace(fault, times=fault.times - 1)
                return fault
        return None


async def _answer(fault: Fault, endpoint: str, variant: str) -> Answer | None:
    match fault.kind:
        case "throttle":
            return error(400, "ThrottlingException", "Rate exceeded")
        case "unavailable":
            return error(503, "ServiceUnavailable", "The service is temporarily unavailable.")
        case "model_error":
            return model_error(endpoint, variant, fault.status, "injected")
        case "nonsense":
            return Answer(200, {"content-type": "application/jsonlines"}, b'{"who": "knows"}\n')
        case "slow":
            await asyncio.sleep(fault.seconds)
            return None
