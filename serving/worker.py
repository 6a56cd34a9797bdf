"""One process of the model server: it loads the models, answers on the tree's socket, and goes when its parent says so.

Over the channel, a line each way: the parent says `go` (accept), `leave` (accept no more; answer who is connected, then
end) or `stop` (the same, and close idle connections); the worker says `loaded`, `failed` with the reason, or `left`. A
channel that ends means that the parent is no more: the worker stops, too.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from ics.errors import InvalidArtifact
from serving.app import App
from serving.http import Connection, Listener
from serving.metrics import Metrics
from serving.model import load_model, measured
from serving.turns import Turns

DRAIN_SECONDS = 25
"""How long requests may still take after `stop`; SageMaker kills 30 s after it asked."""

PATIENCE = 10
"""How often a process looks whether those with fewer connections have accepted what waits, before it does."""

LOOK_SECONDS = 0.002
"""The time between two such looks."""

READ_LOOKS = 10
"""How often the event loop goes round after `stop`, to read what had come by then."""


def work(
    folders: Sequence[Path],
    listener: socket.socket,
    channel: socket.socket,
    turns: Turns,
    metrics: Metrics,
    slot: int,
    place: int,
) -> None:
    """Serve these artifacts until the parent says otherwise; return when all is answered."""
    try:
        models = [measured(load_model(folder)) for folder in folders]
    except InvalidArtifact as error:
        _say(channel, "failed", str(error))
        return
    _say(channel, "loaded", {model.spec.name: model.spec.version for model in models})
    # What is loaded stays, and need not be looked through for garbage again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    app = App(models, turns, metrics, write_log, slot=slot, place=place)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, listener, channel, metrics, slot))


def write_log(line: bytes) -> None:
    """Write a line to stdout, whole beside the lines of other processes, as long as it is short."""
    try:
        os.write(sys.stdout.fileno(), line)
    except OSError:  # nobody listens to what is logged; whoever asked still wants an answer
        return


def _say(channel: socket.socket, word: str, more: object) -> None:
    channel.sendall(f"{word} {json.dumps(more)}\n".encode())


async def _serve(app: App, listener: socket.socket, channel: socket.socket, metrics: Metrics, slot: int) -> None:
    loop = asyncio.get_running_loop()
    shared = Listener(app.handle, app.ended)
    shared.tick()
    told: asyncio.Queue[str] = asyncio.Queue()
    channel.setblocking(False)
    loop.add_reader(channel, _hear, channel, told)
    loop.add_signal_handler(signal.SIGTERM, told.put_nowait, "stop")
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # of a terminal; the parent gets it, too, and decides
    word = await told.get()
    if word != "go":
        return
    acceptor = Acceptor(listener, shared, metrics, slot)
    shared.counted = acceptor.tell
    acceptor.start()
    ticking = loop.create_task(_tick(shared, metrics, slot))
    word = await told.get()
    await acceptor.stop(last=word == "stop")
    _say(channel, "left", None) if word == "leave" else None
    shared.leave(idle=word == "stop")
    end = loop.time() + DRAIN_SECONDS if word == "stop" else float("inf")
    while shared.connections and loop.time() < end:
        try:
            if await asyncio.wait_for(told.get(), 0.05) == "stop":
                shared.leave(idle=True)
                end = min(end, loop.time() + DRAIN_SECONDS)
        except TimeoutError:
            continue
    ticking.cancel()


class Acceptor:
    """Accepts connections, more of them than another process has only if nobody else does.

    Whoever sends one request after the other on a connection is served by one process. Were they shared out by chance,
    some would wait long in a crowd while others had a process to themselves.
    """

    def __init__(self, listener: socket.socket, shared: Listener, metrics: Metrics, slot: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._shared = shared
        self._metrics = metrics
        self._slot = slot
        self._looks = 0
        self._waiting: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        listener.setblocking(False)

    def start(self) -> None:
        """Accept from now on."""
        self._loop.add_reader(self._listener, self._accept)

    async def stop(self, *, last: bool) -> None:
        """Accept no more; return when all that were accepted are there.

        With `last`, nobody else will accept: who waits to be is, and what has been sent by now is read.
        """
        self._loop.remove_reader(self._listener)
        if last:
            self._looks = PATIENCE + 1
            self._accept()
            self._loop.remove_reader(self._listener)
        if self._waiting:
            self._waiting.cancel()
        self._listener.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _ in range(READ_LOOKS if last else 0):
            await asyncio.sleep(LOOK_SECONDS)

    def _accept(self) -> None:
        """Accept all that waits, but no more than others have as long as they may come for it."""
        while self._looks > PATIENCE or self._count() <= 1 + self._metrics.least("connections"):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # there is none, or no more
                self._looks = 0
                return
            except OSError:  # no more files: those that are open may be closed in a while
                self._pause(1)
                return
            connection.setblocking(False)
            task = self._loop.create_task(
                self._loop.connect_accepted_socket(lambda: Connection(self._shared), connection)
            )
            self._tasks.add(task)
            task.add_done_callback(self._connected)
            self.tell()
        self._looks += 1
        self._pause(LOOK_SECONDS)

    def _count(self) -> int:
        """The connections of this process, those that are on their way to it among them."""
        return len(self._shared.connections) + len(self._tasks)

    def tell(self) -> None:
        """Tell the other processes how many connections this one has."""
        self._metrics.gauge(self._slot, "connections", self._count())

    def _connected(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the client was gone before it was there, and nobody need know
        self.tell()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._waiting = self._loop.call_later(seconds, self.start)


def _hear(channel: socket.socket, told: "asyncio.Queue[str]") -> None:
    try:
        said = channel.recv(64)
    except BlockingIOError:
        return
    except OSError:
        said = b""
    if not said:
        asyncio.get_running_loop().remove_reader(channel)
    for word in said.decode().split() or ["stop"]:
        told.put_nowait(word)


async def _tick(shared: Listener, metrics: Metrics, slot: int) -> None:
    while True:
        await asyncio.sleep(1)
        shared.tick()
        metrics.gauge(slot, "held_bytes", shared.held)
