"""Connectionist temporal classification: what a net's frames say (Graves et al. 2006).

A net answers each frame of a line, from left to right, with a distribution over the blank (index 0) and the characters.
A path collapses to a text: equal neighbours become one, then blanks go. So a net of T frames reads at most T
characters, fewer where equal ones stand side by side; a line that holds more comes out wrong, and unsure.

A model without a language is read greedily (section 3.2): the likeliest path. With one, the likeliest text of both is
searched for (`serving.beam`).

Many letters look alike in both cases, and only their size, and the word around them, tells which is meant. So a path is
read without case at first, a letter as likely as both of its forms together; then each word gets the case that is
likeliest for the whole of it: small, Capitalised, CAPITALS, or, if nothing else will do, a mIx of them.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
import numpy.typing as npt

from serving.beam import LEAST, search
from serving.language import Language, Weights

UNTAUGHT = Weights(weight=0, bonus=0, capital=0, capitalised=0, capitals=0, mixed=-16)
"""How case is told without a language: a word is hardly ever written in a mix of cases."""

_SMALL = 1e-200

Frames = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read.

    `confidence` is how probable it is that all of it is right. Without a language, that is the probability of all paths
    that collapse to it together. With one, it is its share of all that the search found, both counted with what the
    language makes of them, times the shares of its words' cases of all cases they may have: a text that is read for
    want of a better one is unsure, and one without a rival sure, however faint its ink.

    `characters` are those of `text`, in order, each with the largest probability that the net gives it in a frame of
    its own.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]


def read_line(
    logits: Frames, charset: Sequence[str], language: Language | None = None, temperature: float = 1.0
) -> Line:
    """Read one line: greedily, or the likeliest text beside a language.

    Spaces at the ends are no part of the text, and runs of spaces are one; the probability is that with all of them.

    Args:
        logits: float64 [T, 1 + n], T at least 1; index 0 is the blank, index k is `charset[k - 1]`.
        charset: the n characters.
        language: of its words, where the model has one.
        temperature: what the logits were divided by, and what the language is worth will be.
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    sure = weights / weights.sum(axis=1, keepdims=True)
    return (
        _greedily(sure, tuple(charset)) if language is None else _searched(sure, tuple(charset), language, temperature)
    )


def _greedily(sure: Frames, charset: tuple[str, ...]) -> Line:
    small, capital = _letters(charset)
    path = _caseless(sure, charset).argmax(axis=1)
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    symbols = path[starts]
    if len(small):
        capitals = dict(zip(small.tolist(), capital.tolist(), strict=True))
        likelihood = np.maximum.reduceat(sure, starts, axis=0)
        symbols = np.array(_cased(symbols.tolist(), likelihood, capitals, UNTAUGHT, 1.0)[0])
        path = np.repeat(symbols, np.diff(starts, append=len(path)))
    largest = np.maximum.reduceat(sure[np.arange(len(path)), path], starts).tolist()
    read = [(charset[symbol - 1], one) for symbol, one in zip(symbols.tolist(), largest, strict=True) if symbol]
    return _line(read, probability(sure, [symbol for symbol in symbols.tolist() if symbol]))


def _searched(sure: Frames, charset: tuple[str, ...], language: Language, temperature: float) -> Line:
    silence = sure[:, 0] > 1 - LEAST  # most frames are between characters, and of those in a row one will do
    sure = sure[~(silence & np.append(False, silence[:-1]))]
    frames = _caseless(sure, charset)
    found = search(frames, _numbers(charset, language.letters), language, temperature)
    shares: defaultdict[str, float] = defaultdict(float)
    for share, one in found:
        shares[_text(one, charset)] += share
    text, share = max(shares.items(), key=lambda each: each[1])
    symbols = next(one for _, one in found if _text(one, charset) == text)
    if not symbols:
        return _line([], share)
    small, capital = _letters(charset)
    capitals = dict(zip(small.tolist(), capital.tolist(), strict=True))
    likelihood = np.stack([sure[frames].max(axis=0) for frames in aligned(frames, symbols)])
    cased, of_cases = _cased(symbols, likelihood, capitals, language.weights, temperature)
    largest = likelihood[range(len(cased)), cased].tolist()
    read = [(charset[symbol - 1], one) for symbol, one in zip(cased, largest, strict=True)]
    return _line(read, share * of_cases)


def _line(read: Sequence[tuple[str, float]], confidence: float) -> Line:
    characters = tuple(_tidy(read))
    return Line("".join(character for character, _ in characters), min(1.0, float(confidence)), characters)


def _text(symbols: Sequence[int], charset: tuple[str, ...]) -> str:
    return " ".join("".join([charset[symbol - 1] for symbol in symbols]).split(" "))


