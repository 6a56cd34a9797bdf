"""Which letters follow which in a language's words: an n-gram model, as a text model's graph carries it.

A state is a context: the last letters of a word, `^` where it begins, as many as are told apart there. Each has a
distribution over the next letter and the word's end, and a state that each letter leads to (the automaton of Ron,
Singer, Tishby 1996), so that a letter costs two look-ups however long the contexts are.

In the graph it is the metadata property `ics.language`, so that the graph's version covers it: a JSON object of
`letters`; `weights`, those of `Weights`; `contexts`, all of them by length, one a line; and `levels`, bytes
[1 + letters + 1, contexts]. Both are compressed by LZMA, in base64. The first row of levels is what a context gives its
shorter one, which lacks the first letter: level n stands for exp(-STEP n). In the others 0 is the shorter one's
probability times that, and n > 0 is exp(-STEP (n - 1)). Then each context's probabilities are divided by their sum.
"""

import base64
import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ics.errors import InvalidArtifact

PROPERTY = "ics.language"
"""The graph's metadata property that holds a language."""

STEP = 0.2
"""Nats from one level of a probability to the next."""

LARGEST = 64_000_000
"""Bytes: what levels or contexts may hold; a thousand times that may hide in a small file."""

BEGIN = "^"
"""Stands before a word's first letter."""

_LEAST = 1e-30

Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Weights:
    """What counts how much beside the net's logits, before these are divided by the temperature.

    The language's log-probabilities count `weight` times, and each letter gains `bonus` nats for what they cost it.

    A net that judges each letter's case by itself counts once a letter how rare capitals are, which should count once a
    word: so each letter of a word gains `capital` nats towards being one, and a word loses `capitalised` where only its
    first letter is one, `capitals` where all are, `mixed` where it is neither these nor small.
    """

    weight: float
    bonus: float
    capital: float
    capitalised: float
    capitals: float
    mixed: float


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """What `read_language` returns.

    `probabilities` is float32 [states x (letters + 1)], flat: of each letter in turn and of the word's end, after each
    state's context. `following` is int32 [states x letters], flat: the state that a letter leads to. `start` is the
    state before a word.
    """

    letters: str
    weights: Weights
    probabilities: memoryview
    following: memoryview
    start: int


def packed(letters: str, contexts: Sequence[str], levels: Levels, weights: Weights) -> str:
    """What the property holds.

    Args:
        letters: small letters, each once.
        contexts: by length, the empty one first; with each, all that is left of it without its first or last letters.
        levels: uint8 [1 + letters + 1, contexts].
        weights: what counts how much.
    """
    return json.dumps(
        {
            "letters": letters,
            "weights": asdict(weights),
            "contexts": _compressed("\n".join(contexts).encode()),
            "levels": _compressed(np.ascontiguousarray(levels).tobytes()),
        },
        ensure_ascii=False,
    )


