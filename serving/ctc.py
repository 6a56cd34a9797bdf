"""Connectionist temporal classification: what a net's frames say, read greedily (Graves et al. 2006, section 3.2).

A net answers each frame of a line, from left to right, with a distribution over the blank (index 0) and the characters.
The likeliest path collapses to a text: equal neighbours become one, then blanks go. So a net of T frames reads at most
T characters, fewer where equal ones stand side by side; a line that holds more comes out wrong, and unsure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read.

    `confidence` is the probability of the whole path. `characters` are those of `text`, in order, each with the largest
    probability that it has in a frame of its own.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]


def read_line(logits: npt.NDArray[np.float64], charset: Sequence[str]) -> Line:
    """Read one line greedily.

    Spaces at the ends are no part of the text, and runs of spaces are one; the path's probability counts their frames.

    Args:
        logits: float64 [T, 1 + n], T at least 1; index 0 is the blank, index k is `charset[k - 1]`.
        charset: the n characters.
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    path = logits.argmax(axis=1)
    likelihood = weights.max(axis=1) / weights.sum(axis=1)
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    largest = np.maximum.reduceat(likelihood, starts).tolist()
    read = [(charset[symbol - 1], sure) for symbol, sure in zip(path[starts].tolist(), largest, strict=True) if symbol]
    characters = tuple(_tidy(read))
    return Line("".join(character for character, _ in characters), float(likelihood.prod()), characters)


def _tidy(read: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Runs of spaces as one, as sure as the surest; none at the ends."""
    words = [(space, list(found)) for space, found in groupby(read, key=lambda one: one[0] == " ")]
    for number, (space, found) in enumerate(words):
        if not space:
            yield from found
        elif 0 < number < len(words) - 1:
            yield max(found, key=lambda one: one[1])
