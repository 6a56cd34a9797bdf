"""The model server's answers: SageMaker's container contract and ICS's wire format.

    GET  /ping                       200 once every model answers a probe, else 503
    GET  /metrics                    counters of the whole process tree, for Prometheus
    POST /invocations                to the first model
    POST /models/<name>/invocations  to the model of that name

Bodies are as `ics.wire` says. What takes a moment is computed at once, on the event loop, together with what else is
there at that moment: nobody waits for a batch, but where there are many, there is one. What takes longer waits for one
of the turns that all processes of the tree share: about first come, first served, whichever process it came to.
Every refusal is a JSON error, and every request leaves one line of JSON in the log, without contents.
"""

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

import numpy as np
import orjson
import pybase64

from ics.errors import ImageError, InvalidBody
from ics.wire import IMAGE_TYPES, JSON, JSON_LINES, RequestImage, parse_request
from serving.http import CLIENT_CLOSED_REQUEST, Answer, Request, refused
from serving.line import Line
from serving.metrics import CONTENT_TYPE, NO_MODEL, Metrics
from serving.model import Logits, Model
from serving.turns import Turns
from serving.writing import Writer

MAX_WAITING = 64
"""Requests that a process lets wait; one more is told 429."""

AT_ONCE = 0.005
"""Seconds of computing that do not wait for a turn, and for which the event loop may stand still."""

TOGETHER = 0.02
"""Seconds of computing that requests share: after that, the event loop hears of what has come meanwhile."""

DECODING = 20e-9
"""Seconds a byte of a body takes until it is pixels, roughly; it counts in what `AT_ONCE` bounds."""

DEADLINE = 60
"""Seconds after which nobody waits for an answer: InvokeEndpoint's own limit. What is older is not computed."""

Answered = TypeVar("Answered", Answer, "Answer | asyncio.Future[Answer]")

Write = Callable[[bytes], object]


class _Asked(NamedTuple):
    """A request that is computed at once, which takes about so many `seconds`, and the answer to it."""

    model: Model
    request: Request
    seconds: float
    done: "asyncio.Future[Answer]"


def _decode(text: str | bytes) -> bytes:
    return pybase64.b64decode(text, None, True)  # by name, it would cost half as much again


