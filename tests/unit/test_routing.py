"""The routing policy: the threshold's boundary, and values that are false but there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.contracts import ImageRef, Prediction
from ics.errors import CorruptImage
from ics.routing import DEFAULT_THRESHOLD, fail, judge

IMAGE = ImageRef("b", "k", "e")


@given(st.floats(0, 1), st.floats(0, 1))
def test_reaching_the_threshold_is_enough(confidence: float, threshold: float) -> None:
    verdict = judge(IMAGE, Prediction("7", confidence), threshold)
    accepted = confidence >= threshold
    assert verdict.decision == ("accepted" if accepted else "uncertain")
    assert verdict.reason == (None if accepted else "BelowThreshold")
    assert verdict.prediction == Prediction("7", confidence)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["", " ", "\u00a0"]))
def test_an_empty_reading_is_never_accepted(confidence: float, threshold: float, text: str) -> None:
    verdict = judge(IMAGE, Prediction(text, confidence, text=text), threshold)
    assert (verdict.decision, verdict.reason) == ("uncertain", "NothingRead")


def test_a_line_that_reads_zero_is_no_empty_reading() -> None:
    assert judge(IMAGE, Prediction("0", 1.0, text="0"), 1.0).decision == "accepted"


@pytest.mark.parametrize("threshold", [0.0, 0.5, DEFAULT_THRESHOLD, 1.0])
def test_equal_to_the_threshold_is_accepted(threshold: float) -> None:
    assert judge(IMAGE, Prediction("0", threshold), threshold).decision == "accepted"


def test_a_failed_image_keeps_its_reason() -> None:
    assert fail(IMAGE, CorruptImage("bad")).reason == fail(IMAGE, "CorruptImage").reason == "CorruptImage"
    assert fail(IMAGE, "BatchLost").decision == "failed"
