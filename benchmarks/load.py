"""Requests to a server at full speed for a while, from a process of its own, so that their cost is not the server's.

A few connections stay open; each sends its next request as soon as it has its answer. When the time is over, what is
under way is waited for, so that the server's work and the answers counted are the same.
"""

import asyncio
import http.client
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httptools
import uvloop

PATIENCE = 60.0
"""Seconds that the last answers may take."""


@dataclass(frozen=True)
class Request:
    """A POST."""

    path: str
    content_type: str
    body: bytes

    def content(self) -> bytes:
        """The bytes on the wire."""
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        ).encode() + self.body


@dataclass(frozen=True)
class Fired:
    """What came of it: seconds until each answer; the different answers to each request, by its index; all seconds."""

    latencies: list[float]
    answers: Sequence[set[bytes]]
    seconds: float


def ask(port: int, request: Request) -> bytes:
    """One request's answer.

    Raises:
        OSError: nobody listens, or no longer.
        RuntimeError: the status is not 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", request.path, request.body, {"Content-Type": request.content_type})
        response = connection.getresponse()
        return _successful(response.status, response.read())
    finally:
        connection.close()


def fire(port: int, requests: Sequence[Request], connections: int, seconds: float) -> Fired:
    """Send these requests, over and over, on so many connections.

    Raises:
        RuntimeError: a status is not 200, or the server closed a connection that waited.
        TimeoutError: the last answers did not come within `PATIENCE`.
    """
    return uvloop.run(_fire(port, requests, connections, seconds))


async def _fire(port: int, requests: Sequence[Request], connections: int, seconds: float) -> Fired:
    loop = asyncio.get_running_loop()
    contents = itertools.cycle(enumerate([request.content() for request in requests]))
    fired = Fired([], [set() for _ in requests], 0.0)
    started = time.perf_counter()

    def upcoming() -> Iterator[tuple[int, bytes]]:
        yield next(contents)
        while time.perf_counter() < started + seconds:
            yield next(contents)

    clients = [_Client(loop.create_future(), upcoming(), fired) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    try:
        await asyncio.wait_for(asyncio.gather(*(client.done for client in clients)), seconds + PATIENCE)
    finally:
        for client in clients:
            client.close()
    return Fired(fired.latencies, fired.answers, time.perf_counter() - started)


class _Client(asyncio.Protocol):
    """One connection: sends the next request when the answer to the last is whole; httptools calls its `on_`."""

    def __init__(self, done: asyncio.Future[None], upcoming: Iterator[tuple[int, bytes]], fired: Fired) -> None:
        self.done, self._upcoming, self._fired = done, upcoming, fired
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._sent, self._number = 0.0, 0
        self._write: Callable[[bytes], None]
        self.close: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._write, self.close = transport.write, transport.close
        self._send()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except Exception as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(RuntimeError(f"the server closed a connection that waited for an answer: {exc}"))

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self._fired.latencies.append(time.perf_counter() - self._sent)
        try:
            answer = _successful(self._parser.get_status_code(), b"".join(self._parts))
        except RuntimeError as error:  # not raised: httptools would hide it behind an error of its own
            self._fail(error)
            return
        self._fired.answers[self._number].add(answer)
        self._parts = []
        self._send()

    def _send(self) -> None:
        if upcoming := next(self._upcoming, None):
            self._number, content = upcoming
            self._sent = time.perf_counter()
            self._write(content)
        elif not self.done.done():
            self.done.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def _successful(status: int, body: bytes) -> bytes:
    if status != http.client.OK:
        raise RuntimeError(f"status {status}: {body[:500]!r}")
    return body
