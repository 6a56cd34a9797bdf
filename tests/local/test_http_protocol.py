"""`local.http_protocol`: an answer's head and body leave in one write, and nothing that is written waits or is lost."""

import asyncio
from collections.abc import Iterable

import uvicorn
from uvicorn.server import ServerState

from local.http_protocol import HttpProtocol, OneWrite


class Wire:
    """A transport that keeps what is written, a list of pieces a system call."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.calls.append([data])

    def writelines(self, pieces: Iterable[bytes]) -> None:
        assert not self.closed
        self.calls.append(list(pieces))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def test_two_writes_in_a_row_are_one_and_a_lone_one_does_not_wait_for_another():
    async def story():
        wire = Wire()
        transport = OneWrite(wire, asyncio.get_running_loop())
        transport.write(b"head")
        transport.write(b"body")
        assert wire.calls == [[b"head", b"body"]]
        transport.write(b"next head")
        assert len(wire.calls) == 1
        await asyncio.sleep(0)
        assert wire.calls[1:] == [[b"next head"]]
        transport.write(b"last")
        transport.close()
        assert wire.calls[2:] == [[b"last"]]
        assert transport.is_closing()
        await asyncio.sleep(0)
        assert len(wire.calls) == 3

    asyncio.run(story())


def test_a_head_does_not_wait_for_its_body_and_a_closed_connection_has_had_all():
    async def story():
        release = asyncio.Event()

        async def app(_scope, _receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
            await release.wait()
            await send({"type": "http.response.body", "body": b"answer"})

        config = uvicorn.Config(app, http=HttpProtocol, log_config=None, lifespan="off")
        config.load()
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: HttpProtocol(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert head.startswith(b"HTTP/1.1 200")
        release.set()
        assert await asyncio.wait_for(reader.read(), 10) == b"answer"
        writer.close()
        listener.close()

    asyncio.run(story())
