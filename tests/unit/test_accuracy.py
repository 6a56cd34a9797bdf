"""Counts as a commutative monoid, and figures against scikit-learn and slow, obvious ways to count them."""

import json
import random
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from ics import accuracy
from ics.accuracy import MAX_CLASSES, MAX_VERSIONS, NAMED, Counts, Pair, counts_from_json
from ics.accuracy_figures import figures
from ics.contracts import dump_line
from ics.errors import TooManyVersions
from ics.measures import distance
from training.calibrate import expected_calibration_error
from training.measures import Answers, at_threshold
from training.measures import figures as training_figures

LABELS = ("a", "b", "c", "d")
PAIRS = st.builds(
    Pair,
    st.sampled_from(LABELS),
    st.sampled_from(LABELS),
    st.one_of(st.none(), st.floats(0, 1), st.integers(0, 1000).map(lambda part: part / 1000)),
    st.sampled_from(["accepted", "uncertain", ""]),
    st.booleans(),
    st.sampled_from(["s3://b/1", "s3://b/2"]),
)
MANY = st.lists(st.tuples(st.sampled_from(["v1", "v2"]), PAIRS), max_size=30)


def counted(pairs, version="v"):
    counts = Counts()
    for pair in pairs:
        counts.add(version, pair)
    return counts


def of_versions(pairs):
    counts = Counts()
    for version, pair in pairs:
        counts.add(version, pair)
    return counts


def content(counts):
    return dump_line(counts.to_json())


def merged(*parts):
    whole = Counts()
    for part in parts:
        whole.merge(counts_from_json(json.loads(content(part))))
    return whole


@given(MANY, st.randoms(use_true_random=False), st.lists(st.integers(0, 30), max_size=3))
def test_any_split_and_any_order_are_the_same_bytes(pairs, chance: random.Random, cuts):
    whole = content(of_versions(pairs))
    shuffled = list(pairs)
    chance.shuffle(shuffled)
    assert content(of_versions(shuffled)) == whole
    edges = [0, *sorted(cuts), len(pairs)]
    parts = [of_versions(shuffled[start:end]) for start, end in pairwise(edges)]
    chance.shuffle(parts)
    assert content(merged(*parts)) == whole
    assert dump_line(figures(merged(*parts), threshold=0.9)) == dump_line(figures(of_versions(pairs), threshold=0.9))


@given(MANY, MANY, MANY)
@example(  # as sure, but for the rounding
    [("v1", Pair("b", "a", None, "accepted", False, "s3://b/1"))],
    [("v1", Pair("b", "a", 0.0, "accepted", False, "s3://b/1"))],
    [("v1", Pair("b", "a", 1e-15, "accepted", False, "s3://b/1"))],
)
def test_the_laws_of_a_commutative_monoid(one, two, three):
    a, b, c = of_versions(one), of_versions(two), of_versions(three)
    assert content(merged(a, Counts())) == content(merged(Counts(), a)) == content(a)
    assert content(merged(a, b)) == content(merged(b, a))
    assert content(merged(merged(a, b), c)) == content(merged(a, merged(b, c)))


def test_of_25_pairs_15_agree_which_is_exactly_0_6():
    pairs = [Pair("7", "7" if number < 15 else "1", 0.9) for number in range(25)]
    found = figures(counted(pairs), threshold=0.94)["accuracy"]
    assert (found["value"], found["count"], found["of"]) == (0.6, 15, 25)
    assert found["low"] == pytest.approx(0.4074, abs=1e-4)  # Wilson's interval of 15 of 25
    assert found["high"] == pytest.approx(0.7660, abs=1e-4)


STEPS = st.integers(0, 1000).map(lambda number: number / 1000)
OF_CLASSES = st.lists(st.builds(Pair, st.sampled_from(LABELS), st.sampled_from(LABELS), STEPS), min_size=1, max_size=60)


