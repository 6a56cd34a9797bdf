"""The likeliest texts of a net's frames, beside a language: prefix beam search (Hannun et al. 2014, arXiv:1408.2873).

A hypothesis is a text so far, with the probability of all paths to it that end in the blank, and of all that do not,
each times what the language makes of the text. Frame by frame, the best hypotheses go on. The language scores words,
letter by letter and where they end; all other characters end a word, and cost nothing.
"""

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from serving.language import Language

WIDTH = 12
"""Hypotheses that go on to the next frame, at most."""

LEAST = 1e-2
"""A character less likely than this in a frame is not looked at there."""

HOPELESS = 1e-3
"""A hypothesis goes no further that is so many times as likely as the best."""

_BOUND = 80.0
_SMALL, _LARGE = 1e-100, 1e100

Frames = npt.NDArray[np.float64]


def search(
    frames: Frames,
    letters: Mapping[int, int],
    language: Language,
    temperature: float,
    *,
    width: int = WIDTH,
    least: float = LEAST,
    hopeless: float = HOPELESS,
) -> list[tuple[float, tuple[int, ...]]]:
    """Texts, as symbols without blanks, and their shares of all that was found; the likeliest first.

    Args:
        frames: float64 [T, 1 + n], a distribution each, index 0 the blank.
        letters: of the symbols 1 to n that are letters of the language, the letter's number in it.
        language: what scores words, and with what weight.
        temperature: what the net's logits were divided by; the language's part is, too.
        width: as WIDTH.
        least: as LEAST; the likeliest of a frame is looked at always.
        hopeless: as HOPELESS.
    """
    tree = _Tree(letters, language, temperature)
    symbols, children, add, most = tree.symbols, tree.children, tree.add, tree.most
    going = [(1.0, 0, 1.0, 0.0)]
    for row, likely in zip(frames.tolist(), _likely(frames, least), strict=True):
        blank = row[0]
        found = {node: spoken * row[symbols[node]] for _, node, _, spoken in going}
        quiet = {node: both * blank for both, node, _, _ in going}
        # at least this is needed to go on, whatever the language makes of it
        needed = hopeless / most * max(quiet[node] + spoken for node, spoken in found.items())
        for both, node, silent, _ in going:
            last, below = symbols[node], children[node]
            for symbol in likely:
                before = (silent if symbol == last else both) * row[symbol]  # a blank parts equal characters
                if before > needed:
                    child, worth = below.get(symbol) or add(node, symbol)
                    found[child] = found.get(child, 0.0) + before * worth
        going = []
        for node, spoken in found.items():
            silent = quiet.get(node, 0.0)
            going.append((silent + spoken, node, silent, spoken))
        going = _best(going, width, hopeless)
    return tree.shares(going)


def _likely(frames: Frames, least: float) -> list[list[int]]:
    """The symbols of each frame that are looked at, the blank left out."""
    looked = frames > least
    looked[np.arange(len(frames)), frames.argmax(axis=1)] = True
    rows, found = np.nonzero(looked[:, 1:])
    likely: list[list[int]] = [[] for _ in frames]
    for row, symbol in zip(rows.tolist(), (found + 1).tolist(), strict=True):
        likely[row].append(symbol)
    return likely


Going = list[tuple[float, int, float, float]]
"""Hypotheses: silent + spoken, the place in the tree, silent, spoken."""


def _best(found: Going, width: int, hopeless: float) -> Going:
    found.sort(reverse=True)
    best = found[0][0]
    going = [one for one in found[:width] if one[0] > hopeless * best]
    if _SMALL < best < _LARGE:
        return going
    return [(both / best, node, silent / best, spoken / best) for both, node, silent, spoken in going]


@lru_cache(maxsize=8)
def _worths(language: Language, temperature: float) -> memoryview:
    """What each letter, and a word's end, is worth after each state, beside the net's probabilities: float32, flat.

    Bounded, so that no weight and no temperature makes it 0 or infinite.
    """
    nats = np.log(np.asarray(language.probabilities, np.float64)).reshape(-1, len(language.letters) + 1)
    nats *= language.weights.weight / temperature
    nats[:, :-1] += language.weights.bonus / temperature
    worths: memoryview = np.exp(nats.clip(-_BOUND, _BOUND)).astype(np.float32).ravel().data
    return worths


class _Tree:
    """Texts as paths from the root, 0: of each node its last symbol, its parent, and the language's state after it.

    `children` are by symbol: the node, and what the language makes of the step to it, `most` at most.
    """

    def __init__(self, letters: Mapping[int, int], language: Language, temperature: float) -> None:
        self.letters, self.count = letters, len(language.letters)
        self.following, self.start = language.following, language.start
        self.worths = _worths(language, temperature)
        self.most = math.exp(min(_BOUND, max(0.0, language.weights.bonus / temperature)))
        self.symbols, self.parents, self.states = [0], [0], [language.start]
        self.children: list[dict[int, tuple[int, float]]] = [{}]

    def add(self, node: int, symbol: int) -> tuple[int, float]:
        """A node for the text with one symbol more."""
        state, letter = self.states[node], self.letters.get(symbol)
        if letter is None:
            after, worth = self.start, self.ended(node)
        else:
            after = self.following[state * self.count + letter]
            worth = self.worths[state * (self.count + 1) + letter]
        child = len(self.symbols), worth
        self.symbols.append(symbol)
        self.parents.append(node)
        self.states.append(after)
        self.children.append({})
        self.children[node][symbol] = child
        return child

    def ended(self, node: int) -> float:
        """What the language makes of the end of a word after this text; 1 where it does not end in one."""
        if self.symbols[node] not in self.letters:
            return 1.0
        return float(self.worths[self.states[node] * (self.count + 1) + self.count])

    def shares(self, going: Going) -> list[tuple[float, tuple[int, ...]]]:
        """The texts of these nodes as words end with them, and their shares, the largest first."""
        ended = sorted(((both * self.ended(node), node) for both, node, _, _ in going), reverse=True)
        total = sum(one for one, _ in ended)
        return [(one / total, self._text(node)) for one, node in ended]

    def _text(self, node: int) -> tuple[int, ...]:
        text = []
        while node:
            text.append(self.symbols[node])
            node = self.parents[node]
        return tuple(reversed(text))
