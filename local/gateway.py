"""The one ASGI application behind the port: SageMaker's and Rekognition's requests to stand-ins, else to the emulator.

`/_local/` is for the tests: `state-sizes`, `lambda-workers`, `endpoints`, `calls`, and `faults` to rehearse bad days.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ministack import app as emulator

from local import calls, front_door
from local.patches import lambda_workers, state_sizes
from local.rekognition.api import Rekognition
from local.sagemaker import api
from local.sagemaker.answers import Answer
from local.sagemaker.capture import Capture
from local.sagemaker.faults import Faults
from local.sagemaker.hosting import Hosting, SageMakerError
from local.sagemaker.runtime import Runtime

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_INVOCATIONS = re.compile(r"/endpoints/([^/]+)/invocations")


class Gateway:
    """Routes a request by its path and its target header."""

    def __init__(self, hosting: Hosting, capture: Capture, detector: Path | None = None, page_port: int = 0) -> None:
        self._page_port = page_port
        self._hosting = hosting
        self._faults = Faults()
        self._rekognition = Rekognition(self._faults, detector)
        self._runtime = Runtime(hosting, capture, self._faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http":
            await emulator.app(scope, receive, send)
            return
        if scope["server"][1] == self._page_port:
            await self._page(scope, receive, send)
            return
        receive, send = await calls.watch(scope, receive, send)
        answer = self._faults.meet_s3(scope) or await self._answer(scope, receive)
        if answer is None:
            await emulator.app(scope, receive, send)
            return
        await _send(answer, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        there = front_door.addressed(scope)
        if there is None:
            await _send(Answer(503, {"content-type": "text/plain"}, b"no page is deployed here"), send)
        else:
            await emulator.app(there, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        path: str = scope["path"]
        invoked = _INVOCATIONS.fullmatch(path) if scope["method"] == "POST" else None
        if invoked:
            body = await calls.read_body(receive)
            return await self._runtime.invoke(unquote(invoked[1]), _headers(scope), body)
        if path.startswith("/_local/faults/") and scope["method"] == "PUT":
            self._faults.set(unquote(path.removeprefix("/_local/faults/")), json.loads(await calls.read_body(receive)))
            return Answer(204, {}, b"")
        if path.startswith("/_local/"):
            return self._about(path.removeprefix("/_local/"))
        target = next((value for name, value in scope["headers"] if name == b"x-amz-target"), b"")
        if target.startswith(b"SageMaker."):
            operation = target.decode("latin-1").partition(".")[2]
            request = json.loads(await calls.read_body(receive) or b"{}")
            return await asyncio.to_thread(self._control, operation, request)
        if target.startswith(b"RekognitionService."):
            operation = target.decode("latin-1").partition(".")[2]
            return await self._rekognition.answer(operation, await calls.read_body(receive))
        return None

    def _control(self, operation: str, request: Mapping[str, Any]) -> Answer:
        headers = {"content-type": "application/x-amz-json-1.1"}
        try:
            return Answer(200, headers, json.dumps(api.answer(self._hosting, operation, request)).encode())
        except SageMakerError as error:
            return Answer(400, headers, json.dumps({"__type": error.code, "message": str(error)}).encode())

    def _about(self, what: str) -> Answer:
        if what == "state-sizes":
            about: Any = state_sizes.sizes()
        elif what == "lambda-workers":
            about = lambda_workers.workers()
        elif what == "calls":
            about = calls.recorded()
        elif what == "endpoints":
            about = {
                endpoint.name: {
                    "status": endpoint.status,
                    "variants": {
                        variant.name: {"pid": variant.server.pid, "port": variant.server.client.port}
                        for variant in endpoint.variants
                    },
                }
                for endpoint in self._hosting.endpoints.values()
            }
        else:
            return Answer(404, {"content-type": "application/json"}, b"{}")
        return Answer(200, {"content-type": "application/json"}, json.dumps(about).encode())


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
