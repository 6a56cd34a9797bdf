"""Turns and those who wait for them: never too many at once, about first come, first served, and none is lost."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import line as line_module
from serving.line import Line
from serving.turns import Turns


@contextmanager
def lines_of(turns: Turns) -> Iterator[list["Line[str]"]]:
    """The lines of so many processes, though in one: an event loop has one reader a file, so each gets another."""
    ends = [os.dup(turns.fileno()) for _ in range(turns.places)]
    twins = [copy(turns) for _ in ends]
    for twin, end in zip(twins, ends, strict=True):
        twin._out = end
    yield [Line(twin, place, lambda _name, _value: None) for place, twin in enumerate(twins)]
    for end in ends:
        os.close(end)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_whatever_comes_to_whichever_process_is_computed_in_the_order_in_which_it_came(places: list[int]) -> None:
    computed: list[int] = []
    gate = threading.Event()

    def compute(number: int) -> str:
        gate.wait()
        computed.append(number)
        return str(number)

    async def story() -> None:
        with lines_of(Turns(1, 4)) as lines:
            asked = [lines[place].put(partial(compute, number)) for number, place in enumerate(places)]
            gate.set()
            assert await asyncio.gather(*asked) == [str(number) for number in range(len(places))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_module, "LEEWAY", 0)
        asyncio.run(story())
    assert computed == list(range(len(places)))


@pytest.mark.parametrize(("leeway", "expected"), [(600, [0, 2, 1]), (0, [0, 1, 2])])
def test_a_turn_stays_with_its_process_unless_another_has_waited_clearly_longer(
    leeway: float, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "LEEWAY", leeway)
    computed: list[int] = []
    gate = threading.Event()

    def compute(number: int) -> str:
        gate.wait()
        computed.append(number)
        return ""

    async def story() -> None:
        with lines_of(Turns(1, 2)) as (line, other):
            asked = [one.put(partial(compute, number)) for number, one in enumerate((line, other, line))]
            gate.set()
            await asyncio.gather(*asked)

    asyncio.run(story())
    assert computed == expected


@pytest.mark.parametrize("count", [1, 2, 5])
def test_as_many_are_computed_at_once_as_there_are_turns_and_never_more(count: int) -> None:
    now, most, mutex = 0, 0, threading.Lock()
    full = threading.Barrier(count)

    def compute() -> str:
        nonlocal now, most
        with mutex:
            now += 1
            most = max(most, now)
        full.wait(60)  # passes only while so many compute at once
        with mutex:
            now -= 1
        return ""

    async def story() -> None:
        turns = Turns(count, 3)
        with lines_of(turns) as lines:
            await asyncio.gather(*(lines[number % 3].put(compute) for number in range(6 * count)))
        assert most == count
        assert [turns.take(0) for _ in range(count + 1)] == [True] * count + [False]  # all of them are there again

    asyncio.run(story())


def test_a_turn_is_left_to_whoever_has_waited_longer_though_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        with lines_of(Turns(1, 2)) as (line, other):
            other._turns.wait(1, time.monotonic() - 1)  # and does not take its turn
            monkeypatch.setattr(line_module, "PATIENCE", 600)
            waits = line.put(lambda: "computed")
            assert not (await asyncio.wait([waits], timeout=0.2))[0]
            monkeypatch.setattr(line_module, "PATIENCE", 0.01)
            assert await asyncio.wait_for(waits, 60) == "computed"

    asyncio.run(story())


KILLED = """
import os, signal
from serving.turns import NOBODY, Turns

def taken():
    count = 0
    while turns.take(0):
        count += 1
    return count

turns = Turns(3, 2)
ready, tell = os.pipe()
pid = os.fork()
if pid == 0:
    turns.wait(1, 1.0)
    turns.take(1), turns.take(1)
    os.write(tell, b".")
    signal.pause()
os.read(ready, 1)
assert (turns.held(1), turns.longest(), taken()) == (2, 1.0, 1)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
turns.leave(1)
assert (turns.held(1), turns.longest(), taken()) == (0, NOBODY, 2)
"""


def test_what_a_process_had_is_there_again_once_it_is_killed() -> None:
    subprocess.run([sys.executable, "-c", KILLED], check=True)