@settings(deadline=None)
@given(OF_CLASSES)
def test_figures_of_classes_are_scikit_learns(pairs):
    found = figures(counted(pairs), threshold=0.94)
    true, said = [pair.truth for pair in pairs], [pair.said for pair in pairs]
    labels = found["confusion"]["labels"]
    assert labels == sorted({*true, *said})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a matrix of one class
        assert found["confusion"]["counts"] == confusion_matrix(true, said, labels=labels).tolist()
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(true, said))
    precision, recall, f1, images = precision_recall_fscore_support(true, said, labels=labels, zero_division=0)
    for number, label in enumerate(labels):
        one = found["classes"][label]
        assert one["images"] == images[number]
        assert (one["precision"]["value"] or 0) == pytest.approx(precision[number])
        assert (one["recall"]["value"] or 0) == pytest.approx(recall[number])
        assert one["f1"]["value"] == pytest.approx(f1[number])
        assert one["f1"]["low"] <= one["f1"]["value"] <= one["f1"]["high"] <= 1
    there = sorted(set(true))
    assert found["macro_f1"]["value"] == pytest.approx(f1_score(true, said, labels=there, average="macro"))


@settings(deadline=None, max_examples=20)
@given(OF_CLASSES)
def test_figures_that_training_measures_too_are_the_same(pairs):
    found = figures(counted(pairs), threshold=0.94)
    answers = Answers(
        tuple(pair.truth for pair in pairs),
        tuple(pair.said for pair in pairs),
        np.array([pair.confidence for pair in pairs], np.float64),
    )
    there = training_figures(answers, "classification", found["confusion"]["labels"], threshold=0.94)
    for name in ("accuracy", "accepted", "accuracy_of_accepted", "wrong_below_threshold", "threshold", "thresholds"):
        assert found[name] == there[name], name
    assert found["confusion"] == there["confusion"]
    assert found["images"] == there["images"]
    for mine, theirs in zip(found["reliability"], there["reliability"], strict=True):
        assert mine == {**theirs, "confidence": theirs["confidence"] and pytest.approx(theirs["confidence"])}
    assert found["ece"]["value"] == pytest.approx(there["ece"]["value"], abs=1e-8)
    assert found["macro_f1"]["value"] == pytest.approx(there["macro_f1"]["value"])


@given(OF_CLASSES)
def test_the_curve_says_what_each_threshold_passes(pairs):
    found = figures(counted(pairs), threshold=0.94)["risk_coverage"]
    answers = Answers(
        tuple(pair.truth for pair in pairs), tuple(pair.said for pair in pairs), np.array([p.confidence for p in pairs])
    )
    assert found[0]["threshold"] == 0
    assert [one["threshold"] for one in found] == sorted({0, *(pair.confidence for pair in pairs)})
    for one in found:
        assert one == at_threshold(answers, one["threshold"])


TEXTS = st.text("абв ", max_size=6)


@given(st.lists(st.builds(Pair, TEXTS, TEXTS, st.just(0.5), is_text=st.just(True)), min_size=1, max_size=20))
def test_figures_of_texts_are_those_of_training(pairs):
    found = figures(counted(pairs), threshold=0.94)
    assert (found["kind"], found["confusion"], found["classes"]) == ("text", None, None)
    edits = sum(distance(pair.truth, pair.said) for pair in pairs)
    length = sum(len(pair.truth) for pair in pairs)
    assert (found["cer"] and found["cer"]["value"]) == (edits / length if length else None)
    words = [(pair.truth.split(), pair.said.split()) for pair in pairs]
    length = sum(len(true) for true, _ in words)
    edits = sum(distance(true, said) for true, said in words)
    assert (found["wer"] and found["wer"]["value"]) == (edits / length if length else None)
    assert found["exact"] == found["accuracy"]


def drawn(count, seed):
    generator = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        sure = 0.5 + generator.integers(0, 500) / 1000
        truth = LABELS[generator.integers(0, 3)]
        right = generator.random() < sure - 0.1
        pairs.append(Pair(truth, truth if right else "d", sure))
    return pairs


@pytest.mark.parametrize("name", ["ece", "macro_f1"])
def test_an_interval_without_a_bootstrap_is_about_that_of_the_bootstrap(name):
    pairs = drawn(2000, 7)
    found = figures(counted(pairs), threshold=0.94)
    answers = Answers(
        tuple(pair.truth for pair in pairs), tuple(pair.said for pair in pairs), np.array([p.confidence for p in pairs])
    )
    theirs = training_figures(answers, "classification", LABELS)
    both = [(found[name], theirs[name])]
    both += [(one["f1"], theirs["classes"][label]["f1"]) for label, one in found["classes"].items() if one["images"]]
    for mine, there in both:
        wide = there["high"] - there["low"]
        assert mine["low"] == pytest.approx(there["low"], abs=wide / 5)
        assert mine["high"] == pytest.approx(there["high"], abs=wide / 5)


