"""The process tree of the model server: workers that answer, and a parent that keeps them and exchanges them.

The parent holds the socket, loads no model and answers nobody, so that no request can harm it; what workers import it
imports for them, once. A worker that ends by itself is replaced. SIGTERM and Ctrl-C let all that has begun end. SIGHUP
reads the artifacts anew: new workers load them while the old ones answer, then the old ones accept no more and the new
ones begin; connections that wait in between wait in the kernel, so no request fails. Where a new artifact cannot be
served, the old workers stay.
"""

import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ics.artifact import read_spec
from ics.errors import InvalidArtifact
from serving.metrics import GAUGES, Metrics
from serving.turns import Turns

KILL_SECONDS = 28
"""How long workers may take to stop; SageMaker kills 30 s after it asked."""

LEAVE_SECONDS = 5
"""How long old workers may take to say that they accept no more."""

SLOWEST_RESTART = 5.0
"""Seconds between the starts of a worker that always ends."""

GENERATIONS = 4
"""How many times the workers may be there at once: loading, answering, leaving; another exchange waits."""

Folders = Callable[[], Sequence[Path]]
"""Which artifacts are to be served, as of now; raises InvalidArtifact."""

Work = Callable[[Sequence[Path], socket.socket, socket.socket, Turns, Metrics, int, int], None]
"""What a worker does: `serving.worker.work`."""


class StartFailed(Exception):
    """No worker came up; the message says why."""


@dataclass
class _Worker:
    """A worker process, as its parent sees it."""

    pid: int
    channel: socket.socket
    slot: int
    place: int
    metrics: Metrics
    loaded: dict[str, str] | None = None
    failure: str | None = None
    left: bool = False


@dataclass
class _Generation:
    """Workers with the same artifacts."""

    folders: Sequence[Path]
    metrics: Metrics
    workers: dict[int, _Worker] = field(default_factory=dict)  # by slot
    versions: dict[str, str] | None = None  # of each model, since it answers
    pause: float = 0.1

    def loaded(self) -> bool:
        return all(worker.loaded is not None for worker in self.workers.values())


