"""One connection at a time, by what clients do on it: well-behaved, odd, slow and hostile ones, over real sockets."""

import asyncio
import json
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import uvloop

from ics.wire import MAX_BODY
from serving import http
from serving.http import Answer, Connection, Listener, Request, refused


@dataclass
class Server:
    """A listener on a free port that answers every request with what it was asked; /slow waits for `release`."""

    port: int = 0
    listener: Listener = field(init=False)
    ended: list[tuple[Request, int]] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    def handle(self, request: Request) -> "Answer | asyncio.Future[Answer]":
        if request.refusal:
            return refused(request.refusal)
        said = f"{request.method} {request.path} {request.content_type} ".encode() + request.body
        if request.path != "/slow":
            return Answer(200, said, "text/plain")

        async def later() -> Answer:
            await self.release.wait()
            return Answer(200, said, "text/plain")

        return asyncio.get_running_loop().create_task(later())


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    loop = asyncio.get_running_loop()
    server = Server()
    server.listener = Listener(server.handle, lambda request, status, _: server.ended.append((request, status)))
    server.listener.tick()
    listening = await loop.create_server(lambda: Connection(server.listener), "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.02)
            server.listener.tick()

    ticking = loop.create_task(tick())
    try:
        yield server
    finally:
        listening.close()
        for client in server.clients:
            client.transport.abort()
        server.release.set()
        async with asyncio.timeout(10):
            while server.listener.connections:
                await asyncio.sleep(0.01)
        ticking.cancel()
        assert server.listener.held == 0


@dataclass
class Client:
    """A plain connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """The next answer: status, headers, body."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), headers, await self.reader.readexactly(int(headers[b"content-length"]))

    async def ask(self, content: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
        self.writer.write(content)
        return await self.answer()

    async def closed(self) -> bool:
        """Whether the server closes, with nothing more to say."""
        with suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), 10) == b""
        return True


async def connect(server: Server) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
    server.clients.append(client.writer)
    return client


