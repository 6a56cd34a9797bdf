"""What letters follow each other in a list of words, counted: the language that a text model's graph carries.

Interpolated Kneser-Ney smoothing with three discounts (Chen, Goodman 1999, section 3), each word counted once.
Contexts that tell little more than their shorter ones are left out (after Stolcke 1998): a small table reads as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.language import BEGIN, STEP, Levels, Weights, packed


def learned(words: Sequence[str], order: int, gain: float, weights: Weights) -> str:
    """The language of these words, as `serving.language` reads it.

    Args:
        words: different ones, at least one; their case is not told apart.
        order: letters of the longest n-grams, the one that is foretold included; 2 to 10.
        gain: nats by which a context must foretell what these words have after it better than the shorter one does.
        weights: what counts how much when a line is read.
    """
    small = sorted({word.lower() for word in words})
    letters = "".join(sorted(set("".join(small))))
    lengths = _smoothed(small, letters, order)
    kept = _worth_it(lengths, letters, gain)
    contexts, columns = [], []
    for length, one in enumerate(lengths):
        names = _names(one.codes, length, letters)
        rows = [row for row, name in enumerate(names) if name in kept]
        contexts += [names[row] for row in rows]
        columns.append(_levels(one, rows))
    return packed(letters, contexts, np.concatenate(columns, axis=1), weights)


@dataclass(frozen=True)
class _Contexts:
    """All contexts of one length, in the order of their codes.

    A code is the number that a context's symbols make in base 2 + letters: 0 is a word's beginning, then the letters,
    then its end. `chances` [contexts, letters + 1] are of what follows; of it `seen` is what did. To all else a context
    gives `backoff` times what the shorter one does. `counts` is how often each was there.
    """

    codes: NDArray[np.int64]
    chances: NDArray[np.float64]
    seen: NDArray[np.bool_]
    backoff: NDArray[np.float64]
    counts: NDArray[np.int64]


def _smoothed(words: Sequence[str], letters: str, order: int) -> list[_Contexts]:
    """The distributions after contexts of 0 to order - 1 symbols, or as many as the longest word has before its end."""
    base = len(letters) + 2
    grams = [np.unique(one, return_counts=True) for one in _grams(words, letters, order)]
    found: list[_Contexts] = []
    for length, (codes, counts) in enumerate(grams):
        weights = counts
        if length + 1 < len(grams):
            # how many different symbols stand before it; before a word's beginning nothing does, so its counts stay
            after, before = np.unique(grams[length + 1][0] % base ** (length + 1), return_counts=True)
            begins = codes // base**length == 0 if length else np.zeros(len(codes), bool)
            weights = np.where(begins, counts, before[np.searchsorted(after, codes).clip(max=len(after) - 1)])
        contexts, row = np.unique(codes // base, return_inverse=True)
        table = np.zeros((len(contexts), base - 1))
        table[row, codes % base - 1] = weights
        taken = _discounts(weights)[np.minimum(table, 3).astype(np.intp)]
        total = table.sum(axis=1, keepdims=True)
        backoff = taken.sum(axis=1, keepdims=True) / total
        if length:
            shorter = found[-1].chances[np.searchsorted(found[-1].codes, contexts % base ** (length - 1))]
        else:
            shorter = np.full((1, base - 1), 1 / (base - 1))
        chances = (table - taken) / total + backoff * shorter
        counted = np.bincount(row, weights=counts).astype(np.int64)
        found.append(_Contexts(contexts, chances, table > 0, backoff[:, 0], counted))
    return found


def _grams(words: Sequence[str], letters: str, order: int) -> list[NDArray[np.int64]]:
    """The codes of all n-grams of 1 to `order` symbols whose last is a letter or a word's end, by length."""
    number = {letter: place for place, letter in enumerate(letters, 1)}
    symbols = np.array([number.get(one, 0) for word in words for one in f"{BEGIN}{word}{BEGIN}"], np.int64)
    lengths = np.array([len(word) + 2 for word in words])
    places = np.arange(len(symbols)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    symbols[np.cumsum(lengths) - 1] = len(letters) + 1
    found, codes = [], np.zeros(len(symbols), np.int64)
    for length in range(order):
        codes = codes + np.pad(symbols, (length, 0))[: len(symbols)] * (len(letters) + 2) ** length
        found.append(codes[places >= max(1, length)])
    return [one for one in found if len(one)]


def _discounts(weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """What is taken from counts of 0, 1, 2, and 3 or more (Chen, Goodman 1999, equation 26)."""
    once, twice, thrice, often = (int((weights == count).sum()) for count in (1, 2, 3, 4))
    if not (once and twice and thrice and often):
        return np.array([0, 0.5, 0.75, 0.9])  # too few words to tell
    share = once / (once + 2 * twice)
    found = [1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * often / thrice]
    # they must leave something, and take something
    return np.array([0, *(min(max(one, 0.05), count - 0.05) for count, one in enumerate(found, 1))])


def _worth_it(lengths: Sequence[_Contexts], letters: str, gain: float) -> set[str]:
    """The contexts that gain so much, and all contexts within them."""
    base, wanted = len(letters) + 2, {"", BEGIN}
    for length, one in enumerate(lengths[1:], 1):
        above = lengths[length - 1]
        shorter = above.chances[np.searchsorted(above.codes, one.codes % base ** (length - 1))]
        gained = one.counts * (one.chances * np.log(one.chances / shorter)).sum(axis=1)
        wanted.update(_names(one.codes[gained >= gain], length, letters))
    return {
        name[first:last] for name in wanted for first in range(len(name) + 1) for last in range(first, len(name) + 1)
    }


def _names(codes: NDArray[np.int64], length: int, letters: str) -> list[str]:
    symbols = np.array(list(BEGIN + letters))
    columns = [symbols[codes // (len(letters) + 2) ** place % (len(letters) + 2)] for place in range(length)][::-1]
    return ["".join(name) for name in zip(*columns, strict=True)] if length else [""]


def _levels(one: _Contexts, rows: Sequence[int]) -> Levels:
    """As `serving.language` says, [1 + letters + 1, rows]."""
    own = np.rint(-np.log(one.chances[rows]) / STEP).clip(0, 254) + 1
    given = np.rint(-np.log(one.backoff[rows]) / STEP).clip(0, 255)
    return np.vstack([given, np.where(one.seen[rows], own, 0).T]).astype(np.uint8)
