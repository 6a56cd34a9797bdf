"""A figure: what was measured in pairs, what it should be, and what it is; and what else a part of the bench found."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

REPEATS = 5


@dataclass(frozen=True)
class Figure:
    """ICS beside something else, measured in alternation; `pairs` are (the other, ICS), both in `unit`.

    The measure is the median over the pairs of other / ICS where `goal` is a factor to reach, and of ICS / other where
    it is a share to stay within. Noise that lasts longer than a pair, as that of a shared machine does, cancels out.
    """

    name: str
    other: str
    unit: str
    goal: float
    to_reach: bool
    pairs: Sequence[tuple[float, float]]
    details: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)

    def ratios(self) -> list[float]:
        """The measure of each pair, smallest first."""
        return sorted(other / ics if self.to_reach else ics / other for other, ics in self.pairs)

    def measured(self) -> float:
        """The median of the pairs' measures."""
        return statistics.median(self.ratios())

    def medians(self) -> tuple[float, float]:
        """The median cost of the other and of ICS."""
        return statistics.median(other for other, _ in self.pairs), statistics.median(ics for _, ics in self.pairs)

    def met(self) -> bool:
        """Whether the goal is met, and every detail that has a limit is within it."""
        met = self.measured() >= self.goal if self.to_reach else self.measured() <= self.goal
        return met and all(self.details[name] <= limit for name, limit in self.limits.items())


@dataclass(frozen=True)
class Cost:
    """What a server costs under a load: medians over the cycles of CPU-ms an image, images/s and milliseconds.

    `p50` and `p99` are the times within which half and 99% of the requests were answered; the raw limit has none.
    """

    load: str
    connections: int
    server: str
    cpu_ms: float
    rate: float
    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class Start:
    """How long a server takes from its process's start to its first answer: medians."""

    server: str
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Part:
    """All that a part of the bench found, when, and on what machine."""

    date: str
    machine: str
    figures: Sequence[Figure]
    costs: Sequence[Cost] = ()
    starts: Sequence[Start] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def met(self) -> bool:
        """Whether every goal is met."""
        return all(one.met() for one in self.figures)


def as_json(part: Part) -> dict[str, Any]:
    """A part for programs, with what follows from its pairs."""
    derived = [{"measured": one.measured(), "met": one.met()} for one in part.figures]
    found = asdict(part)
    return {**found, "figures": [{**one, **more} for one, more in zip(found["figures"], derived, strict=True)]}


def from_json(found: Mapping[str, Any]) -> Part:
    """The part that `as_json` was given."""
    return Part(
        **{
            **found,
            "figures": [_figure(one) for one in found["figures"]],
            "costs": [Cost(**one) for one in found["costs"]],
            "starts": [Start(**one) for one in found["starts"]],
        }
    )


def _figure(found: Mapping[str, Any]) -> Figure:
    given = {one.name: found[one.name] for one in fields(Figure)}
    return Figure(**{**given, "pairs": [(other, ics) for other, ics in found["pairs"]]})


def alternate(other: Callable[[], float], ics: Callable[[], float], repeats: int) -> list[tuple[float, float]]:
    """Measure both in turns, `repeats` times, after one warm-up of each that does not count."""
    other(), ics()
    return [(other(), ics()) for _ in range(repeats)]
