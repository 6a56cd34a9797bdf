"""Connectionist temporal classification: what a net's frames say, read greedily (Graves et al. 2006, section 3.2).

A net answers each frame of a line, from left to right, with a distribution over the blank (index 0) and the characters.
The likeliest path collapses to a text: equal neighbours become one, then blanks go. So a net of T frames reads at most
T characters, fewer where equal ones stand side by side; a line that holds more comes out wrong, and unsure.

Many letters look alike in both cases, and only their size, and the word around them, tells which is meant. So a path is
read without case at first, a letter as likely as both of its forms together; then each word gets the case that is
likeliest for the whole of it: small, Capitalised, CAPITALS, or, if nothing else will do, a mIx of them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
import numpy.typing as npt

MIXED = 16.0
"""How much less likely, in nats, a word is to be written in a mix of cases than in any way that is usual."""

_SMALL = 1e-200


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read.

    `confidence` is the probability of what was read: of all paths that collapse to it together. `characters` are those
    of `text`, in order, each with the largest probability that it has in a frame of its own.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]


def read_line(logits: npt.NDArray[np.float64], charset: Sequence[str]) -> Line:
    """Read one line greedily.

    Spaces at the ends are no part of the text, and runs of spaces are one; the probability is that with all of them.

    Args:
        logits: float64 [T, 1 + n], T at least 1; index 0 is the blank, index k is `charset[k - 1]`.
        charset: the n characters.
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    sure = weights / weights.sum(axis=1, keepdims=True)
    small, capital = _letters(tuple(charset))
    either = sure.copy()
    either[:, small] += sure[:, capital]
    either[:, capital] = 0
    path = either.argmax(axis=1)
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    symbols = path[starts]
    if len(small):
        capitals = dict(zip(small.tolist(), capital.tolist(), strict=True))
        symbols = np.array(_cased(symbols.tolist(), np.maximum.reduceat(sure, starts, axis=0), capitals))
        path = np.repeat(symbols, np.diff(starts, append=len(path)))
    largest = np.maximum.reduceat(sure[np.arange(len(path)), path], starts).tolist()
    read = [(charset[symbol - 1], one) for symbol, one in zip(symbols.tolist(), largest, strict=True) if symbol]
    characters = tuple(_tidy(read))
    confidence = probability(sure, [symbol for symbol in symbols.tolist() if symbol])
    return Line("".join(character for character, _ in characters), confidence, characters)


def probability(frames: npt.NDArray[np.float64], symbols: Sequence[int]) -> float:
    """How likely it is that a path collapses to these symbols, none of them the blank.

    The sum over all such paths, by the forward recursion of Graves et al. 2006, section 4.1.

    Args:
        frames: float64 [T, 1 + n], a distribution each.
        symbols: 1 to n, at most T of them.
    """
    states = np.zeros(2 * len(symbols) + 1, np.intp)  # a blank, a symbol, a blank, ...
    states[1::2] = symbols
    skips = np.zeros(len(states))  # from symbol to symbol, but not to an equal one, which a blank must part
    skips[3::2] = states[3::2] != states[1:-2:2]
    emitted = frames[:, states]
    forward = np.zeros(len(states) + 2)  # two states before the first, never reached, so that all have two before them
    forward[2:4] = emitted[0, :2]
    scale = 0.0
    for frame in emitted[1:]:
        forward[2:] = (forward[2:] + forward[1:-1] + skips * forward[:-2]) * frame
        if (total := forward.sum()) < _SMALL:
            if total == 0.0:
                return 0.0
            forward /= total
            scale += math.log(total)
    return min(1.0, float(forward[-2:].sum()) * math.exp(scale))


@lru_cache(maxsize=8)
def _letters(charset: tuple[str, ...]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The symbols of the letters that the charset has in both cases: small ones and, in the same order, capitals."""
    place = {character: symbol for symbol, character in enumerate(charset, 1)}
    pairs = [
        (place[character], place[character.upper()])
        for character in charset
        if character != character.upper() and character.upper() in place
    ]
    found = np.array(pairs, np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _cased(symbols: Sequence[int], likelihood: npt.NDArray[np.float64], capitals: Mapping[int, int]) -> list[int]:
    """Symbols without case in the case that is likeliest, word by word.

    `likelihood` is [symbols, 1 + n]; `capitals` are the letters that have two cases. A word is what has nothing but
    blanks between its letters.
    """
    cased = list(symbols)
    read = [place for place, symbol in enumerate(symbols) if symbol]
    for letters, word in groupby(read, key=lambda place: symbols[place] in capitals):
        if not letters:
            continue
        places = list(word)
        forms = [(symbols[place], capitals[symbols[place]]) for place in places]
        small, large = (
            [math.log(max(likelihood[place, form[case]], 1e-300)) for place, form in zip(places, forms, strict=True)]
            for case in (0, 1)
        )
        ways = {
            sum(small): [0] * len(places),
            large[0] + sum(small[1:]): [1] + [0] * (len(places) - 1),
            sum(large): [1] * len(places),
            sum(map(max, small, large)) - MIXED: [int(one < other) for one, other in zip(small, large, strict=True)],
        }
        for place, form, case in zip(places, forms, ways[max(ways)], strict=True):
            cased[place] = form[case]
    return cased


def _tidy(read: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Runs of spaces as one, as sure as the surest; none at the ends."""
    words = [(space, list(found)) for space, found in groupby(read, key=lambda one: one[0] == " ")]
    for number, (space, found) in enumerate(words):
        if not space:
            yield from found
        elif 0 < number < len(words) - 1:
            yield max(found, key=lambda one: one[1])
