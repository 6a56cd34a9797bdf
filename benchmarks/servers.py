"""ICS's model server beside other servers and the raw limit: the same net, the same pictures, the same minutes.

All run at once. Each gets full load for a second, in turns, for some cycles, at each number of connections; what counts
is the CPU time an image of its whole process tree in that second, and every figure is the median over the cycles of
what two of them cost in the same cycle. Whoever gives another answer than the raw limit's, at any time, ends the bench.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.contenders import BENTOML, ICS, LITSERVE, MLSERVER, OTHERS, ROOT, Answer, Server, peer_python, running
from benchmarks.cpu import tree_seconds
from benchmarks.figures import Cost, Figure, Start
from benchmarks.load import Request, ask, fire
from benchmarks.nets import MOBILE, TINY, Net, pictures, write_artifact, write_integers

CONNECTIONS = (1, 8, 32)
CYCLES = 9
SLICE_SECONDS = 1.0
TOLERANCE = 1e-4
"""How far apart two servers' confidences of a picture may be."""

CPU_MS = "CPU-ms an image"
LIMIT = "the raw limit"
INTEGERS = "ICS, 8-bit integers"
NAMES = tuple(contender.name for contender in OTHERS)
CORES = os.cpu_count() or 1


class Disagreement(Exception):
    """A server's answer is not the raw limit's: what they cost cannot be compared."""


