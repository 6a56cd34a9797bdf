"""Figures as people read them: at 80 columns, of few classes, of many, of texts, of nothing."""

import io

import pytest
from rich.console import Console

from cli import show
from cli.accuracy_report import show_figures
from ics.accuracy import Counts, Pair
from ics.accuracy_figures import figures


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch):
    out = io.StringIO()
    monkeypatch.setattr(show, "out", Console(file=out, width=80, highlight=False))

    def of(*pairs: Pair) -> str:
        counts = Counts()
        for pair in pairs:
            counts.add("f" * 64, pair)
        counts.bad_line("s3://b/labels.jsonl", 3, "not [JSON]")
        show_figures({"model": "m", **figures(counts, threshold=0.94)})
        text = out.getvalue()
        assert all(len(line) <= 80 for line in text.splitlines())
        return text

    return of


def test_a_matrix_that_fits_is_aligned(shown) -> None:
    text = shown(*[Pair(str(n % 10), str(n % 9), 0.9, "accepted") for n in range(100)])
    lines = text.partition("truth \\ answer")[2].splitlines()[1:12]
    assert len({len(line) for line in lines}) == 1
    assert "m ffffffffffff: " in text
    assert "s3://b/labels.jsonl line 3: not [JSON]" in text


def test_of_a_matrix_that_does_not_fit_the_largest_mistakes_are_listed(shown) -> None:
    letters = [chr(0x430 + number) for number in range(32)]
    pairs = [Pair(letter, letter, 0.9) for letter in letters] + [Pair("ш", "щ", 0.8)] * 7
    text = shown(*pairs)
    assert "truth \\ answer" not in text
    (line,) = [line for line in text.splitlines() if line.split()[:2] == ["ш", "щ"]]
    assert line.split()[-1] == "7"


def test_texts_have_rates_and_no_matrix(shown) -> None:
    text = shown(Pair("кит и пёс", "кит ы пёс", 0.9, is_text=True), Pair("дом", "дом", 0.95, is_text=True))
    assert "CER" in text
    assert "WER" in text
    assert "precision" not in text
    assert "0.94 (used)" in text


def test_what_has_no_confidence_or_no_pair_is_shown_too(shown) -> None:
    assert "100.00% right" in shown(Pair("a", "a", None))


def test_where_nothing_counts_it_says_so(shown) -> None:
    assert "there is no accuracy" in shown()
