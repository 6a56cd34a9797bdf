"""Whose turn it is to compute: as many turns as processors, shared by processes, about first come, first served.

A turn is a byte in a pipe; whoever reads it has it, and event loops wait for one as for any other file. Memory that all
processes share says since when the first in each one's queue has waited, and a process leaves a turn to whoever has
waited clearly longer. It also says how many turns each has, so that they are given back when it dies.
"""

import math
import mmap
import os
import select

NOBODY = math.inf
"""Since when nobody waits."""


class Turns:
    """At most `count` requests are computed at a time, by all processes forked with this; each has a place of its own.

    The count of what a process has is never below what it has, not even for a moment, for it may be killed at any: one
    turn too many does less harm than one too few.
    """

    def __init__(self, count: int, places: int) -> None:
        self.count, self.places = count, places
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        shared = memoryview(mmap.mmap(-1, 2 * 8 * places)).cast("d")
        self._since, self._held = shared[:places], shared[places:]
        for place in range(places):
            self._since[place] = NOBODY
        os.write(self._in, bytes(count))

    def wait(self, place: int, since: float) -> None:
        """Say since when, by `time.monotonic`, the first in the queue of this place has waited, or `NOBODY`."""
        self._since[place] = since

    def longest(self) -> float:
        """Since when whoever has waited longest has."""
        return min(self._since)

    def take(self, place: int) -> bool:
        """Take a turn, if there is one."""
        self._held[place] += 1
        try:
            return bool(os.read(self._out, 1))
        except BlockingIOError:
            self._held[place] -= 1
            return False

    def put_back(self, place: int) -> None:
        """Give a turn back."""
        os.write(self._in, bytes(1))
        self._held[place] -= 1

    def held(self, place: int) -> int:
        """How many turns this place has."""
        return int(self._held[place])

    def leave(self, place: int) -> None:
        """Give back all that a process had at its place; it is no more."""
        held, self._held[place], self._since[place] = self.held(place), 0, NOBODY
        os.write(self._in, bytes(held))

    def free(self) -> bool:
        """Whether there is a turn at the moment."""
        return bool(select.select([self._out], [], [], 0)[0])

    def fileno(self) -> int:
        """What is readable while there is a turn."""
        return self._out