@dataclass(frozen=True)
class Load:
    """What is asked: a net's pictures, so many a request."""

    net: Net
    images: int

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.net.title}, {self.images} picture{'s' * (self.images > 1)} a request"

    def bodies(self, count: int) -> list[list[int]]:
        """Which of `count` pictures each request has; every picture is in one, and not always in the same place."""
        step = max(1, self.images // 4)
        return [[(first + number) % count for number in range(self.images)] for first in range(0, count, step)]


MANY, SINGLE, MOBILES = Load(TINY, 32), Load(TINY, 1), Load(MOBILE, 1)
LOADS = (MANY, SINGLE, MOBILES)


@dataclass(frozen=True)
class Slice:
    """What a second of load came to: pictures answered, CPU seconds, seconds, and each request's seconds."""

    images: int
    cpu: float
    seconds: float
    latencies: Sequence[float] = ()

    def cpu_ms(self) -> float:
        """CPU milliseconds an image."""
        return 1000 * self.cpu / self.images

    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    def latency_ms(self, percent: int) -> float:
        """The milliseconds within which so many percent of the requests had their answer."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


Slices = dict[tuple[Load, int], dict[str, list[Slice]]]
"""By load and number of connections, then by server: a slice a cycle, in the cycles' order."""

Starts = Mapping[str, Sequence[tuple[float, float]]]
"""By server: seconds and CPU seconds to the first answer, a pair a start."""


def require_equal(name: str, given: Sequence[Answer], expected: Sequence[Answer]) -> None:
    """Hold a server's answers to the limit's.

    Raises:
        Disagreement: there are more or fewer, a label differs, or a confidence by more than `TOLERANCE`.
    """
    if len(given) != len(expected):
        raise Disagreement(f"{name} gives {len(given)} answers for {len(expected)} pictures")
    for number, ((label, confidence), (wanted, sure)) in enumerate(zip(given, expected, strict=True)):
        if label != wanted or not abs(confidence - sure) <= TOLERANCE:
            raise Disagreement(f"{name} takes picture {number} for {label} ({confidence}); it is {wanted} ({sure})")


@dataclass(frozen=True)
class Loaded:
    """A server under a load: its requests, `images` in each; `expected` is what it must answer to each, if known."""

    name: str
    server: Server
    images: int
    requests: Sequence[Request]
    expected: Sequence[Sequence[Answer]] | None
    client: Executor

    def slice(self, connections: int, seconds: float) -> Slice:
        """A slice, as it comes to.

        Raises:
            Disagreement: an answer is not as expected.
            RuntimeError: the server failed.
        """
        root = [self.server.process.pid]
        before = tree_seconds(root)
        fired = self.client.submit(fire, self.server.port, self.requests, connections, seconds).result()
        cpu = tree_seconds(root) - before
        self.require_equal(fired.answers)
        return Slice(len(fired.latencies) * self.images, cpu, fired.seconds, fired.latencies)

    def require_equal(self, answers: Sequence[set[bytes]]) -> None:
        """Hold the answers to each request to what is expected.

        Raises:
            Disagreement: one is not as expected.
        """
        if self.expected is not None:
            for bodies, expected in zip(answers, self.expected, strict=True):
                for body in bodies:
                    require_equal(self.name, self.server.contender.read(body), expected)


@dataclass(frozen=True)
class Limit:
    """The processes of `benchmarks.limit`, one a core."""

    processes: Sequence[subprocess.Popen[str]]
    name: str = LIMIT

    def classify(self) -> list[Answer]:
        """What all pictures show."""
        (answer,) = _told(self.processes[:1], "classify")
        return list(zip(answer["labels"], answer["confidences"], strict=True))

    def slice(self, connections: int, seconds: float) -> Slice:
        """A slice; as many processes compute as a server with so many connections could keep busy."""
        working = self.processes[:connections]
        roots = [process.pid for process in working]
        before, started = tree_seconds(roots), time.perf_counter()
        images = sum(answer["images"] for answer in _told(working, str(seconds)))
        return Slice(images, tree_seconds(roots) - before, time.perf_counter() - started)


def measure(*, quick: bool) -> tuple[list[Figure], list[Cost], list[Start]]:
    """The figures, what every server costs under every load, and how long each takes to start.

    Raises:
        Disagreement: a server answers wrongly.
        RuntimeError: a server does not start, or fails under load.
    """
    cycles, seconds = (2, 0.3) if quick else (CYCLES, SLICE_SECONDS)
    slices: Slices = {}
    with tempfile.TemporaryDirectory(prefix="ics-bench-") as name, _client() as client:
        for net in (TINY, MOBILE):
            slices |= _of_net(net, Path(name), client, cycles, seconds)
        starts = _starts(Path(name), cycles)
    costs = [
        _cost(load, connections, name, taken)
        for (load, connections), by_name in slices.items()
        for name, taken in by_name.items()
    ]
    begun = [
        Start(name, statistics.median(wall for wall, _ in taken), statistics.median(cpu for _, cpu in taken))
        for name, taken in starts.items()
    ]
    return figures(slices, starts), costs, begun


def figures(slices: Slices, starts: Starts) -> list[Figure]:
    """What is asked of the server, from what was measured."""
    mobile = {name: taken for name, taken in slices[MOBILES, 8].items() if name in NAMES}
    slow = slices[MOBILES, 32]
    quickest = min(NAMES, key=lambda name: statistics.median(_p99(taken) for taken in slow[name]))
    cheapest = min(NAMES, key=lambda name: statistics.median(taken.cpu_ms() for taken in mobile[name]))
    return [
        _share_of_limit(slices, MANY, 0.9),
        _share_of_limit(slices, MOBILES, 0.95),
        _against(slices, LITSERVE.name, 8.0),
        _against(slices, BENTOML.name, 12.0),
        _against(slices, MLSERVER.name, 6.0),
        Figure(
            name=f"99th percentile of the time to an answer, {MOBILES.title}, 32 connections",
            other=f"the best of the others, {quickest}",
            unit="ms",
            goal=1.0,
            to_reach=True,
            pairs=_pairs(slow, quickest, ICS.name, _p99),
        ),
        Figure(
            name="from the start of the process to its first answer",
            other=LITSERVE.name,
            unit="s",
            goal=5.0,
            to_reach=True,
            pairs=[(other, ics) for (other, _), (ics, _) in zip(starts[LITSERVE.name], starts[ICS.name], strict=True)],
        ),
        Figure(
            name=f"in 8-bit integers, {MOBILES.title}",
            other=f"the cheapest of the others, in 32-bit floats, {cheapest}",
            unit=CPU_MS,
            goal=2.0,
            to_reach=True,
            pairs=_pairs(slices[MOBILES, 8], cheapest, INTEGERS, Slice.cpu_ms),
        ),
    ]


def _share_of_limit(slices: Slices, load: Load, goal: float) -> Figure:
    return Figure(load.title, LIMIT, CPU_MS, goal, True, _pairs(slices[load, 8], LIMIT, ICS.name, Slice.cpu_ms))


def _against(slices: Slices, name: str, goal: float) -> Figure:
    """A peer with its batched bodies, and beside it how far even a server that costs nothing would get."""
    there = slices[MANY, 8]
    bound = Figure("", name, CPU_MS, goal, True, _pairs(there, name, LIMIT, Slice.cpu_ms)).measured()
    return Figure(
        name=MANY.title,
        other=name,
        unit=CPU_MS,
        goal=goal,
        to_reach=True,
        pairs=_pairs(there, name, ICS.name, Slice.cpu_ms),
        details={"the raw limit reaches": bound},
    )


def _pairs(
    by_name: Mapping[str, Sequence[Slice]], other: str, ics: str, cost: Callable[[Slice], float]
) -> list[tuple[float, float]]:
    """What both cost, cycle by cycle."""
    return [(cost(one), cost(two)) for one, two in zip(by_name[other], by_name[ics], strict=True)]


def _p99(taken: Slice) -> float:
    return taken.latency_ms(99)


def _cost(load: Load, connections: int, name: str, taken: Sequence[Slice]) -> Cost:
    latencies = [[one.latency_ms(percent) for one in taken if one.latencies] for percent in (50, 99)]
    p50, p99 = (statistics.median(values) if values else None for values in latencies)
    return Cost(
        load=load.title,
        connections=connections,
        server=name,
        cpu_ms=statistics.median(one.cpu_ms() for one in taken),
        rate=statistics.median(one.rate() for one in taken),
        p50=p50,
        p99=p99,
    )


def _of_net(net: Net, folder: Path, client: Executor, cycles: int, seconds: float) -> Slices:
    """All slices of a net's loads; every server is there all the time."""
    jpegs, model, shown = pictures(net), folder / net.name, folder / f"{net.name}-pictures"
    write_artifact(net, model, jpegs)
    shown.mkdir()
    for number, jpeg in enumerate(jpegs):
        (shown / f"{number:03}.jpg").write_bytes(jpeg)
    served = {contender.name: (contender, model) for contender in (ICS, *OTHERS)}
    if net is MOBILE:
        served[INTEGERS] = (ICS, folder / "integers")
        write_integers(net, folder / "integers", model, jpegs)
    with ExitStack() as stack:
        limit = stack.enter_context(_limit(model, shown))
        servers = {name: stack.enter_context(running(*what, folder)) for name, what in served.items()}
        expected = limit.classify()
        if len({label for label, _ in expected}) < 5:
            raise Disagreement(f"the pictures show {set(expected)}: an answer to another picture would pass")
        sides: dict[Load, list[Loaded | Limit]] = {}
        for load in [load for load in LOADS if load.net is net]:
            loaded = [_loaded(name, server, load, jpegs, expected, client) for name, server in servers.items()]
            for one, server in zip(loaded, servers.values(), strict=True):
                server.wait(jpegs[:1])
                one.require_equal([{ask(server.port, post)} for post in one.requests])
            sides[load] = [limit, *loaded]
        for there in sides.values():
            for side in there:
                side.slice(8, seconds)  # warms all of its processes, and does not count
        return _in_turns(sides, cycles, seconds)


def _loaded(
    name: str, server: Server, load: Load, jpegs: Sequence[bytes], expected: Sequence[Answer], client: Executor
) -> Loaded:
    bodies = load.bodies(len(jpegs))
    requests = [server.contender.request([jpegs[picture] for picture in body]) for body in bodies]
    wanted = None if name == INTEGERS else [[expected[picture] for picture in body] for body in bodies]
    return Loaded(name, server, load.images, requests, wanted, client)


def _in_turns(sides: Mapping[Load, Sequence[Loaded | Limit]], cycles: int, seconds: float) -> Slices:
    """A slice of each side at each load and number of connections, a cycle; who begins changes with the cycle."""
    slices: Slices = {}
    for cycle in range(cycles):
        for load, there in sides.items():
            for connections in CONNECTIONS:
                by_name = slices.setdefault((load, connections), {side.name: [] for side in there})
                first = cycle % len(there)
                for side in (*there[first:], *there[:first]):
                    by_name[side.name].append(side.slice(connections, seconds))
        print(f"cycle {cycle + 1} of {cycles}", file=sys.stderr, flush=True)
    return slices


def _starts(folder: Path, repeats: int) -> Starts:
    """Starts of each server with the tiny net, in turns, after one of each that does not count."""
    jpegs = pictures(TINY)[:1]
    starts: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in (ICS, *OTHERS)}
    for repeat in range(repeats + 1):
        for contender in (ICS, *OTHERS):
            started = time.perf_counter()
            with running(contender, folder / TINY.name, folder) as server:
                server.wait(jpegs)
                spent = time.perf_counter() - started, tree_seconds([server.process.pid])
            if repeat:
                starts[contender.name].append(spent)
    return starts


@contextmanager
def _limit(model: Path, shown: Path) -> Iterator[Limit]:
    command = [peer_python(), "-m", "benchmarks.limit", "--model", model, "--pictures", shown]
    with ExitStack() as stack:
        processes = []
        for _ in range(CORES):
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(process.communicate)  # the end of its input is the end of it
            processes.append(process)
        _replies(processes)
        yield Limit(processes)


@contextmanager
def _client() -> Iterator[Executor]:
    with ProcessPoolExecutor(1, get_context("spawn")) as client:
        yield client


def _told(processes: Sequence[subprocess.Popen[str]], line: str) -> list[dict[str, Any]]:
    """What each answers to a line, all working at the same time."""
    for process in processes:
        print(line, file=process.stdin, flush=True)
    return _replies(processes)


def _replies(processes: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    return [json.loads(process.stdout.readline()) for process in processes]
