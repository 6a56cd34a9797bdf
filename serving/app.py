"""The model server's answers to HTTP, as an ASGI application: SageMaker's container contract and ICS's wire format.

    GET  /ping                       200 once every model answers a probe, else 503
    POST /invocations                to the first model
    POST /models/<name>/invocations  to the model of that name

Bodies are as `ics.wire` says. The event loop only reads and writes; decoding and inference run in a few threads, behind
a bounded queue. Every refusal is a JSON error, and every request leaves one line of JSON in the log, without contents.
"""

import asyncio
import json
import logging
import os
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ics.contracts import dump_line
from ics.errors import ImageError, InvalidBody
from ics.wire import IMAGE_TYPES, JSON, JSON_LINES, MAX_BODY, answer_line, error_answer, parse_request
from serving.model import Model

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_WAITING = 64
"""Bodies read and not yet answered; one more is told 429. 64 of the largest hold less than 400 MB."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status, for the log alone: the client went away before its request was whole."""

_log = logging.getLogger("serving")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: `content` of the type `content_type`, about this many `images`."""

    status: int
    content: bytes
    content_type: str = JSON
    images: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


class App:
    """An ASGI application that answers for these models; /invocations is the first one's."""

    def __init__(self, models: Sequence[Model], max_waiting: int = MAX_WAITING) -> None:
        self._models = {model.spec.name: model for model in models}
        self._first = models[0]
        self._max_waiting = max_waiting
        self._waiting = 0
        self._workers = ThreadPoolExecutor(os.cpu_count() or 1, "inference")
        # A thread of its own: a probe must not wait behind a minute of work, or SageMaker would replace the container.
        self._prober = ThreadPoolExecutor(1, "probe")
        self._probe: asyncio.Future[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        try:
            answer = await self._answer(scope, receive)
        except ClientGone:
            answer = Answer(CLIENT_CLOSED_REQUEST, b"")
        except InvalidBody as error:
            answer = _refusal(error)
        except Exception:  # a fault of ours: the log gets all, the client only learns that
            log(event="error", path=scope["path"][:200], traceback=traceback.format_exc())
            answer = _refusal(InvalidBody(500, "InternalError", "an error of the server; its log says which"))
        if answer.status != CLIENT_CLOSED_REQUEST:
            await _send(send, answer)
        log(
            event="request",
            method=scope["method"],
            path=scope["path"][:200],
            status=answer.status,
            images=answer.images,
            ms=round(1000 * (time.perf_counter() - started), 3),
        )

    async def _answer(self, scope: Message, receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        if path == "/ping":
            return await self._ping() if method == "GET" else _wrong_method(method, path, "GET")
        model = self._model(path)
        if method != "POST":
            return _wrong_method(method, path, "POST")
        return await self._invoke(model, scope, receive)

    def _model(self, path: str) -> Model:
        if path == "/invocations":
            return self._first
        match path.split("/"):
            case ["", "models", name, "invocations"]:
                if name in self._models:
                    return self._models[name]
                there = ", ".join(sorted(self._models))
                raise InvalidBody(404, "UnknownModel", f"no model {name[:200]!r}; there is: {there}")
        there = "/ping, /invocations and /models/<name>/invocations"
        raise InvalidBody(404, "UnknownPath", f"no path {path[:200]!r}; there is: {there}")

    async def _ping(self) -> Answer:
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().run_in_executor(self._prober, self._probe_all)
        try:
            await asyncio.shield(self._probe)
        except Exception:  # whatever it is, the answer is that the models do not answer
            log(event="error", path="/ping", traceback=traceback.format_exc())
            return _refusal(InvalidBody(503, "NotReady", "a model does not answer; the server's log says why"))
        versions = {name: model.spec.version for name, model in self._models.items()}
        return Answer(200, dump_line({"status": "ready", "models": versions}))

    def _probe_all(self) -> None:
        for model in self._models.values():
            model.probe()

    async def _invoke(self, model: Model, scope: Message, receive: Receive) -> Answer:
        self._refuse_when_full()  # before a body is read in vain
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        body = await _read(headers, receive)
        self._refuse_when_full()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._workers, _predict, model, body, content_type)
        finally:
            self._waiting -= 1

    def _refuse_when_full(self) -> None:
        if self._waiting >= self._max_waiting:
            raise InvalidBody(429, "TooManyRequests", f"{self._waiting} bodies are waiting; try again later")


def log(**fields: object) -> None:
    """One line of JSON in the server's log."""
    _log.info(json.dumps(fields))


def _predict(model: Model, body: bytes, content_type: str) -> Answer:
    alone = content_type.partition(";")[0].strip().lower() in IMAGE_TYPES
    images = parse_request(body, content_type)
    predictions = model.predict(image.content for image in images)
    lines: list[bytes] = []
    try:
        for image, prediction in zip(images, predictions, strict=True):
            lines.append(answer_line(image.id, prediction))  # as many as there are, so many were taken
    except ImageError as error:
        raise InvalidBody(422, error.reason, str(error), None if alone else images[len(lines)].line) from error
    return Answer(200, b"".join(lines), JSON if alone else JSON_LINES, len(images))


async def _read(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The request's body, of which never more than one chunk beyond `MAX_BODY` is held."""
    length = headers.get(b"content-length", b"")
    announced = int(length) if length.isdigit() else 0
    body = bytearray()
    more = True
    while more:
        if max(announced, len(body)) > MAX_BODY:
            raise InvalidBody(413, "BodyTooLarge", f"more than {MAX_BODY:,} bytes; send fewer images a request")
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


async def _send(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", b"%d" % len(answer.content)),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})


def _refusal(error: InvalidBody) -> Answer:
    retry = ((b"retry-after", b"1"),) if error.status == 429 else ()
    return Answer(error.status, error_answer(error), headers=retry)


def _wrong_method(method: str, path: str, allowed: str) -> Answer:
    error = InvalidBody(405, "MethodNotAllowed", f"{method} is not allowed for {path[:200]!r}; use {allowed}")
    return Answer(405, error_answer(error), headers=((b"allow", allowed.encode()),))
