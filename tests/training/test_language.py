"""The language that is learned from a list of words, against the formula, written out slowly; no torch needed."""

# ruff: noqa: RUF001

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.language import Weights, read_language
from training.corpus import word_forms
from training.data import DataError
from training.language import _discounts, _names, _smoothed, learned

WEIGHTS = Weights(weight=0.5, bonus=1, capital=1, capitalised=-2, capitals=-3, mixed=-9)
WORDS = st.lists(st.text("абв", min_size=1, max_size=6), min_size=1, max_size=25, unique=True)


def slowly(words, order):
    """Kneser-Ney as it is defined: what each context of each length says of each next symbol, `$` being the end."""
    symbols = [*sorted(set("".join(words))), "$"]
    grams = [Counter() for _ in range(order)]
    for word in words:
        text = f"^{word}$"
        for place in range(1, len(text)):
            for length in range(min(order, place + 1)):
                grams[length][text[place - length : place + 1]] += 1
    found = {}
    for length, counts in enumerate(grams):
        weights = dict(counts)
        if length + 1 < order:
            before = defaultdict(set)
            for gram in grams[length + 1]:
                before[gram[1:]].add(gram[0])
            weights = {gram: counts[gram] if gram[0] == "^" else len(before[gram]) for gram in counts}
        discounts = _discounts(np.array(list(weights.values())))
        for context in {gram[:-1] for gram in counts}:
            total = sum(weights.get(context + symbol, 0) for symbol in symbols)
            taken = {symbol: discounts[min(3, weights.get(context + symbol, 0))] for symbol in symbols}
            for symbol in symbols:
                shorter = found[context[1:], symbol] if context else 1 / len(symbols)
                own = weights.get(context + symbol, 0) - taken[symbol]
                found[context, symbol] = own / total + sum(taken.values()) / total * shorter
    return found


@given(WORDS, st.integers(2, 5))
def test_probabilities_are_those_of_kneser_and_ney(words, order):
    letters = "".join(sorted(set("".join(words))))
    expected, found = slowly(words, order), {}
    for length, contexts in enumerate(_smoothed(words, letters, order)):
        assert contexts.chances.sum(axis=1) == pytest.approx(1)
        for name, row in zip(_names(contexts.codes, length, letters), contexts.chances.tolist(), strict=True):
            found |= {(name, symbol): one for symbol, one in zip(f"{letters}$", row, strict=True)}
    assert found == pytest.approx(expected)


@given(WORDS, st.integers(2, 5), st.sampled_from([-math.inf, 0.5, 3.0, math.inf]))
def test_what_is_learned_is_read_and_close_to_the_formula(words, order, gain):
    language = read_language(learned(words, order, gain, WEIGHTS))
    count, expected = len(language.letters), slowly(words, order)
    assert language.weights == WEIGHTS
    for word in words:
        state, history = language.start, "^"
        for symbol in f"{word}$":
            row = language.probabilities[state * (count + 1) : (state + 1) * (count + 1)].tolist()
            assert sum(row) == pytest.approx(1, rel=1e-5)
            place = f"{language.letters}$".index(symbol)
            if gain < 0:  # all contexts are there; each of them and its shorter ones are rounded to a tenth of a nat
                assert math.log(row[place]) == pytest.approx(math.log(expected[history[-order + 1 :], symbol]), abs=0.5)
            if symbol != "$":
                state, history = language.following[state * count + place], history + symbol
    if gain == math.inf:
        assert len(language.following) == 2 * count  # what is told apart is only whether a word begins


def test_case_is_not_told_apart_and_discounts_are_chen_and_goodmans():
    assert learned(["Аб", "БА"], 3, -math.inf, WEIGHTS) == learned(["ба", "аб"], 3, -math.inf, WEIGHTS)
    # of 100, 40, 20 and 12 n-grams that were there once, twice, three and four times
    counts = np.repeat([1, 2, 3, 4], [100, 40, 20, 12])
    share = 100 / 180
    expected = [0, 1 - 2 * share * 40 / 100, 2 - 3 * share * 20 / 40, 3 - 4 * share * 12 / 20]
    assert _discounts(counts) == pytest.approx(expected)
    assert (np.diff(_discounts(np.ones(5, int))) > 0).all()


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "index.dic"
    path.write_text("5\nрека/H\nшаг/JX\nрука/H\nмой\nиду\n", "utf-8")
    path.with_suffix(".aff").write_text(
        "SET UTF-8\n\nSFX H Y 3\nSFX H   а   и   [гк]а\nSFX H   а   ой  [гк]а\nSFX H   а   у/Z  а\n"
        "SFX J Y 1\nSFX J   0   а   [^ь]\nPFX X Y 1\nPFX X   0   не  .\n",
        "utf-8",
    )
    return path


def test_forms_are_what_the_suffixes_make_of_a_word(dictionary):
    words = ["река", "шаг", "рука", "мой", "иду"]
    assert word_forms(dictionary, words, [], 0) == sorted(words)
    assert word_forms(dictionary, words, [], 9) == sorted(
        [*words, *("рекой", "реку", "реки", "рукой", "руку", "руки", "шага")]
    )
    one = word_forms(dictionary, words, [], 1)
    assert len(one) == len(words) + 3
    assert one == word_forms(dictionary, words, [], 1)


def test_forms_are_of_words_for_training_and_never_words_that_are_kept(dictionary):
    assert word_forms(dictionary, ["река", "иду"], [], 9) == ["иду", "река", "реки", "реку"]  # no letter й
    assert word_forms(dictionary, ["река", "иду"], ["реки"], 9) == ["иду", "река", "реку"]


def test_a_dictionary_without_usable_suffixes_is_told(dictionary):
    dictionary.with_suffix(".aff").write_text("SFX H Y 1\nSFX H   а   и   [гк\n", "utf-8")
    with pytest.raises(DataError, match=r"index\.aff, line 2: \[гк is no condition"):
        word_forms(dictionary, ["река"], [], 1)
    dictionary.with_suffix(".aff").unlink()
    with pytest.raises(DataError, match=r"no suffixes .*npm ci --prefix training/fonts"):
        word_forms(dictionary, ["река"], [], 1)