def read_language(text: str) -> Language:
    """A language from what the property holds.

    Raises:
        InvalidArtifact: it is not of the form that the module describes; names what is wrong.
    """
    try:
        found = json.loads(text)
        letters, weights, contexts, levels = (found[name] for name in ("letters", "weights", "contexts", "levels"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _broken(f"no JSON object with letters, weights, contexts and levels ({error!r})") from error
    if not isinstance(letters, str) or not letters.isalpha() or len(set(letters)) != len(letters):
        raise _broken("letters must be a text of different letters")
    try:
        known = _decompressed(contexts).decode().split("\n")
    except UnicodeDecodeError as error:
        raise _broken(f"contexts are not UTF-8: {error}") from error
    content = _decompressed(levels)
    if len(content) != (len(letters) + 2) * len(known):
        raise _broken(f"{len(content)} levels for {len(known)} contexts and {len(letters)} letters")
    place = {context: number for number, context in enumerate(known)}
    following = _following(letters, known, place)
    table = np.frombuffer(content, np.uint8).reshape(len(letters) + 2, -1)
    probabilities = _probabilities(known, place, table).astype(np.float32)
    return Language(
        letters,
        weights_from_json(weights),
        probabilities.ravel().data,
        following.ravel().data,
        place[BEGIN],
    )


def weights_from_json(found: object) -> Weights:
    """Weights by their names.

    Raises:
        InvalidArtifact: one is missing, unknown or no number of nats.
    """
    names = [field.name for field in fields(Weights)]
    if not isinstance(found, Mapping) or set(found) != set(names):
        raise _broken(f"weights must be {', '.join(names)}")
    numbers = {name: _number(name, found[name]) for name in names}
    if numbers["weight"] < 0:
        raise _broken(f"weight is {numbers['weight']}; it must be at least 0")
    return Weights(**numbers)


def _number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not -1000 <= value <= 1000:
        raise _broken(f"{name} is {value!r}; it must be a number of nats from -1000 to 1000")
    return float(value)


def _following(letters: str, contexts: Sequence[str], place: Mapping[str, int]) -> npt.NDArray[np.int32]:
    """The state that each letter leads to from each, [states, letters]: the longest context that it then is in."""
    number = {letter: column for column, letter in enumerate(letters)}
    if contexts[0] or BEGIN not in place or len(place) != len(contexts):
        raise _broken("contexts must be different, the empty one first, and one the beginning of a word")
    following = np.zeros((len(contexts), len(letters)), np.int32)
    longer: dict[int, list[tuple[int, int]]] = {}
    for state, context in enumerate(contexts[1:], 1):
        if len(context) < len(contexts[state - 1]):
            raise _broken("contexts must be in the order of their lengths")
        if context == BEGIN:
            continue
        before, last = place.get(context[:-1]), number.get(context[-1])
        if before is None or last is None or context[1:] not in place:
            raise _broken(f"context {context[:40]!r} has other letters, or one within it is missing")
        longer.setdefault(before, []).append((last, state))
    for state, context in enumerate(contexts):
        if state:
            following[state] = following[place[context[1:]]]
        for last, one in longer.get(state, ()):
            following[state, last] = one
    return following


def _probabilities(contexts: Sequence[str], place: Mapping[str, int], levels: Levels) -> npt.NDArray[np.float64]:
    """Of each letter and the word's end after each context, [contexts, letters + 1]; each context's sum to one."""
    chances = np.exp(-STEP * np.arange(256))
    given, own = chances[levels[0]], levels[1:].T
    found = np.empty(own.shape)
    lengths = np.array([len(context) for context in contexts])
    for length in range(int(lengths[-1]) + 1):
        rows = np.flatnonzero(lengths == length)
        shorter = (
            found[[place[contexts[row][1:]] for row in rows.tolist()]]
            if length
            else np.full((1, own.shape[1]), 1 / own.shape[1])
        )
        here = np.where(own[rows] > 0, chances[own[rows].astype(np.intp) - 1], given[rows, np.newaxis] * shorter)
        here /= here.sum(axis=1, keepdims=True)
        found[rows] = np.maximum(here, _LEAST)
    return found


def _compressed(content: bytes) -> str:
    # without a checksum: the version is one
    return base64.b64encode(lzma.compress(content, check=lzma.CHECK_NONE, preset=6)).decode()


def _decompressed(text: object) -> bytes:
    try:
        compressed = base64.b64decode(text, validate=True)  # type: ignore[arg-type]
        decompressor = lzma.LZMADecompressor(memlimit=2 * LARGEST)
        content = decompressor.decompress(compressed, LARGEST)
    except (ValueError, TypeError, EOFError, lzma.LZMAError) as error:
        raise _broken(f"contexts or levels are not LZMA in base64: {error}") from error
    if not decompressor.eof:
        raise _broken(f"contexts or levels end too early, or hold more than {LARGEST} bytes")
    return content


def _broken(problem: str) -> InvalidArtifact:
    return InvalidArtifact(f"the graph's property {PROPERTY}: {problem}; export the model again")