def test_an_interval_of_cer_is_about_that_of_the_bootstrap():
    generator = np.random.default_rng(3)
    pairs = []
    for _ in range(1000):
        true = "".join(generator.choice(list("абвг"), generator.integers(1, 30)))
        said = "".join(one for one in true if generator.random() > 0.05)
        pairs.append(Pair(true, said, 0.9, is_text=True))
    found = figures(counted(pairs), threshold=0.94)
    answers = Answers(tuple(p.truth for p in pairs), tuple(p.said for p in pairs), np.full(len(pairs), 0.9))
    there = training_figures(answers, "text", ())
    for name in ("cer", "wer"):
        assert found[name]["value"] == pytest.approx(there[name]["value"])
        wide = there[name]["high"] - there[name]["low"]
        assert found[name]["low"] == pytest.approx(there[name]["low"], abs=wide / 5)
        assert found[name]["high"] == pytest.approx(there[name]["high"], abs=wide / 5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_confidence_is_in_the_bin_of_training_and_ece_is_its_own(confidences):
    pairs = [Pair("a", "a", confidence) for confidence in confidences]
    found = figures(counted(pairs), threshold=0.5)["ece"]["value"]
    expected = expected_calibration_error(np.array(confidences), np.ones(len(confidences), bool))
    assert found == pytest.approx(expected, abs=1e-8)


def test_what_cannot_be_said_is_none_and_json():
    found = figures(Counts(), threshold=0.94)
    assert (found["accuracy"]["value"], found["ece"], found["confusion"], found["macro_f1"]) == (None,) * 4
    assert found["risk_coverage"] == [
        {"threshold": 0.0, "accepted": 0, "wrong_accepted": 0, "to_people": 0, "wrong_to_people": 0}
    ]
    unsure = figures(counted([Pair("a", "a", None)]), threshold=0.94)
    assert (unsure["accuracy"]["value"], unsure["ece"], unsure["accepted"]["value"]) == (1.0, None, None)
    for one in (found, unsure):
        json.dumps(one, allow_nan=False)


def test_too_many_classes_have_no_matrix_in_whatever_order_they_come():
    pairs = [Pair(f"class {number}", "class 0", 0.9) for number in range(MAX_CLASSES + 1)]
    assert figures(counted(pairs[:-1]), threshold=0.9)["confusion"] is not None
    parts = counted(pairs[:300]), counted(pairs[300:])
    assert content(merged(*parts)) == content(merged(*parts[::-1])) == content(counted(pairs))
    found = figures(merged(*parts), threshold=0.9)
    assert (found["confusion"], found["classes"], found["images"]) == (None, None, MAX_CLASSES + 1)


def test_versions_are_apart_and_bounded():
    counts = of_versions([("old", Pair("a", "b", 0.9)), ("new", Pair("a", "a", 0.9))])
    counts.version("new").latest, counts.version("old").latest = "2026-02", "2026-01"
    found = figures(counts, threshold=0.9)
    assert (found["model_version"], found["accuracy"]["value"]) == ("new", 1.0)
    assert [one["model_version"] for one in found["versions"]] == ["new", "old"]
    assert figures(counts, threshold=0.9, version="old")["accuracy"]["value"] == 0.0
    assert figures(counts, threshold=0.9, version="other")["images"] == 0
    with pytest.raises(TooManyVersions):
        of_versions([(str(number), Pair("a", "a", 0.9)) for number in range(MAX_VERSIONS + 1)])


def test_the_surest_mistakes_are_named_and_no_more_than_that():
    pairs = [Pair("a", "b", number / 10_000, s3_uri=f"s3://b/{number}") for number in range(9_000)]
    found = figures(counted(pairs), threshold=0.9)["mistakes"]
    assert [one["s3_uri"] for one in found] == [f"s3://b/{8_999 - number}" for number in range(NAMED)]
    assert {name: found[0][name] for name in ("truth", "said", "confidence")} == {
        "truth": "a",
        "said": "b",
        "confidence": 0.8999,
    }


def test_a_step_is_that_of_the_decimal_that_people_write():
    for step in range(accuracy.STEPS + 1):
        counts = counted([Pair("a", "a", step / accuracy.STEPS)])
        assert list(counts.versions["v"].steps) == [step]