class App:
    """Answers for these models; /invocations is the first one's.

    `slot` is this process's place in `metrics`, `place` its place among the turns, and `write` takes the lines of the
    log.
    """

    def __init__(
        self,
        models: Sequence[Model],
        turns: Turns,
        metrics: Metrics,
        write: Write,
        *,
        slot: int = 0,
        place: int = 0,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._models = {f"/models/{model.spec.name}/invocations": model for model in models}
        self._models["/invocations"] = models[0]
        self._writers = {model.spec.name: Writer(model.spec, model.language) for model in models}
        self._turns = turns
        self._metrics = metrics
        self._write = write
        self._slot = slot
        self._max_waiting = max_waiting
        self._ready: deque[_Asked] = deque()
        self._line: Line[Answer] = Line(turns, place, partial(metrics.gauge, slot))
        # A thread of its own: a probe must not wait behind a minute of work, or SageMaker would replace the container.
        self._prober = ThreadPoolExecutor(1, "probe")
        self._probe: asyncio.Task[Answer] | None = None

    def handle(self, request: Request) -> "Answer | asyncio.Future[Answer]":
        """Answer a request, at once or in time. Never raises, and neither does the future."""
        return self._guarded(request, self._answer)

    def ended(self, request: Request, status: int, images: int) -> None:
        """Count a request, and log it."""
        seconds = time.monotonic() - request.started if request.started else 0.0
        path = unquote(request.path)
        model = self._models.get(path)
        self._metrics.count(self._slot, model.spec.name if model else NO_MODEL, status, images, seconds)
        line = {
            "event": "request",
            "method": request.method,
            "path": path[:200],
            "status": status,
            "images": images,
            "ms": round(1000 * seconds, 3),
        }
        self._write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def _guarded(self, request: Request, answer: "Callable[[Request], Answered]") -> "Answered | Answer":
        try:
            return answer(request)
        except InvalidBody as error:
            return refused(error)
        except _Gone:
            return Answer(CLIENT_CLOSED_REQUEST, b"")
        except Exception:  # a fault of ours: the log gets all, the client only learns that
            self._log_fault(request.path)
            return refused(InvalidBody(500, "InternalError", "an error of the server; its log says which"))

    def _answer(self, request: Request) -> "Answer | asyncio.Future[Answer]":
        if request.refusal:
            raise request.refusal
        path, method = unquote(request.path), request.method
        if model := self._models.get(path):
            return self._invoke(model, request) if method == "POST" else _wrong_method(method, path, "POST")
        if path == "/ping":
            return self._ping() if method == "GET" else _wrong_method(method, path, "GET")
        if path == "/metrics":
            if method != "GET":
                return _wrong_method(method, path, "GET")
            return Answer(200, self._metrics.render(), CONTENT_TYPE)
        match path.split("/"):
            case ["", "models", name, "invocations"]:
                there = ", ".join(sorted({model.spec.name for model in self._models.values()}))
                raise InvalidBody(404, "UnknownModel", f"no model {name[:200]!r}; there is: {there}")
        there = "/ping, /metrics, /invocations and /models/<name>/invocations"
        raise InvalidBody(404, "UnknownPath", f"no path {path[:200]!r}; there is: {there}")

    def _ping(self) -> "asyncio.Future[Answer]":
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().create_task(self._probed())
        return self._probe

    async def _probed(self) -> Answer:
        models = {model.spec.name: model for model in self._models.values()}
        try:
            for model in models.values():
                await asyncio.get_running_loop().run_in_executor(self._prober, model.probe)
        except Exception:  # whatever it is, the answer is that the models do not answer
            self._log_fault("/ping")
            return refused(InvalidBody(503, "NotReady", "a model does not answer; the server's log says why"))
        versions = {name: model.spec.version for name, model in models.items()}
        return Answer(200, orjson.dumps({"status": "ready", "models": versions}, option=orjson.OPT_APPEND_NEWLINE))

    def _invoke(self, model: Model, request: Request) -> "Answer | asyncio.Future[Answer]":
        seconds = len(request.body) * DECODING
        if seconds <= AT_ONCE and model.spec.kind != "text":  # how long a line is read depends on what is on it
            seconds += _images(request) * model.seconds
            if seconds <= AT_ONCE:
                return self._compute_soon(model, request, seconds)
        if len(self._line) >= self._max_waiting:
            raise InvalidBody(429, "TooManyRequests", f"{len(self._line)} bodies are waiting; try again later")
        return self._line.put(partial(self._guarded, request, partial(self._predict, model)))

    def _compute_soon(self, model: Model, request: Request, seconds: float) -> "asyncio.Future[Answer]":
        """Compute this as soon as the event loop has read what else has come."""
        loop = asyncio.get_running_loop()
        asked = _Asked(model, request, seconds, loop.create_future())
        if not self._ready:
            loop.call_soon(self._compute_ready)
        self._ready.append(asked)
        return asked.done

    def _compute_ready(self) -> None:
        """Answer the first of those that are there, and with it those behind it that ask the same model."""
        together = [self._ready.popleft()]
        model, seconds = together[0].model, together[0].seconds
        while self._ready and self._ready[0].model is model and seconds + self._ready[0].seconds <= TOGETHER:
            together.append(self._ready.popleft())
            seconds += together[-1].seconds
        if self._ready:
            asyncio.get_running_loop().call_soon(self._compute_ready)
        for one, answer in zip(together, self._answers(model, together), strict=True):
            one.done.set_result(answer)

    def _answers(self, model: Model, together: Sequence[_Asked]) -> list[Answer]:
        """The answers to requests; the images of several are computed as if one had brought them all."""
        if len(together) > 1:
            with suppress(Exception):  # each alone is told of its own
                return self._answers_to_several(model, together)
        return [self._guarded(one.request, partial(self._predict, model)) for one in together]

    def _answers_to_several(self, model: Model, together: Sequence[_Asked]) -> list[Answer]:
        bodies = [_parsed(one.request) for one in together]
        logits = np.concatenate(list(model.computed([image.content for body in bodies for image in body])))
        writer, answers, done = self._writers[model.spec.name], [], 0
        for one, body in zip(together, bodies, strict=True):
            lines = writer.lines([image.id for image in body], logits[done : done + len(body)])
            answers.append(_answered(one.request, lines, len(body)))
            done += len(body)
        return answers

    def _predict(self, model: Model, request: Request) -> Answer:
        images = _parsed(request)
        ids, contents = [image.id for image in images], [image.content for image in images]
        lines, done, writer = [], 0, self._writers[model.spec.name]
        try:
            for logits in _wanted(model.computed(contents), request):
                lines.append(writer.lines(ids[done : done + len(logits)], logits))
                done += len(logits)
        except ImageError as error:
            line = None if _is_image(request) else images[done].line
            raise InvalidBody(422, error.reason, str(error), line) from error
        return _answered(request, b"".join(lines), len(images))

    def _log_fault(self, path: str) -> None:
        line = {"event": "error", "path": path[:200], "traceback": traceback.format_exc()}
        self._write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


class _Gone(Exception):
    """The client closed the connection before its answer."""


def _parsed(request: Request) -> list[RequestImage]:
    return parse_request(request.body, request.content_type, orjson.loads, _decode)


def _answered(request: Request, lines: bytes, images: int) -> Answer:
    return Answer(200, lines, JSON if _is_image(request) else JSON_LINES, images)


def _is_image(request: Request) -> bool:
    return request.content_type.partition(";")[0].strip().lower() in IMAGE_TYPES


def _images(request: Request) -> int:
    """How many images a request may hold."""
    return 1 if _is_image(request) else request.body.count(b"\n") + (not request.body.endswith(b"\n"))


def _wanted(computed: Iterator[Logits], request: Request) -> Iterator[Logits]:
    """What is computed, as long as anybody waits for the answer."""
    while True:
        if request.gone:
            raise _Gone
        if time.monotonic() > request.started + DEADLINE:
            raise InvalidBody(503, "TooLate", f"not answered within {DEADLINE} s; send fewer images a request")
        if (logits := next(computed, None)) is None:
            return
        yield logits


def _wrong_method(method: str, path: str, allowed: str) -> Answer:
    error = InvalidBody(405, "MethodNotAllowed", f"{method} is not allowed for {path[:200]!r}; use {allowed}")
    return Answer(405, refused(error).content, headers=f"allow: {allowed}\r\n".encode())