def post(body: bytes, path: str = "/x", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: ics\r\ncontent-type: a/b\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def error(answer: tuple[int, dict[bytes, bytes], bytes]) -> tuple[int, str]:
    status, _, content = answer
    return status, json.loads(content)["error"]["code"]


def run(story: Callable[[Server], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with serving() as server:
            await story(server)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_requests_come_whole_however_they_are_cut(size: int) -> None:
    async def story(server: Server) -> None:
        client = await connect(server)
        chunked = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nContent-Type: z\r\n\r\n"
        stream = post(b"\x00" * 100) + chunked + b"GET /ping?a=b HTTP/1.1\r\n\r\n"

        async def send() -> None:
            for start in range(0, len(stream), size):
                client.writer.write(stream[start : start + size])
                await client.writer.drain()
                await asyncio.sleep(0)

        sending = asyncio.create_task(send())
        assert (await client.answer())[2] == b"POST /x a/b " + b"\x00" * 100
        assert (await client.answer())[2] == b"POST /c  abcdefg"
        status, headers, content = await client.answer()
        assert (status, content) == (200, b"GET /ping  ")
        assert headers[b"content-type"] == b"text/plain"
        assert headers[b"date"].endswith(b"GMT")
        await sending

    run(story)


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    async def story(server: Server) -> None:
        client = await connect(server)
        client.writer.write(post(b"1", "/slow") + post(b"2") + post(b"3", "/slow") + post(b"4"))
        await asyncio.sleep(0.1)
        assert server.ended == []
        server.release.set()
        for number in b"1234":
            assert (await client.answer())[2][-1] == number
        assert [request.body for request, _ in server.ended] == [b"1", b"2", b"3", b"4"]

    run(story)


def test_a_half_closed_connection_gets_its_answers_and_is_then_closed() -> None:
    async def story(server: Server) -> None:
        client = await connect(server)
        client.writer.write(post(b"1", "/slow") + post(b"2"))
        client.writer.write_eof()
        await asyncio.sleep(0.05)
        server.release.set()
        assert (await client.answer())[2][-1:] == b"1"
        assert (await client.answer())[2][-1:] == b"2"
        assert await client.closed()
        broken = await connect(server)
        broken.writer.write(post(b"12345")[:-2])
        broken.writer.write_eof()
        assert await broken.closed()
        assert server.ended[-1][1] == 499

    run(story)


def test_http_1_0_and_close_end_the_connection_head_has_no_body_and_an_upgrade_is_not_taken() -> None:
    async def story(server: Server) -> None:
        for request in (
            b"GET /x HTTP/1.0\r\n\r\n",
            b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n",
            b"GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01x",
        ):
            client = await connect(server)
            assert (await client.ask(request))[2] == b"GET /x  "
            assert await client.closed()
        client = await connect(server)
        client.writer.write(b"HEAD /x HTTP/1.1\r\n\r\n" + post(b"2"))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 9\r\n" in head
        assert (await client.answer())[2][-1:] == b"2"

    run(story)


def test_expect_100_continue_is_told_to_go_on_or_why_not() -> None:
    async def story(server: Server) -> None:
        client = await connect(server)
        head, body = post(b"body", more="Expect: 100-continue\r\n").split(b"\r\n\r\n")
        client.writer.write(head + b"\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await client.ask(body))[2] == b"POST /x a/b body"
        large = f"POST /x HTTP/1.1\r\nContent-Length: {MAX_BODY + 1}\r\nExpect: 100-continue\r\n\r\n"
        assert error(await client.ask(large.encode())) == (413, "BodyTooLarge")

    run(story)


HOSTILE = {
    "nonsense": (b"\x16\x03\x01 hello\r\n\r\n", 400, "MalformedRequest"),
    "two lengths": (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "MalformedRequest"),
    "length and chunks": (
        b"POST /x HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "MalformedRequest",
    ),
    "bad chunk": (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "MalformedRequest"),
    "bad length": (b"POST /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400, "MalformedRequest"),
    "vast length": (b"POST /x HTTP/1.1\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n", 400, "MalformedRequest"),
    "endless path": (b"GET /" + b"x" * 600_000, 431, "HeadTooLarge"),
    "endless header": (b"GET / HTTP/1.1\r\na: " + b"x" * 600_000, 431, "HeadTooLarge"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_request_is_refused_and_the_connection_closed(name: str) -> None:
    content, status, code = HOSTILE[name]

    async def story(server: Server) -> None:
        client = await connect(server)
        assert (await client.ask(post(b"fine")))[0] == 200
        answer = await client.ask(content)
        assert error(answer) == (status, code)
        assert answer[1][b"connection"] == b"close"
        assert await client.closed()
        assert server.ended[-1][1] == status

    run(story)


def test_an_answer_under_way_is_not_lost_to_nonsense_behind_it() -> None:
    async def story(server: Server) -> None:
        client = await connect(server)
        client.writer.write(post(b"1", "/slow") + b"\x00nonsense\r\n\r\n")
        await asyncio.sleep(0.05)
        server.release.set()
        status, headers, content = await client.answer()
        assert (status, content[-1:], headers[b"connection"]) == (200, b"1", b"close")
        assert await client.closed()

    run(story)


def test_too_large_a_body_is_refused_at_once_read_to_its_end_and_not_kept() -> None:
    async def story(server: Server) -> None:
        client = await connect(server)
        announced = f"POST /x HTTP/1.1\r\ncontent-length: {MAX_BODY + 1}\r\n\r\n".encode()
        assert error(await client.ask(announced)) == (413, "BodyTooLarge")  # before any of it came
        client.writer.write(bytes(MAX_BODY + 1) + post(b"next"))
        assert (await client.answer())[2] == b"POST /x a/b next"
        unannounced = b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        client.writer.write(unannounced + chunk * (MAX_BODY // 65536 + 1))
        assert error(await client.answer()) == (413, "BodyTooLarge")
        assert server.listener.held == 0
        client.writer.write(b"0\r\n\r\n" + post(b"next"))
        assert (await client.answer())[2] == b"POST /x a/b next"
        client.writer.write(b"POST /x HTTP/1.1\r\ncontent-length: 999999999999\r\n\r\n")
        assert error(await client.answer()) == (413, "BodyTooLarge")
        with suppress(ConnectionError):
            for _ in range(http.MAX_FED // 65536 + 2):
                client.writer.write(bytes(65536))
                await client.writer.drain()
        assert await client.closed()  # and not read for ever

    run(story)


def test_bodies_of_all_connections_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_HELD", 1000)

    async def story(server: Server) -> None:
        first, second, third = [await connect(server) for _ in range(3)]
        first.writer.write(post(bytes(600), "/slow"))
        second.writer.write(post(bytes(500))[:-1])
        status, headers, content = await second.answer()
        assert (status, headers[b"retry-after"]) == (429, b"1")
        assert b"try again later" in content
        assert (await third.ask(post(bytes(300))))[0] == 200
        server.release.set()
        assert (await first.answer())[0] == 200
        second.writer.write(b"\x00" + post(bytes(900)))
        assert (await second.answer())[0] == 200

    run(story)


def test_a_body_in_tiny_chunks_takes_no_more_memory_than_its_size() -> None:
    chunks, count = b"2\r\nab\r\n" * 10_000, 20

    async def story(server: Server) -> None:
        client = await connect(server)
        tracemalloc.start()
        client.writer.write(b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(count):
            client.writer.write(chunks)
            await client.writer.drain()
        while server.listener.held < 20_000 * count:
            await asyncio.sleep(0.01)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        client.writer.write(b"0\r\n\r\n")
        assert (await client.answer())[2] == b"POST /x  " + b"ab" * 10_000 * count
        assert held < 2_000_000  # part by part it would be ten million

    run(story)


def test_who_is_slow_is_told_so_and_who_is_idle_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.2)
    monkeypatch.setattr(http, "WRITE_SECONDS", 0.1)
    monkeypatch.setattr(http, "IDLE_SECONDS", 1.0)

    async def story(server: Server) -> None:
        in_head, in_body, idle, rare = [await connect(server) for _ in range(4)]
        await rare.ask(post(b"1"))
        in_head.writer.write(b"POST /x HTTP/1.1\r\nhost")
        in_body.writer.write(post(b"12345")[:-1])
        for client in (in_head, in_body):
            assert error(await client.answer()) == (408, "TooSlow")
            assert await client.closed()
        await asyncio.sleep(0.3)
        assert (await rare.ask(post(b"2")))[0] == 200  # it has read its answer, so it need not hurry
        assert await idle.closed()
        patient = await connect(server)  # longer than all of these, and yet in time
        patient.writer.write(post(b"1", "/slow"))
        await asyncio.sleep(1.2)
        server.release.set()
        assert (await patient.answer())[0] == 200

    run(story)


def test_a_client_that_does_not_read_holds_no_memory_and_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WRITE_SECONDS", 0.3)

    async def story(server: Server) -> None:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.setblocking(False)
        sent = 0
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(5):
                while sent < 400:
                    await loop.sock_sendall(sock, post(bytes(1_000_000)))
                    sent += 1
        assert sent < 100  # it was not read on when nobody took the answers
        while server.listener.connections:
            await asyncio.sleep(0.02)
        sock.close()

    run(story)


@pytest.mark.parametrize("leaving", [False, True])
def test_a_client_that_does_not_read_the_rest_is_closed_too(monkeypatch: pytest.MonkeyPatch, leaving: bool) -> None:
    """The transport is only heard of beyond its high-water mark, and to close it waits until all is read."""
    monkeypatch.setattr(http, "WRITE_SECONDS", 0.3)
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.5)

    async def story(server: Server) -> None:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.port))
            while not server.listener.connections:
                await asyncio.sleep(0.01)
            (connection,) = server.listener.connections
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client.sendall(post(bytes(50_000)))
            while not server.ended:
                await asyncio.sleep(0.01)
            assert 0 < connection.transport.get_write_buffer_size() < 60_000
            if leaving:
                server.listener.leave(idle=True)
            async with asyncio.timeout(5):
                while server.listener.connections:
                    await asyncio.sleep(0.02)

    run(story)


def test_requests_ahead_of_their_answers_are_bounded() -> None:
    async def story(server: Server) -> None:
        client = await connect(server)
        client.writer.write(post(b"1", "/slow") + b"GET /x HTTP/1.1\r\n\r\n" * 5000)
        await asyncio.sleep(0.1)
        (connection,) = server.listener.connections
        assert len(connection._waiting) == http.MAX_PIPELINED
        server.release.set()
        for _ in range(1 + http.MAX_PIPELINED):
            status, headers, _ = await client.answer()
            assert status == 200
        assert headers[b"connection"] == b"close"
        assert await client.closed()

    run(story)


def test_what_comes_after_the_last_request_is_no_request() -> None:
    async def story(server: Server) -> None:
        client = await connect(server)
        assert (await client.ask(b"GET /x HTTP/1.1\r\nconnection: close\r\n\r\nmore of it"))[0] == 200
        assert await client.closed()
        assert [status for _, status in server.ended] == [200]

    run(story)


def test_one_connection_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 2)

    async def story(server: Server) -> None:
        first, second = [await connect(server) for _ in range(2)]
        await first.ask(post(b""))
        await second.ask(post(b""))
        third = await connect(server)
        assert error(await third.answer()) == (503, "TooManyConnections")
        assert await third.closed()
        first.writer.close()
        await asyncio.sleep(0.05)
        assert (await (await connect(server)).ask(post(b"")))[0] == 200

    run(story)


def test_who_goes_away_is_known_to_be_gone() -> None:
    async def story(server: Server) -> None:
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(post(b"1", "/slow"))
        await asyncio.sleep(0.05)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that it is not half-closed
        client.close()
        await asyncio.sleep(0.05)
        server.release.set()
        await asyncio.sleep(0.05)
        ((request, status),) = server.ended
        assert (request.gone, status) == (True, 499)

    run(story)


def test_leaving_answers_what_has_begun_and_closes_the_rest() -> None:
    async def story(server: Server) -> None:
        busy, half, idle, patient = [await connect(server) for _ in range(4)]
        busy.writer.write(post(b"1", "/slow"))
        half.writer.write(post(b"22")[:-1])
        await asyncio.sleep(0.05)
        server.listener.leave(idle=False)
        status, headers, _ = await patient.ask(post(b"3"))  # a client that did not know
        assert (status, headers[b"connection"]) == (200, b"close")
        server.listener.leave(idle=True)
        assert await idle.closed()
        half.writer.write(b"2")
        server.release.set()
        for client in (busy, half):
            status, headers, _ = await client.answer()
            assert (status, headers[b"connection"]) == (200, b"close")
            assert await client.closed()

    run(story)
