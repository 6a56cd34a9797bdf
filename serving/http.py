"""HTTP/1.1 for the model server, over llhttp (httptools) and whatever event loop runs: requests whole, answers whole.

A general server offers streams, tasks and headers that nobody here asks for, at four times the CPU time of this. What
faces the network is bounded here: heads, bodies, bytes held, connections, and the time a client may take for each.
Requests of one connection are answered in order, one at a time; what comes meanwhile is not read beyond a first piece.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

import httptools

from ics.errors import InvalidBody
from ics.wire import JSON, MAX_BODY, error_answer

MAX_HEAD = 16 * 1024
"""Bytes of a request's first line and headers, beyond what one read brings."""

MAX_FED = 8 * MAX_BODY
"""Bytes of a request with all that chunks, trailers or a refused body add; then the connection is closed."""

MAX_HELD = 256 * 1024 * 1024
"""Bytes of bodies that a process holds, being read, waiting or computed; whoever sends more is told 429."""

MAX_CONNECTIONS = 2_048
"""Connections of a process; one more is told 503 and closed."""

READ_SECONDS = 30
"""How long a client may take to send a request, from its first byte to its last."""

IDLE_SECONDS = 75
"""How long an idle connection is kept: longer than clients keep theirs, so that none is closed while in use."""

LINGER_SECONDS = 2
"""How long more is read, and forgotten, from whom the last word was said to."""

WRITE_SECONDS = 30
"""How long a client may take to read what it was sent."""

MAX_PIPELINED = 64
"""Requests of a connection that wait behind the one that is answered; more are dropped, and the connection closed."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status, for the log and the metrics alone: the connection broke off before the answer."""

_NEVER = float("inf")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Answer(NamedTuple):
    """A response: `content` of the type `content_type`, about this many `images`."""

    status: int
    content: bytes
    content_type: str = JSON
    images: int = 0
    headers: bytes = b""


@dataclass(slots=True)
class Request:
    """A request, whole unless `refusal` says why its body was not taken. `path` is without the query.

    `started` is when its first byte came, by `time.monotonic`; `gone` becomes true when its connection is no more. (A
    client that only says that it sends no more may still listen.)
    """

    method: str
    path: str
    content_type: str
    body: bytes
    started: float
    keep_alive: bool
    refusal: InvalidBody | None = None
    gone: bool = False


Handle = Callable[[Request], "Answer | asyncio.Future[Answer]"]
"""Answers a request, at once or in time; it never raises, nor does its future."""

Ended = Callable[[Request, int, int], None]
"""Is told of each request that ended, with its status and its number of images."""


