"""What waits in this process to be computed: in threads, one turn each, the whole tree's longest waiting first, nearly.

The event loop stays free, so that it hears of the next request, and of turns, at once: what has come has its place in
the order, whichever process is busy.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from serving.turns import NOBODY, Turns

LEEWAY = 0.05
"""Seconds that another process may have waited longer and a turn still stays where it is: its way to the other costs
both a tenth of a small net's time, in threads that are woken and caches that are cold."""

COURTESY = 0.001
"""Seconds after which to look again whether a turn that is another process's has been taken."""

PATIENCE = 0.05
"""Seconds after which turns are no longer left to a process that does not take them."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Job(Generic[Result]):
    """What is to be computed, and who is told."""

    compute: Callable[[], Result]
    done: "asyncio.Future[Result]"
    since: float  # when it came, by `time.monotonic`


class Line(Generic[Result]):
    """The queue of the process at this place among the turns; `gauge` is told how many wait and are computed."""

    def __init__(self, turns: Turns, place: int, gauge: Callable[[str, float], None]) -> None:
        self._turns, self._place, self._gauge = turns, place, gauge
        self._waiting: deque[_Job[Result]] = deque()
        self._mutex = threading.Lock()  # of the queue and the turns, which the loop and the threads change
        self._threads = ThreadPoolExecutor(turns.count, "inference")
        self._listening = False
        self._later: asyncio.TimerHandle | None = None
        self._left_to = (NOBODY, 0.0)  # since when who was last left a turn has waited; and when that was first

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def put(self, compute: Callable[[], Result]) -> "asyncio.Future[Result]":
        """Have this computed in its turn; it must not raise."""
        job = _Job(compute, asyncio.get_running_loop().create_future(), time.monotonic())
        with self._mutex:
            self._waiting.append(job)
            waiting = len(self._waiting)
            self._gauge("waiting", waiting)
        if waiting == 1:  # for more, turns are being listened for
            self._next()
        return job.done

    def _next(self) -> None:
        """Let threads compute what has turns, and hear of further turns as long as something waits."""
        loop = asyncio.get_running_loop()
        while job := self._begun():
            self._threads.submit(self._compute, job, loop)
        courteous = bool(self._waiting) and self._turns.free()  # but it is another process that is to take it
        if courteous and self._later is None:
            self._later = loop.call_later(COURTESY, self._look_again)
        self._listen(loop, bool(self._waiting) and not courteous)

    def _look_again(self) -> None:
        self._later = None
        self._next()

    def _listen(self, loop: asyncio.AbstractEventLoop, wanted: bool) -> None:
        if wanted != self._listening:
            self._listening = wanted
            if wanted:
                loop.add_reader(self._turns.fileno(), self._next)
            else:
                loop.remove_reader(self._turns.fileno())

    def _begun(self, *, turn: bool = False) -> _Job[Result] | None:
        """What has waited longest, if there is a turn for it; with `turn`, one is at hand, to be used or put back."""
        with self._mutex:
            job = self._waiting[0] if self._waiting else None
            self._say_since()
            if job and self._is_next(job.since) and (turn or self._turns.take(self._place)):
                self._waiting.popleft()
                self._say_since()
            else:
                job = None
                if turn:
                    self._turns.put_back(self._place)
            self._gauge("waiting", len(self._waiting))
            self._gauge("computing", self._turns.held(self._place))
            return job

    def _say_since(self) -> None:
        self._turns.wait(self._place, self._waiting[0].since if self._waiting else NOBODY)

    def _is_next(self, since: float) -> bool:
        """Whether nobody has waited `LEEWAY` longer, or whoever has does not take the turns that there are."""
        longest = self._turns.longest()
        if longest >= since - LEEWAY:
            return True
        if not self._turns.free():
            return False
        now = time.monotonic()
        if self._left_to[0] != longest:
            self._left_to = longest, now
        return now >= self._left_to[1] + PATIENCE

    def _compute(self, job: _Job[Result] | None, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread, which goes on with what is next: to wake another for it would take longer."""
        while job:
            result = job.compute()
            done, job = job.done, self._begun(turn=True)
            loop.call_soon_threadsafe(done.set_result, result)
