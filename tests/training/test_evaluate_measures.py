"""Figures against slow and obvious ways to count them, and intervals against published values."""

import json
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics import measures
from ics.measures import wilson
from training.measures import (
    Answers,
    as_text,
    at_threshold,
    character_confusions,
    confusion,
    edits,
    figures,
    reliability,
    risk_coverage,
)

LABELS = ("a", "b", "c", "d")


@st.composite
def made(draw, labels=LABELS, least=1):
    """Answers of few classes and coarse confidences, so that ties, empty bins and absent classes are common."""
    one = st.tuples(st.sampled_from(labels), st.sampled_from(labels), st.integers(0, 20).map(lambda part: part / 20))
    rows = draw(st.lists(one, min_size=least, max_size=40))
    true, said, confidence = zip(*rows, strict=True)
    return Answers(true, said, np.array(confidence))


@given(made())
def test_shares_are_what_counting_row_by_row_gives(answers):
    found = figures(answers, "classification", LABELS, threshold=0.5)
    rows = list(zip(answers.true, answers.said, answers.confidence, strict=True))
    right = [true == said for true, said, _ in rows]
    sure = [confidence >= 0.5 for _, _, confidence in rows]
    assert found["accuracy"]["value"] == sum(right) / len(rows)
    assert found["accepted"]["count"] == sum(sure)
    kept = [one for one, yes in zip(right, sure, strict=True) if yes]
    assert found["accuracy_of_accepted"]["value"] == (sum(kept) / len(kept) if kept else None)
    wrong = [yes for one, yes in zip(right, sure, strict=True) if not one]
    below = found["wrong_below_threshold"]
    assert (below["count"], below["of"]) == (wrong.count(False), len(wrong))
    assert below["value"] == (wrong.count(False) / len(wrong) if wrong else None)


@given(made())
def test_classes_and_their_matrix_are_what_counting_row_by_row_gives(answers):
    found = figures(answers, "classification", LABELS)
    pairs = list(zip(answers.true, answers.said, strict=True))
    counts = confusion(answers, LABELS)
    assert counts.tolist() == [[pairs.count((true, said)) for said in LABELS] for true in LABELS]
    scores = []
    for label in LABELS:
        hits = pairs.count((label, label))
        true = sum(one == label for one, _ in pairs)
        said = sum(one == label for _, one in pairs)
        of_class = found["classes"][label]
        assert of_class["images"] == true
        assert of_class["recall"]["value"] == (hits / true if true else None)
        assert of_class["precision"]["value"] == (hits / said if said else None)
        if true + said == 0:
            assert of_class["f1"] is None
        else:
            # the harmonic mean of precision and recall
            precision, recall = hits / said if said else 0, hits / true if true else 0
            expected = 2 * precision * recall / (precision + recall) if hits else 0
            assert of_class["f1"]["value"] == pytest.approx(expected)
            assert of_class["f1"]["low"] <= of_class["f1"]["value"] <= of_class["f1"]["high"]
            scores += [expected] * bool(true)
    assert found["macro_f1"]["value"] == pytest.approx(sum(scores) / len(scores))


@given(made())
def test_bins_hold_every_answer_once_and_sum_to_the_calibration_error(answers):
    bins = reliability(answers)
    assert [bin_.low for bin_ in bins] == [place / 15 for place in range(15)]
    for place, bin_ in enumerate(bins):
        inside = [row for row, sure in enumerate(answers.confidence) if min(14, math.floor(sure * 15)) == place]
        assert bin_.images == len(inside)
        assert bin_.right == sum(answers.true[row] == answers.said[row] for row in inside)
        if inside:
            assert bin_.confidence == pytest.approx(sum(answers.confidence[row] for row in inside) / len(inside))
    gaps = sum(abs(bin_.right - bin_.confidence * bin_.images) for bin_ in bins if bin_.images)
    assert figures(answers, "classification", LABELS)["ece"]["value"] == pytest.approx(gaps / len(answers))


