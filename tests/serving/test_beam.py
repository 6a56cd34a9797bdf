"""The search for the likeliest text, against all paths that there are, one by one."""

# ruff: noqa: RUF001

import itertools
import math
from collections import defaultdict

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.beam import search
from serving.ctc import aligned, probability, read_line
from serving.language import Language, Weights, packed, read_language

LETTERS, CONTEXTS = "аб", ("", "^", "а", "^а", "аа")
NUMBERS = {1: 0, 2: 1}
"""Symbols 1 and 2 are the letters, 3 is none."""


def language(weight: float, bonus: float = 0.0, seed: int = 0) -> Language:
    levels = np.random.default_rng(seed).integers(0, 12, (len(LETTERS) + 2, len(CONTEXTS))).astype(np.uint8)
    return read_language(packed(LETTERS, CONTEXTS, levels, Weights(weight, bonus, 0, 0, 0, -9)))


def worth(text: tuple[int, ...], known: Language, temperature: float) -> float:
    """What a language makes of a text, letter by letter."""
    nats, state, inside = 0.0, known.start, False
    for symbol in (*text, 3):
        row = known.probabilities[state * 3 : state * 3 + 3]
        if symbol in NUMBERS:
            nats += known.weights.weight * math.log(row[NUMBERS[symbol]]) + known.weights.bonus
            state, inside = known.following[state * 2 + NUMBERS[symbol]], True
        else:
            nats += known.weights.weight * math.log(row[2]) if inside else 0.0
            state, inside = known.start, False
    return math.exp(nats / temperature)


FRAMES = st.lists(
    st.lists(st.sampled_from([0.01, 0.1, 0.5, 1.0, 3.0]), min_size=4, max_size=4), min_size=1, max_size=5
).map(lambda rows: np.array([[one / sum(row) for one in row] for row in rows]))


def all_texts(frames: npt.NDArray[np.float64]) -> dict[tuple[int, ...], float]:
    found: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        text = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)
        found[text] += math.prod(frames[place, symbol] for place, symbol in enumerate(path))
    return found


@given(FRAMES, st.sampled_from([0.0, 0.7, 2.0]), st.sampled_from([-1.0, 0.0, 1.0]), st.sampled_from([0.5, 1.0, 3.0]))
def test_a_wide_search_finds_every_text_with_its_share(
    frames: npt.NDArray[np.float64], weight: float, bonus: float, temperature: float
) -> None:
    known = language(weight, bonus)
    expected = {text: chance * worth(text, known, temperature) for text, chance in all_texts(frames).items()}
    total = sum(expected.values())
    found = search(frames, NUMBERS, known, temperature, width=10**6, least=0, hopeless=0)
    assert {text: share for share, text in found} == pytest.approx(
        {k: v / total for k, v in expected.items()}, rel=1e-4
    )
    assert [share for share, _ in found] == sorted((share for share, _ in found), reverse=True)


@given(FRAMES)
def test_without_weight_a_share_is_the_probability_of_all_paths(frames: npt.NDArray[np.float64]) -> None:
    for share, text in search(frames, NUMBERS, language(0), 1.0, width=10**6, least=0, hopeless=0):
        assert share == pytest.approx(probability(frames, text), rel=1e-9)


@given(FRAMES, st.integers(1, 4))
def test_a_narrow_search_finds_texts_that_there_are(frames: npt.NDArray[np.float64], width: int) -> None:
    found = search(frames, NUMBERS, language(1), 1.0, width=width)
    assert 1 <= len(found) <= width
    assert sum(share for share, _ in found) == pytest.approx(1)
    assert {text for _, text in found} <= set(all_texts(frames))


@given(FRAMES)
def test_symbols_are_shown_by_the_frames_of_their_likeliest_path(frames: npt.NDArray[np.float64]) -> None:
    likeliest: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for other in itertools.product(range(4), repeat=len(frames)):
        text = tuple(symbol for symbol, _ in itertools.groupby(other) if symbol)
        chance = math.prod(frames[place, symbol] for place, symbol in enumerate(other))
        likeliest[text] = max(likeliest[text], chance)
    for text in likeliest.keys() - {()}:
        path = [0] * len(frames)
        for symbol, one in zip(text, aligned(frames, text), strict=True):
            assert one.start < one.stop
            path[one] = [symbol] * (one.stop - one.start)
        assert tuple(symbol for symbol, _ in itertools.groupby(path) if symbol) == text
        chance = math.prod(frames[place, symbol] for place, symbol in enumerate(path))
        assert chance == pytest.approx(likeliest[text])