def _caseless(sure: Frames, charset: tuple[str, ...]) -> Frames:
    """The frames with what a letter's capital has added to what its small form has."""
    small, capital = _letters(charset)
    either = sure.copy()
    either[:, small] += sure[:, capital]
    either[:, capital] = 0
    return either


def probability(frames: npt.NDArray[np.float64], symbols: Sequence[int]) -> float:
    """How likely it is that a path collapses to these symbols, none of them the blank.

    The sum over all such paths, by the forward recursion of Graves et al. 2006, section 4.1.

    Args:
        frames: float64 [T, 1 + n], a distribution each.
        symbols: 1 to n, at most T of them.
    """
    states, skips = _states(symbols)
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


def aligned(frames: Frames, symbols: Sequence[int]) -> list[slice]:
    """Which frames show each of these symbols, on the likeliest path that collapses to them (Viterbi).

    Args:
        frames: float64 [T, 1 + n], a distribution each.
        symbols: 1 to n, at least one, and no more than a path of T frames can hold.
    """
    states, skips = _states(symbols)
    emitted = np.log(np.maximum(frames[:, states], _SMALL))
    skipping = np.where(skips, 0.0, -np.inf)
    best = np.full(len(states) + 2, -np.inf)
    best[2:4] = emitted[0, :2]
    steps = np.zeros(emitted.shape, np.int8)
    for step, frame in zip(steps[1:], emitted[1:], strict=True):
        step[best[1:-1] > best[2:]] = 1
        near = np.maximum(best[2:], best[1:-1])
        far = best[:-2] + skipping
        step[far > near] = 2
        best[2:] = np.maximum(near, far) + frame
    state = len(states) - (1 if best[-1] > best[-2] else 2)
    shown = [[0, 0] for _ in symbols]
    for place in range(len(frames) - 1, -1, -1):
        if state % 2:
            first_last = shown[state // 2]
            first_last[0], first_last[1] = place, first_last[1] or place + 1
        state -= int(steps[place, state])
    return [slice(first, last) for first, last in shown]


def _states(symbols: Sequence[int]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """A blank, a symbol, a blank, ...; and 1 where a path may come from the state before the last, skipping a blank."""
    states = np.zeros(2 * len(symbols) + 1, np.intp)
    states[1::2] = symbols
    skips = np.zeros(len(states))  # from symbol to symbol, but not to an equal one, which a blank must part
    skips[3::2] = states[3::2] != states[1:-2:2]
    return states, skips


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


@lru_cache(maxsize=8)
def _numbers(charset: tuple[str, ...], letters: str) -> dict[int, int]:
    """Of the symbols that are letters of a language, in whatever case, their numbers in it."""
    number = {letter: place for place, letter in enumerate(letters)}
    return {
        symbol: number[character.lower()] for symbol, character in enumerate(charset, 1) if character.lower() in number
    }


def _cased(
    symbols: Sequence[int], likelihood: Frames, capitals: Mapping[int, int], weights: Weights, temperature: float
) -> tuple[list[int], float]:
    """Symbols without case in the case that is likeliest, word by word, and its share of all cases.

    `likelihood` is [symbols, 1 + n]; `capitals` are the letters that have two cases. A word is what has nothing but
    blanks between its letters.
    """
    cased, share = list(symbols), 1.0
    capital, capitalised, all_, mixed = (
        nats / temperature for nats in (weights.capital, weights.capitalised, weights.capitals, weights.mixed)
    )
    read = [place for place, symbol in enumerate(symbols) if symbol]
    for letters, word in groupby(read, key=lambda place: symbols[place] in capitals):
        if not letters:
            continue
        places = list(word)
        forms = [capitals[symbols[place]] for place in places]
        # how much likelier each letter is to be a capital, in nats
        larger = [
            math.log(max(likelihood[place, form], 1e-300) / max(likelihood[place, symbols[place]], 1e-300)) + capital
            for place, form in zip(places, forms, strict=True)
        ]
        ways = [
            (0.0, [False] * len(places)),
            (larger[0] + capitalised, [True] + [False] * (len(places) - 1)),
        ]
        if len(places) > 1:
            ways += [
                (sum(larger) + all_, [True] * len(places)),
                (sum(max(0.0, one) for one in larger) + mixed, [one > 0 for one in larger]),
            ]
        best, chosen = max(ways, key=lambda way: way[0])
        share /= sum(math.exp(nats - best) for nats, _ in ways)
        for place, form, large in zip(places, forms, chosen, strict=True):
            if large:
                cased[place] = form
    return cased, share


def _tidy(read: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Runs of spaces as one, as sure as the surest; none at the ends."""
    words = [(space, list(found)) for space, found in groupby(read, key=lambda one: one[0] == " ")]
    for number, (space, found) in enumerate(words):
        if not space:
            yield from found
        elif 0 < number < len(words) - 1:
            yield max(found, key=lambda one: one[1])