@given(made())
def test_the_curve_of_risk_and_coverage_is_what_each_threshold_does(answers):
    shares, errors = risk_coverage(answers)
    thresholds = sorted(set(answers.confidence.tolist()), reverse=True)
    assert len(shares) == len(errors) == len(thresholds)
    for share, error, threshold in zip(shares, errors, thresholds, strict=True):
        one = at_threshold(answers, threshold)
        assert share == one["accepted"] / len(answers)
        assert error == one["wrong_accepted"] / one["accepted"]
        assert one["to_people"] + one["accepted"] == len(answers)
        assert one["wrong_accepted"] + one["wrong_to_people"] == (~answers.right).sum()
    assert shares[-1] == 1


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I: the score method without continuity correction
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_an_interval_of_a_share_is_the_published_one(part, whole, low, high):
    assert wilson(part, whole) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_intervals_hold_the_truth_about_as_often_as_they_promise():
    random = np.random.default_rng(5)
    held = {"accuracy": 0, "macro_f1": 0}
    for _ in range(60):
        true = random.integers(0, 2, 150)
        said = np.where(random.random(150) < 0.8, true, 1 - true)
        answers = Answers(tuple("ab"[one] for one in true), tuple("ab"[one] for one in said), np.full(150, 0.8))
        found = figures(answers, "classification", ("a", "b"))
        for name in held:
            held[name] += found[name]["low"] <= 0.8 <= found[name]["high"]
    # of 60 intervals that hold with .95, fewer than 51 hold once in 3,000 times; they may not always hold either
    assert all(51 <= count <= 60 for count in held.values()), held


def test_an_interval_narrows_as_pictures_are_added_and_is_the_same_every_time():
    def interval(count):
        answers = Answers(("a", "b") * count, ("a", "a") * count, np.tile([0.9, 0.6], count))
        return figures(answers, "classification", ("a", "b"), seed=3)

    few, many = interval(20), interval(2000)
    assert json.dumps(interval(20)) == json.dumps(few)
    for name in ("accuracy", "ece", "macro_f1"):
        assert many[name]["value"] == pytest.approx(few[name]["value"])
        assert 5 < (few[name]["high"] - few[name]["low"]) / (many[name]["high"] - many[name]["low"]) < 20


@cache
def distance(true, said):
    if not true or not said:
        return len(true) + len(said)
    return min(
        distance(true[1:], said[1:]) + (true[0] != said[0]), distance(true[1:], said) + 1, distance(true, said[1:]) + 1
    )


TEXTS = st.text("абв ", max_size=6)


@given(TEXTS, TEXTS)
def test_edits_are_a_shortest_way_from_one_text_to_the_other(true, said):
    found = edits(true, said)
    assert len(found) == distance(true, said) == measures.distance(true, said)
    assert all(one != other for one, other in found)
    # what is dropped and replaced was there; what is added and put instead is there now
    assert not [one for one in set(true) if sum(old == one for old, _ in found) > true.count(one)]
    assert len(true) - sum(new == "" for _, new in found) + sum(old == "" for old, _ in found) == len(said)


def test_a_misread_line_counts_by_characters_by_words_and_as_a_whole():
    answers = Answers(("кит и пёс", "дом", "лес"), ("кит ы пёс", "домы", "лес"), np.array([0.9, 0.5, 0.99]))
    found = figures(answers, "text", ())
    assert found["cer"]["value"] == pytest.approx(2 / 15)
    assert found["wer"]["value"] == pytest.approx(2 / 5)
    assert found["accuracy"]["value"] == pytest.approx(1 / 3)
    assert character_confusions(answers) == [(("", "ы"), 1), (("и", "ы"), 1)]
    assert found["cer"]["low"] < found["cer"]["value"] < found["cer"]["high"]


@given(made(), st.sampled_from(["classification", "text"]))
def test_what_is_written_is_json_whatever_was_measured(answers, kind):
    found = figures(answers, kind, LABELS)
    assert json.loads(as_text(found)) == json.loads(json.dumps(found, allow_nan=False))


@given(st.recursive(st.none() | st.integers() | st.text('[]{}",\\ \n\t:', max_size=6), lambda inner: st.lists(inner)
                    | st.dictionaries(st.text('[]{}" ', max_size=3), inner), max_leaves=12))  # fmt: skip
def test_short_lines_change_no_value(value):
    assert json.loads(as_text(value)) == value