CHARSET = ("а", "б", " ", "А", "Б")


def logits(*rows: dict[str, float]) -> npt.NDArray[np.float64]:
    """Frames with these probabilities; the blank has what is left."""
    found = [[row.get(character, 1e-9) for character in CHARSET] for row in rows]
    return np.log([[max(1e-9, 1 - sum(row)), *row] for row in found])


def taught(letter: str, weight: float, **habits: float) -> Language:
    """A language whose words are of one letter only."""
    levels = np.zeros((4, 2), np.uint8)
    levels[1:, 0] = [1 if other == letter else 30 for other in (*LETTERS, letter)]
    return read_language(
        packed(LETTERS, ("", "^"), levels, Weights(**{"bonus": 0, "capital": 0, "capitalised": 0, "capitals": 0,
                                                      "mixed": -9, "weight": weight, **habits}))
    )  # fmt: skip


def test_the_language_decides_where_the_net_does_not_and_confidence_falls_where_they_differ() -> None:
    unsure = logits({"а": 0.55, "б": 0.45}, {})
    assert read_line(unsure, CHARSET).text == "а"
    agreed, differed = (read_line(unsure, CHARSET, taught(letter, 1.0)) for letter in "аб")
    assert (agreed.text, differed.text) == ("а", "б")
    assert agreed.confidence > differed.confidence > 0.9
    weak = [read_line(unsure, CHARSET, taught("б", weight)).confidence for weight in (0.0, 0.01)]
    assert weak[1] < weak[0] == pytest.approx(0.55, abs=1e-3)


def test_a_word_of_unsure_size_is_small_unless_its_letters_gain_enough() -> None:
    word = logits({"а": 0.3, "А": 0.6}, {}, {"б": 0.5, "Б": 0.4}, {})
    assert read_line(word, CHARSET, taught("а", 0.0)).text == "Аб"
    assert read_line(word, CHARSET, taught("а", 0.0, capitalised=-3, capitals=-3)).text == "аб"
    assert read_line(word, CHARSET, taught("а", 0.0, capitalised=-3, capitals=-3, capital=2)).text == "АБ"
    unsure = read_line(logits({"а": 0.4, "А": 0.5}), CHARSET, taught("а", 0.0))
    assert unsure.text == "А"
    # of what was seen, nine tenths are a letter, and of these five ninths its capital; what is left is the blank
    assert unsure.confidence == pytest.approx(0.5, abs=1e-6)


def test_spaces_at_the_ends_are_no_part_of_a_text_and_nothing_can_be_read() -> None:
    line = read_line(logits({" ": 0.9}, {"а": 0.9}, {" ": 0.9}, {}, {" ": 0.9}), CHARSET, taught("а", 0.1))
    assert line.text == "а"
    assert [character for character, _ in line.characters] == ["а"]
    nothing = read_line(logits({}, {}), CHARSET, taught("а", 0.1))
    assert (nothing.text, nothing.characters) == ("", ())
    assert nothing.confidence == pytest.approx(1, abs=1e-6)


@given(
    st.lists(
        st.lists(st.sampled_from([-900.0, -3.0, 0.0, 2.0, 700.0]), min_size=6, max_size=6), min_size=1, max_size=9
    ),
    st.sampled_from([0.0, 1.0, 1000.0]),
    st.sampled_from([-1000.0, 0.0, 1000.0]),
    st.sampled_from([0.05, 1.0, 20.0]),
)
def test_whatever_the_frames_and_weights_a_line_is_read(
    rows: list[list[float]], weight: float, bonus: float, temperature: float
) -> None:
    line = read_line(np.array(rows), CHARSET, language(weight, bonus), temperature)
    assert 0 <= line.confidence <= 1
    assert "".join(character for character, _ in line.characters) == line.text
    assert line == read_line(np.array(rows), CHARSET, language(weight, bonus), temperature)
