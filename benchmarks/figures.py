"""A figure: what was measured in pairs, what it should be, and what it is."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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


def alternate(other: Callable[[], float], ics: Callable[[], float], repeats: int) -> list[tuple[float, float]]:
    """Measure both in turns, `repeats` times, after one warm-up of each that does not count."""
    other(), ics()
    return [(other(), ics()) for _ in range(repeats)]
