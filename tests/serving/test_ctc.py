"""Greedy reading, against an implementation as slow and plain as the definition."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.ctc import Line, read_line

CHARSET = ("a", "ж", " ")
SURE = 50.0
"""A logit beside zeros of which e**-50 is left for all others."""


def collapsed(path: Sequence[int]) -> list[int]:
    return [symbol for symbol, _ in itertools.groupby(path) if symbol]


def slowly(logits: npt.NDArray[np.float64], charset: tuple[str, ...]) -> Line:
    """Frame by frame: the best of each frame, repeats collapsed, blanks dropped, then the spaces; of few frames only.

    The confidence is the sum over all paths there are.
    """
    found: list[list] = []
    before = None
    likelihoods, path = [], []
    for frame in logits.tolist():
        weights = [math.exp(one - max(frame)) for one in frame]
        best = frame.index(max(frame))
        likelihoods.append([weight / sum(weights) for weight in weights])
        likelihood = likelihoods[-1][best]
        path.append(best)
        if best != 0:
            if best == before:
                found[-1][1] = max(found[-1][1], likelihood)
            else:
                found.append([charset[best - 1], likelihood])
        before = best
    tidy: list[list] = []
    for character, likelihood in found:
        if character == " " and tidy and tidy[-1][0] == " ":
            tidy[-1][1] = max(tidy[-1][1], likelihood)
        elif character != " " or tidy:
            tidy.append([character, likelihood])
    if tidy and tidy[-1][0] == " ":
        tidy.pop()
    whole = sum(
        math.prod(frame[symbol] for frame, symbol in zip(likelihoods, other, strict=True))
        for other in itertools.product(range(len(charset) + 1), repeat=len(path))
        if collapsed(other) == collapsed(path)
    )
    return Line("".join(one[0] for one in tidy), whole, tuple((one[0], one[1]) for one in tidy))


def frames(path: str) -> npt.NDArray[np.float64]:
    """Sure logits of a path, where - is the blank."""
    logits = np.zeros((len(path), 1 + len(CHARSET)))
    for place, symbol in enumerate(path):
        logits[place, 0 if symbol == "-" else 1 + CHARSET.index(symbol)] = SURE
    return logits


LOGITS = st.lists(
    st.lists(st.sampled_from([-900.0, -3.0, 0.0, 0.5, 2.0, 700.0]), min_size=4, max_size=4), min_size=1, max_size=5
).map(lambda rows: np.array(rows, np.float64))


@given(LOGITS | st.text("-a ж", min_size=1, max_size=5).map(frames))
@example(np.zeros((1, 4)))
def test_it_reads_as_the_definition_does(logits: npt.NDArray[np.float64]) -> None:
    read, expected = read_line(logits, CHARSET), slowly(logits, CHARSET)
    assert read.text == expected.text
    assert read.confidence == pytest.approx(expected.confidence, rel=1e-9, abs=1e-290)
    assert [character for character, _ in read.characters] == list(read.text)
    assert [sure for _, sure in read.characters] == pytest.approx([sure for _, sure in expected.characters])
    assert 0 <= read.confidence <= 1
    assert len(read.text) <= len(logits)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("-", ""),
        ("---", ""),
        ("   ", ""),
        ("aa--a", "aa"),
        ("aaa", "a"),
        ("-aж-", "aж"),
        (" - a -  - ж ", "a ж"),
        ("a- - ж", "a ж"),
    ],
)
def test_repeats_collapse_blanks_part_and_spaces_are_one(path: str, text: str) -> None:
    assert read_line(frames(path), CHARSET).text == text


def test_any_line_that_fits_its_frames_comes_back() -> None:
    @given(st.text("aж ", max_size=20))
    def come_back(text: str) -> None:
        path = "-".join(text) or "-"
        assert read_line(frames(path), CHARSET).text == " ".join(text.split())

    come_back()


def test_a_character_is_as_sure_as_its_surest_frame_and_the_line_as_all_its_paths() -> None:
    probabilities = np.array([[0.1, 0.6, 0.2, 0.1], [0.05, 0.9, 0.04, 0.01], [0.7, 0.1, 0.1, 0.1]])
    line = read_line(np.log(probabilities), CHARSET)
    assert line.text == "a"
    assert line.characters[0][1] == pytest.approx(0.9)
    paths = ("a--", "-a-", "--a", "aa-", "-aa", "aaa")
    assert line.confidence == pytest.approx(
        sum(math.prod(probabilities[k, "-a".index(one)] for k, one in enumerate(path)) for path in paths)
    )


def test_long_lines_of_unlikely_frames_keep_their_probability() -> None:
    unsure = np.log(np.tile([0.25, 0.45, 0.2, 0.1], (400, 1)))
    line = read_line(unsure, CHARSET)
    assert line.text == "a"
    # blanks, then a's, then blanks: which is a sum of geometric series
    total = sum((401 - length) * 0.45**length * 0.25 ** (400 - length) for length in range(1, 401))
    assert 0 < total < 1e-130
    assert line.confidence == pytest.approx(total, rel=1e-9)


CASES = ("ж", "д", "Ж", "Д", " ", "-")


def cased(*frames: dict[str, float]) -> Line:
    """What is read where the frames have these probabilities; the blank (_) has what is left."""
    rows = []
    for frame in frames:
        row = [frame.get(character, 1e-6) for character in CASES]
        rows.append([max(1 - sum(row), 1e-6), *row])
    return read_line(np.log(rows), CASES)


def sized(word: str, small: float) -> list[dict[str, float]]:
    """A letter a frame, `small` sure to be a small one, blanks between."""
    return [frame for letter in word for frame in ({letter: small, letter.upper(): 0.98 - small}, {})]


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        (sized("д", 0.9) + sized("ж", 0.4) + sized("д", 0.9), "джд"),
        (sized("д", 0.1) + sized("ж", 0.6) + sized("д", 0.1), "ДЖД"),
        (sized("д", 0.1) + sized("ж", 0.6) + sized("д", 0.9), "Джд"),
        (2 * (sized("д", 0.979999) + sized("ж", 0.000001)), "дЖдЖ"),  # when nothing else will do
        (sized("ж", 0.4), "Ж"),
        ([*sized("дж", 0.9), {" ": 0.9}, *sized("дж", 0.1)], "дж ДЖ"),  # each word for itself
        ([*sized("дж", 0.9), {"-": 0.9}, *sized("дж", 0.1)], "дж-ДЖ"),
    ],
)
def test_a_word_gets_the_case_that_is_likeliest_for_all_of_it(frames: list[dict[str, float]], text: str) -> None:
    assert cased(*frames).text == text


def test_a_letter_of_unsure_case_is_a_letter_and_is_one() -> None:
    line = cased({"ж": 0.3, "Ж": 0.3}, {"Ж": 0.5, "ж": 0.4}, {})
    assert line.text in ("ж", "Ж")  # neither blank, which is likelier than either alone, nor two
    assert cased({"ж": 0.35, "Ж": 0.3}, {}).text == "ж"


def test_confidence_is_that_of_the_case_that_was_read() -> None:
    line = cased(*sized("д", 0.9), *sized("ж", 0.4), *sized("д", 0.9))
    assert [sure for _, sure in line.characters] == pytest.approx([0.9, 0.4, 0.9], rel=1e-3)
    # the frames between may be the letter's, too, but hardly are
    assert line.confidence == pytest.approx(0.9 * 0.4 * 0.9, rel=1e-3)