class Tree:
    """A parent and its workers; `run` is all that there is to do with it."""

    def __init__(self, folders: Folders, listener: socket.socket, count: int, processors: int) -> None:
        self._folders = folders
        self._listener = listener
        self._count = count
        self._turns = Turns(processors, GENERATIONS * count)
        self._selector = selectors.DefaultSelector()
        self._woken, waker = socket.socketpair()
        self._woken.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        self._asked: set[int] = set()
        self._current: _Generation | None = None
        self._next: _Generation | None = None
        self._failure: str | None = None  # of a worker of the next generation that has ended
        self._old: list[_Worker] = []
        self._due: list[tuple[float, int]] = []  # when which slot of the current generation is to be filled again

    def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C, and return 0.

        Raises:
            InvalidArtifact: the artifacts cannot be served.
            StartFailed: a worker ended before it was ready.
        """
        signal.set_wakeup_fd(self._waker.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda given, _: self._asked.add(given))
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        try:
            self._begin()
            while not self._asked & {signal.SIGTERM, signal.SIGINT}:
                self._turn()
        finally:
            self._stop()
        return 0

    def _turn(self) -> None:
        """Wait for something to happen, and see to it."""
        pause = min((when for when, _ in self._due), default=None)
        wait = None if pause is None else max(0.0, pause - time.monotonic())
        for key, _ in self._selector.select(wait):
            if key.data is None:
                self._woken.recv(4096)
            else:
                self._hear(key.data)
        if signal.SIGCHLD in self._asked:
            self._asked.discard(signal.SIGCHLD)
            self._bury()
        if self._next:
            self._go_over(self._next)
        if self._next is None and signal.SIGHUP in self._asked and self._room():
            self._asked.discard(signal.SIGHUP)
            try:
                self._begin()
            except (InvalidArtifact, OSError) as error:
                self._drop()
                log(event="swap-refused", reason=str(error))
        self._refill()

    def _room(self) -> bool:
        """Whether another generation has places."""
        return len(self._known()) + len(self._due) + self._count <= self._turns.places

    def _begin(self) -> None:
        """Start workers for the artifacts that there are now."""
        folders = [folder.resolve() for folder in self._folders()]  # what a link leads to now, for replacements, too
        names = [read_spec(folder).name for folder in folders]
        for name in names:
            if names.count(name) > 1:
                raise InvalidArtifact(f"two models are named {name!r}; their paths would be the same")
        self._next = _Generation(folders, Metrics(names, self._count))
        for slot in range(self._count):
            self._start(self._next, slot)

    def _start(self, generation: _Generation, slot: int) -> None:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's own threads would not come through a fork
        from serving.worker import work  # noqa: PLC0415  (once for all workers, and not where there will be none)

        place = min(set(range(self._turns.places)) - {worker.place for worker in self._known()})
        sys.stdout.flush()
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            ours.close()
            self._become_worker(work, generation, theirs, slot, place)
        theirs.close()
        worker = generation.workers[slot] = _Worker(pid, ours, slot, place, generation.metrics)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _become_worker(
        self, work: Work, generation: _Generation, channel: socket.socket, slot: int, place: int
    ) -> None:
        """In the new process: load, serve, end; nothing of the parent's goes on."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's, and a group's: the parent gets them, too
                signal.signal(number, signal.SIG_IGN)
            self._selector.close()
            for one in (self._woken, self._waker, *(worker.channel for worker in self._known())):
                one.close()
            work(generation.folders, self._listener, channel, self._turns, generation.metrics, slot, place)
            status = 0
        except BaseException:
            log(event="error", path="", traceback=traceback.format_exc())
        finally:
            os._exit(status)  # without waiting for threads, or running what the parent had planned for its own end

    def _known(self) -> list[_Worker]:
        generations = [one for one in (self._current, self._next) if one]
        return [*(worker for one in generations for worker in one.workers.values()), *self._old]

    def _hear(self, worker: _Worker) -> None:
        try:
            said = worker.channel.recv(65536)
        except OSError:
            said = b""
        if not said:  # it ends; SIGCHLD tells the rest
            self._selector.unregister(worker.channel)
            return
        for line in said.decode().splitlines():
            word, _, more = line.partition(" ")
            if word == "loaded":
                worker.loaded = json.loads(more)
            elif word == "failed":
                worker.failure = json.loads(more)
            elif word == "left":
                worker.left = True
        if self._current and self._current.workers.get(worker.slot) is worker and worker.loaded is not None:
            if worker.loaded != self._current.versions:
                worker.failure = "the artifacts are others than those that are served: put them back, or send SIGHUP"
                _tell(worker, "stop")
                return
            self._current.pause = 0.1
            _tell(worker, "go")

    def _go_over(self, generation: _Generation) -> None:
        """Let a generation take over once all of it is ready; drop it if a part of it cannot be."""
        failures = (worker.failure for worker in generation.workers.values() if worker.failure)
        if failure := self._failure or next(failures, None):
            self._failure = None
            self._drop()
            if self._current is None:
                raise StartFailed(failure)
            log(event="swap-refused", reason=failure)
            return
        if not generation.loaded():
            return
        generation.versions = next(iter(generation.workers.values())).loaded
        before, self._current, self._next = self._current, generation, None
        if before:
            self._due.clear()
            self._old.extend(before.workers.values())
            self._wait_until_left(list(before.workers.values()))
        for worker in generation.workers.values():
            _tell(worker, "go")
        host, port = self._listener.getsockname()[:2]
        event = "swapped" if before else "ready"
        log(event=event, host=host, port=port, models=generation.versions, workers=self._count)

    def _drop(self) -> None:
        """Let the workers go that were to take over."""
        for worker in self._next.workers.values() if self._next else ():
            _tell(worker, "stop")
            self._old.append(worker)
        self._next = None

    def _wait_until_left(self, workers: list[_Worker]) -> None:
        for worker in workers:
            _tell(worker, "leave")
        end = time.monotonic() + LEAVE_SECONDS
        while any(not worker.left for worker in workers) and time.monotonic() < end:
            for key, _ in self._selector.select(0.05):
                if isinstance(key.data, _Worker):
                    self._hear(key.data)
                    if key.data in workers and key.fileobj not in self._selector.get_map():
                        key.data.left = True  # it has ended

    def _bury(self) -> None:
        """See who has ended, and plan to replace those who should not have."""
        for worker in self._known():
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            self._forget(worker)
            if worker in self._old:
                self._old.remove(worker)
            elif self._next and self._next.workers.get(worker.slot) is worker:
                del self._next.workers[worker.slot]
                self._failure = worker.failure or f"a worker ended with {_ending(status)} before it was ready"
            elif self._current:
                self._mourn(self._current, worker, worker.failure or _ending(status))

    def _mourn(self, generation: _Generation, worker: _Worker, reason: str) -> None:
        """Plan to replace a worker; the longer, the more often that was in vain."""
        del generation.workers[worker.slot]
        log(event="worker-ended", reason=reason, again_in_s=generation.pause)
        self._due.append((time.monotonic() + generation.pause, worker.slot))
        generation.pause = min(2 * generation.pause, SLOWEST_RESTART)

    def _forget(self, worker: _Worker) -> None:
        """Give back what a worker held that has ended."""
        self._turns.leave(worker.place)
        for name in GAUGES:
            worker.metrics.gauge(worker.slot, name, 0)
        if worker.channel.fileno() >= 0:
            if worker.channel in self._selector.get_map():
                self._selector.unregister(worker.channel)
            worker.channel.close()

    def _refill(self) -> None:
        now = time.monotonic()
        for when, slot in [one for one in self._due if one[0] <= now]:
            self._due.remove((when, slot))
            if self._current is None:
                continue
            try:
                self._start(self._current, slot)
            except OSError as error:  # no memory or no process to be had, now
                log(event="worker-not-started", reason=str(error), again_in_s=SLOWEST_RESTART)
                self._due.append((now + SLOWEST_RESTART, slot))

    def _stop(self) -> None:
        """Accept no more, let all that has begun end, and wait for it, though not for ever."""
        self._listener.close()
        workers = self._known()
        for worker in workers:
            _tell(worker, "stop")
        end = time.monotonic() + KILL_SECONDS
        for worker in workers:
            while not _ended(worker.pid):
                if time.monotonic() > end:
                    os.kill(worker.pid, signal.SIGKILL)
                time.sleep(0.01)


def log(**fields: Any) -> None:
    """One line of JSON in the server's log."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _tell(worker: _Worker, word: str) -> None:
    try:
        worker.channel.sendall(f"{word}\n".encode())
    except OSError:  # it has ended
        return


def _ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name
