"""Formulas that the figures of training and those of a deployed model have in common."""

import math
from collections.abc import Sequence
from typing import Any

BINS = 15
"""Bins of equal width, 0 to 1, in which confidence and accuracy are compared (reliability, calibration error)."""

Z = 1.959963984540054
"""How many standard deviations to either side hold 95% of a normal distribution."""

Interval = tuple[float, float]
"""The lower and the upper end, 95%."""


def share(part: int, whole: int) -> dict[str, Any]:
    """A share of pictures as JSON: `value`, `low` and `high` (None of none), and the counts."""
    low, high = wilson(part, whole) if whole else (None, None)
    return {"value": part / whole if whole else None, "low": low, "high": high, "of": whole, "count": part}


def wilson(part: int, whole: int) -> Interval:
    """Wilson's score interval (1927) for a share: 95% of such intervals hold the true one; `whole` is at least 1."""
    value, weight = part / whole, Z * Z / whole
    middle = value + weight / 2
    reach = Z * math.sqrt(value * (1 - value) / whole + weight / (4 * whole))
    low, high = (middle - reach) / (1 + weight), (middle + reach) / (1 + weight)
    # at the ends the bounds are 0 and 1, which rounding must not pass
    return 0.0 if part == 0 else low, 1.0 if part == whole else high


def distance(true: Sequence[str], said: Sequence[str]) -> int:
    """Levenshtein's distance (1965): the fewest elements to replace, drop or add to make one sequence of the other.

    A column of the table of distances at once, as differences of neighbours, each one bit of an integer: Myers 1999,
    "A fast bit-vector algorithm for approximate string matching", in the form of Hyyrö 2003.
    """
    if not true or not said:
        return len(true) + len(said)
    places: dict[str, int] = {}
    for number, one in enumerate(true):
        places[one] = places.get(one, 0) | 1 << number
    all_, last = (1 << len(true)) - 1, 1 << (len(true) - 1)
    plus, minus, found = all_, 0, len(true)
    for one in said:
        equal = places.get(one, 0)
        down = equal | minus
        across = (((equal & plus) + plus) ^ plus) | equal
        more, less = minus | (all_ & ~(across | plus)), plus & across
        found += bool(more & last) - bool(less & last)
        more, less = (more << 1 | 1) & all_, less << 1 & all_
        plus, minus = less | (all_ & ~(down | more)), more & down
    return found
