"""Routing: the threshold's boundary, labels with rules of their own, and values that are false but there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.contracts import Alternative, Box, ImageRef, Prediction
from ics.errors import CorruptImage
from ics.policy import LabelRule, Policy
from ics.routing import DEFAULT_THRESHOLD, fail, judge

IMAGE = ImageRef("b", "k", "e")
WATCHED = Policy(0.5, labels={"weapon": LabelRule(watch=True)})


@given(st.floats(0, 1), st.floats(0, 1))
def test_reaching_the_threshold_is_enough(confidence: float, threshold: float) -> None:
    verdict = judge(IMAGE, Prediction("7", confidence), Policy(threshold))
    accepted = confidence >= threshold
    assert verdict.decision == ("accepted" if accepted else "uncertain")
    assert verdict.reason == (None if accepted else "BelowThreshold")
    assert (verdict.prediction, verdict.threshold) == (Prediction("7", confidence), threshold)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["", " ", "\u00a0"]))
def test_an_empty_reading_is_never_accepted(confidence: float, threshold: float, text: str) -> None:
    verdict = judge(IMAGE, Prediction(text, confidence, text=text), Policy(threshold))
    assert (verdict.decision, verdict.reason) == ("uncertain", "NothingRead")


def test_a_line_that_reads_zero_is_no_empty_reading() -> None:
    assert judge(IMAGE, Prediction("0", 1.0, text="0"), Policy(1.0)).decision == "accepted"


@pytest.mark.parametrize("threshold", [0.0, 0.5, DEFAULT_THRESHOLD, 1.0])
def test_equal_to_the_threshold_is_accepted(threshold: float) -> None:
    assert judge(IMAGE, Prediction("0", threshold), Policy(threshold)).decision == "accepted"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from("078"))
def test_a_labels_own_threshold_is_applied_to_it_alone(confidence: float, one: float, own: float, label: str) -> None:
    policy = Policy(one, labels={"0": LabelRule(threshold=own), "8": LabelRule()})
    verdict = judge(IMAGE, Prediction(label, confidence), policy)
    assert verdict.threshold == (own if label == "0" else one)
    assert (verdict.decision == "accepted") == (confidence >= (own if label == "0" else one))


@given(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=3), st.floats(0, 1))
def test_answers_too_close_are_uncertain(confidence: float, others: list[float], margin: float) -> None:
    alternatives = tuple(Alternative(str(number), other) for number, other in enumerate(others))
    verdict = judge(IMAGE, Prediction("7", confidence, alternatives), Policy(0.0, margin))
    close = bool(others) and confidence - max(others) < margin and confidence + max(others) <= 1 + 1e-6
    assert verdict.reason == ("MarginTooSmall" if close else None)


def test_the_characters_of_a_line_are_no_second_answers() -> None:
    line = Prediction("ab", 0.9, (Alternative("a", 0.9), Alternative("b", 0.9)), text="ab")
    assert judge(IMAGE, line, Policy(0.5, margin=0.9)).decision == "accepted"


def test_what_is_below_the_threshold_says_so_whatever_the_margin() -> None:
    near = Prediction("7", 0.5, (Alternative("1", 0.5),))
    assert judge(IMAGE, near, Policy(0.9, margin=0.5)).reason == "BelowThreshold"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_watched_label_is_flagged_whatever_the_confidence(confidence: float, threshold: float, second: float) -> None:
    policy = Policy(threshold, margin=0.5, labels={"weapon": LabelRule(watch=True, threshold=1.0)})
    other = Alternative("umbrella", second)
    verdict = judge(IMAGE, Prediction("weapon", confidence, (other,)), policy)
    assert (verdict.decision, verdict.reason) == ("flagged", "WatchedLabel")


@pytest.mark.parametrize(("place", "flagged"), [("first", True), ("any box", True), ("alternative", False)])
def test_the_first_label_and_any_box_count(place: str, flagged: bool) -> None:
    boxes = tuple(Box(label, 0.6, 0, 0, 1, 1) for label in ("person", "weapon"))
    prediction = {
        "first": Prediction("weapon", 0.9),
        "any box": Prediction("person", 0.9, boxes=boxes),
        "alternative": Prediction("person", 0.9, (Alternative("weapon", 0.1),)),
    }[place]
    assert (judge(IMAGE, prediction, WATCHED).decision == "flagged") == flagged


def test_quarantine_outweighs_watching() -> None:
    labels = {"weapon": LabelRule(quarantine=True), "person": LabelRule(watch=True)}
    boxes = tuple(Box(label, 0.6, 0, 0, 1, 1) for label in ("person", "weapon"))
    verdict = judge(IMAGE, Prediction("person", 0.9, boxes=boxes), Policy(0.5, labels=labels))
    assert (verdict.decision, verdict.reason) == ("flagged", "Quarantined")


def test_a_failed_image_keeps_its_reason() -> None:
    assert fail(IMAGE, CorruptImage("bad")).reason == fail(IMAGE, "CorruptImage").reason == "CorruptImage"
    assert fail(IMAGE, "BatchLost").decision == "failed"
