"""uvicorn's HTTP/1.1 with the head and the body of an answer in one write.

uvicorn writes them one after the other: two system calls, and a reader that wakes twice. For an answer as small as a
picture of 28 x 28 pixels that was a fifth of the embedded AWS's CPU time.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OneWrite:
    """A transport that holds a write until the next one comes, at most until the event loop's next turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None

    def write(self, data: bytes) -> None:
        """Write `data`, behind what is held, or hold it."""
        if self._held is None:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            held, self._held = self._held, None
            self._transport.writelines((held, data))

    def close(self) -> None:
        """Close once all is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)


class HttpProtocol(HttpToolsProtocol):
    """What serves one connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take over an accepted connection."""
        super().connection_made(cast("asyncio.Transport", OneWrite(transport, self.loop)))