@dataclass(slots=True)
class Listener:
    """What the connections of a process share: who answers, who is told what, and how much they hold together.

    `ended` hears of each request, `counted` of each change in the number of connections. `leaving` says that no
    connection outlives its request: the process is about to end, or to be replaced.
    """

    handle: Handle
    ended: Ended
    counted: Callable[[], None] = lambda: None
    connections: "set[Connection]" = field(default_factory=set)
    held: int = 0
    leaving: bool = False
    date: bytes = b""

    def tick(self) -> None:
        """Once a second: close whoever has taken too long, and set the clock of the answers."""
        self.date = time.strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime()).encode()
        now = time.monotonic()
        for connection in [one for one in self.connections if one.deadline < now]:
            connection.expire()

    def leave(self, *, idle: bool) -> None:
        """Let no connection outlive its request; with `idle`, close those without one, too."""
        self.leaving = True
        for connection in list(self.connections) if idle else ():
            connection.close_if_idle()


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_answering", "_body", "_close", "_deaf", "_early", "_expects", "_fed", "_headers_done", "_listener",
        "_parser", "_path", "_paused", "_refusal", "_size", "_spare", "_started", "_type", "_waiting", "deadline",
        "transport",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._parser = httptools.HttpRequestParser(self)
        self._answering: Request | None = None
        self._waiting: deque[Request] = deque()
        self._paused = False
        self._close = False  # once the request that is being read is whole
        self._deaf = False  # what comes is of no interest any more
        self.deadline = time.monotonic() + IDLE_SECONDS
        self._spare = 0.0  # seconds by which the deadline may move, where the client has read all
        self._clear()

    def _clear(self) -> None:
        """Be ready for a request's first byte."""
        self._path, self._type = b"", b""
        self._body: bytes | bytearray = b""
        self._size = self._fed = 0
        self._headers_done = self._expects = self._early = False
        self._refusal: InvalidBody | None = None
        self._started = 0.0  # no byte of it has come

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over an accepted connection."""
        self.transport = transport  # type: ignore[assignment]  # of a stream, always asyncio.Transport
        self._listener.connections.add(self)
        self._listener.counted()
        if len(self._listener.connections) > MAX_CONNECTIONS:
            self._listener.ended(self._request(b""), 503, 0)
            error = InvalidBody(503, "TooManyConnections", f"{MAX_CONNECTIONS:,} are open; try again later")
            self._write(refused(error), last=True)

    def data_received(self, data: bytes) -> None:
        """Parse what came; what is whole is answered, the rest waits for more."""
        if self._deaf or self.transport.is_closing():
            return
        began, answering = self._started, self._answering
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # an offer, which is not taken; what follows is not HTTP
            self._last_of_all()
            return
        except httptools.HttpParserCallbackError:  # a fault of ours
            raise
        except httptools.HttpParserError as error:
            self._end_with(InvalidBody(400, "MalformedRequest", f"this is no HTTP request: {error}"))
            return
        if self._waiting or (answering and answering is self._answering):  # enough for now
            self.transport.pause_reading()
        if began and began == self._started:  # still the same request
            self._fed += len(data)
            if not self._headers_done and self._fed > MAX_HEAD:
                self._end_with(InvalidBody(431, "HeadTooLarge", f"more than {MAX_HEAD:,} bytes of headers"))
            elif self._fed > MAX_FED:
                self._end_with(_too_large())

    def eof_received(self) -> bool:
        """The client sends no more; it may still wait for answers to what it sent."""
        if self._answering is None and not self._waiting:
            return False
        self._last_of_all()
        return True

    def pause_writing(self) -> None:
        """The client does not read: no further request is answered until it does, and not for long."""
        self._paused = True
        self.transport.pause_reading()
        self.deadline = time.monotonic() + WRITE_SECONDS

    def resume_writing(self) -> None:
        """The client has read."""
        self._paused = False
        if self._answering is None and not self.transport.is_closing():
            self._rest()
            self.transport.resume_reading()
            self._answer_next()

    def connection_lost(self, _error: Exception | None) -> None:
        """Let go of all; what is being computed need not be."""
        self._listener.connections.discard(self)
        self._listener.counted()
        self._listener.held -= self._size
        self._size = 0
        if self._started and not self._early:
            self._listener.ended(self._request(b""), CLIENT_CLOSED_REQUEST, 0)
        for request in self._waiting:
            self._listener.held -= len(request.body)
            self._listener.ended(request, CLIENT_CLOSED_REQUEST, 0)
        self._waiting.clear()
        if self._answering:
            self._answering.gone = True

    # --- what the parser calls

    def on_message_begin(self) -> None:
        """A request's first byte came."""
        self._clear()
        self._started = time.monotonic()
        if self._answering is None and not self._paused:
            self._rest()

    def on_url(self, url: bytes) -> None:
        """A part of the path came."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came, or a trailer; few are of interest to anyone but the parser."""
        if self._headers_done:
            return
        name = name.lower()
        if name == b"content-type":
            self._type = value
        elif name == b"content-length":
            if value.isdigit() and int(value[:20]) > MAX_BODY:
                self._refusal = _too_large()
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """The body follows, if any."""
        self._headers_done = True
        if self._refusal:
            self._refuse(self._refusal)
        elif self._expects and self._answering is None:
            self.transport.write(_CONTINUE)

    def on_body(self, part: bytes) -> None:
        """A part of the body came; of a refused one nothing is kept."""
        if self._refusal:
            return
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytes):
            self._body = bytearray(self._body + part)
        else:
            self._body += part  # not kept part by part: each would take 50 bytes more, and may have only one itself
        self._size += len(part)
        self._listener.held += len(part)
        if self._size > MAX_BODY:
            self._refuse(_too_large())
        elif self._listener.held > MAX_HELD:
            self._refuse(InvalidBody(429, "TooManyRequests", f"{MAX_HELD:,} bytes are waiting; try again later"))

    def on_message_complete(self) -> None:
        """A request is whole."""
        if len(self._waiting) >= MAX_PIPELINED:  # they take memory, though they have no bodies
            self._waiting[-1].keep_alive = False
            self._listener.held -= self._size
        elif not self._early:
            self._waiting.append(self._request(bytes(self._body)))
        self._size, self._body, self._started = 0, b"", 0.0
        if self._answering is None and not self._paused:
            self._rest()
        if self._close:
            self.transport.close()
        self._answer_next()

    # --- requests and their answers

    def _request(self, body: bytes) -> Request:
        method = self._parser.get_method().decode("latin-1") if self._headers_done else ""
        path = self._path.partition(b"?")[0].decode("latin-1")
        return Request(
            method,
            path,
            self._type.decode("latin-1"),
            body,
            self._started,
            keep_alive=self._headers_done and self._parser.should_keep_alive(),
            refusal=self._refusal,
        )

    def _refuse(self, error: InvalidBody) -> None:
        """Say no as soon as it is known; the rest of the body is read, not kept: some clients only then listen."""
        self._refusal = error
        self._listener.held -= self._size
        self._size, self._body, self._early = 0, b"", True
        self._waiting.append(self._request(b""))
        self._answer_next()

    def _answer_next(self) -> None:
        while self._waiting and self._answering is None and not self._paused and not self.transport.is_closing():
            request = self._answering = self._waiting.popleft()
            self.deadline = _NEVER
            answer = self._listener.handle(request)
            if isinstance(answer, Answer):
                self._reply(request, answer)
            else:
                answer.add_done_callback(partial(self._late, request))

    def _late(self, request: Request, answer: asyncio.Future[Answer]) -> None:
        self._reply(request, answer.result())
        if not self.transport.is_closing():
            if not self._paused:
                self.transport.resume_reading()
            self._answer_next()

    def _reply(self, request: Request, answer: Answer) -> None:
        self._answering = None
        self._listener.held -= len(request.body)
        self._listener.ended(request, CLIENT_CLOSED_REQUEST if request.gone else answer.status, answer.images)
        if request.gone:
            return
        self._write(answer, last=not request.keep_alive, head_only=request.method == "HEAD")
        if not self._paused:
            self._rest()

    def _rest(self) -> None:
        """The next move is the client's, and this is how long it may take."""
        self.deadline = self._started + READ_SECONDS if self._started else time.monotonic() + WRITE_SECONDS
        self._spare = 0.0 if self._started else IDLE_SECONDS - WRITE_SECONDS

    def _write(self, answer: Answer, *, last: bool, head_only: bool = False) -> None:
        last = last or self._listener.leaving
        content = b"" if head_only else answer.content
        self.transport.write(
            b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b%b\r\n%b"
            % (
                _STATUS_LINES[answer.status],
                answer.content_type.encode("latin-1"),
                len(answer.content),
                answer.headers,
                self._listener.date,
                b"connection: close\r\n" if last else b"",
                content,
            )
        )
        if last and self._early and self._started:
            self._close = True  # when the body is read: see `_end_with`
        elif last and not self._deaf:
            self.transport.close()

    def _end_with(self, error: InvalidBody) -> None:
        """Refuse what cannot be read on, and close: where the next request would begin nobody knows."""
        if self.transport.is_closing():
            return
        if self._answering or self._waiting or self._early:
            self._last_of_all()
            return
        request = self._request(b"")
        self._listener.held -= self._size
        self._size, self._body, self._started = 0, b"", 0.0
        self._listener.ended(request, error.status, 0)
        self._close = self._deaf = True
        self._write(refused(error), last=True)
        self.transport.write_eof()  # to close with bytes unread would take the answer from the client
        self.deadline = time.monotonic() + LINGER_SECONDS

    def _last_of_all(self) -> None:
        """No more comes from this client: the newest request's answer is the last."""
        if newest := self._waiting[-1] if self._waiting else self._answering:
            newest.keep_alive = False
        else:
            self.transport.close()

    # --- what the listener calls

    def expire(self) -> None:
        """The client has taken too long: tell it, if it was about to say something, and close."""
        if self._paused or self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()  # it does not read; to close would wait until it does
        elif self._spare:
            self.deadline, self._spare = self.deadline + self._spare, 0.0
        elif self._started and not self._early:
            self._end_with(InvalidBody(408, "TooSlow", f"the request did not come within {READ_SECONDS} s"))
        else:
            self.transport.close()

    def close_if_idle(self) -> None:
        """Close, unless a request is under way."""
        if self._answering is None and not self._started and not self._waiting:
            self.transport.close()


def refused(error: InvalidBody) -> Answer:
    """The answer to what is refused; Retry-After where it helps to come back."""
    return Answer(error.status, error_answer(error), headers=b"retry-after: 1\r\n" if error.status == 429 else b"")


def _too_large() -> InvalidBody:
    return InvalidBody(413, "BodyTooLarge", f"more than {MAX_BODY:,} bytes; send fewer images a request")
