"""Rows, receipts and their sums."""

import functools
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.batches import MAX_BATCHES
from ics.contracts import DECISIONS, Alternative, Batch, Box, ImageRef, Prediction
from ics.errors import NotReconciled, TruncatedImage
from ics.policy import Policy
from ics.records import (
    NAMED,
    WORST,
    Reduction,
    Sent,
    image_of,
    inference_id,
    named,
    outcome,
    receipt,
    reconcile,
    reduce_receipts,
    result_row,
)
from ics.routing import fail, judge

NAMED_BY = ("s3_uri", "decision", "reason", "label", "confidence", "threshold")
BATCH = Batch("run-1", "2026-02-03T23:59:59Z", "digits", 0.94, 7, 0, 100, policy="0123456789ab")
IMAGE = ImageRef("b", "k.png", "e1", "v1")
# design.md, "Result row"
ROW_KEYS = [
    "image_id",
    "s3_uri",
    "version",
    "member",
    "model",
    "model_version",
    "decision",
    "reason",
    "label",
    "confidence",
    "alternatives",
    "boxes",
    "text",
    "threshold",
    "policy",
    "run",
    "batch",
    "inference_id",
    "line",
    "decided_at",
]


def test_a_row_has_exactly_the_keys_of_the_contract() -> None:
    prediction = Prediction("7", 0.99, (Alternative("1", 0.01),), (Box("7", 0.9, 0, 0, 1, 1),), "7", "v2")
    row = result_row(judge(IMAGE, prediction, Policy(0.94)), BATCH, Sent("abc-7-0", 3), "2026-02-04T00:00:01Z")
    assert list(row) == ROW_KEYS
    assert row == {
        "image_id": IMAGE.image_id,
        "s3_uri": "s3://b/k.png",
        "version": "v1",
        "member": None,
        "model": "digits",
        "model_version": "v2",
        "decision": "accepted",
        "reason": None,
        "label": "7",
        "confidence": 0.99,
        "alternatives": ({"label": "1", "confidence": 0.01},),
        "boxes": ({"label": "7", "confidence": 0.9, "left": 0, "top": 0, "width": 1, "height": 1},),
        "text": "7",
        "threshold": 0.94,
        "policy": "0123456789ab",
        "run": "run-1",
        "batch": 7,
        "inference_id": "abc-7-0",
        "line": 3,
        "decided_at": "2026-02-04T00:00:01Z",
    }
    failed = result_row(fail(IMAGE, TruncatedImage()), BATCH, None, "2026-02-04T00:00:01Z")
    assert list(failed) == ROW_KEYS
    absent = ("label", "confidence", "text", "inference_id", "line")
    assert {name: failed[name] for name in absent} == dict.fromkeys(absent)
    assert (failed["decision"], failed["reason"]) == ("failed", "TruncatedImage")


MEMBER = ImageRef("b", "s/#1.tar", "e1", "v1", "a/b#c.png", 512, 300)


@pytest.mark.parametrize("image", [IMAGE, MEMBER, ImageRef("b", "s.tar#a.png", version="v1")])
def test_a_row_and_the_worst_say_where_their_image_can_be_read_again(image: ImageRef) -> None:
    row = result_row(fail(image, TruncatedImage()), BATCH, None, "2026-02-04T00:00:01Z")
    assert row["s3_uri"] == f"s3://b/{image.key}#{image.member}".removesuffix("#")
    assert image_of(row) == replace(image, etag="")
    (brief,) = receipt(BATCH, [row])["worst"]
    assert image_of(brief) == replace(image, etag="")
    (name,) = named([brief])
    assert image_of(name) == replace(image, etag="", version="")  # an alert need not name it


def test_label_0_and_confidence_0_are_values() -> None:
    row = result_row(judge(IMAGE, Prediction("0", 0.0), Policy(0.0)), BATCH, None, "now")
    assert (row["decision"], row["label"], row["confidence"]) == ("accepted", "0", 0.0)


def test_rows_of_a_run_lie_under_its_start_date() -> None:
    assert BATCH.date == "2026-02-03"


def test_inference_ids_fit_sagemaker_and_tell_requests_apart() -> None:
    bodies = ["0", "999", "999" + "ab" * 5]  # a body of 1,000 lines is halved at most 10 times
    runs = ["r" * 80, "r" * 79 + "s"]
    ids = {
        inference_id(Batch(run, "2026-02-03", "digits", 0.94, batch, 0, 1), body)
        for run in runs
        for batch in (0, MAX_BATCHES - 1)
        for body in bodies
    }
    assert len(ids) == 12
    assert all(re.fullmatch(r"[0-9a-f]{12}-\d+-\w+", one) and len(one) <= 64 for one in ids)


ROWS = st.builds(
    lambda decision, confidence, key, reason, label: {
        "s3_uri": f"s3://b/{key}",
        "decision": decision,
        "reason": None if decision == "accepted" else reason,
        "label": None if decision == "failed" else label,
        "confidence": None if decision == "failed" else confidence,
        "threshold": 0.94,
        "image_id": f"i{key}",
        "version": "",
        "model_version": "" if decision == "failed" else f"v{label}",
    },
    st.sampled_from(DECISIONS),
    st.floats(0, 1),
    st.integers(0, 5),
    st.sampled_from(["BelowThreshold", "CorruptImage", "WatchedLabel"]),
    st.sampled_from("01"),
)


@given(st.lists(st.lists(ROWS, max_size=20), max_size=6), st.randoms(use_true_random=False), st.integers(0, 100))
def test_any_split_and_order_of_rows_adds_up_to_the_same(batches, random, cut: int) -> None:
    receipts = [receipt(BATCH, rows) for rows in batches]
    rows = [row for batch in batches for row in batch]
    whole = reduce_receipts(receipts)
    assert whole.decided == len(rows)
    assert whole.need_attention == sum(row["decision"] != "accepted" for row in rows)
    assert sum(whole.reasons.values()) == whole.need_attention

    shuffled = random.sample(receipts, len(receipts))
    assert reduce_receipts(shuffled) == whole

    random.shuffle(rows)  # other batches, of the same images
    half = min(cut, len(rows))
    again = reduce_receipts([receipt(BATCH, rows[:half]), receipt(BATCH, rows[half:])])
    assert {**_fields(again), "batches": whole.batches} == _fields(whole)


def _fields(reduction: Reduction) -> dict:
    return {name: getattr(reduction, name) for name in Reduction.__slots__}


def test_the_worst_come_first_flagged_then_failed_then_the_least_sure() -> None:
    def row(decision: str, confidence: float | None, key: str) -> dict:
        fields = {
            "decision": decision,
            "confidence": confidence,
            "s3_uri": key,
            "reason": "R",
            "model_version": "v",
            "threshold": 0.5,
            "image_id": "i",
            "version": "",
        }
        return {**fields, "label": None if confidence is None else "0" * 300}

    rows = [row("uncertain", number / 100, f"u{number:02}") for number in range(40, 0, -1)]
    rows += [row("failed", None, "f"), row("flagged", 0.99, "g"), row("accepted", 1.0, "a"), row("uncertain", 0.0, "z")]
    worst = receipt(BATCH, rows)["worst"]
    assert [one["s3_uri"] for one in worst] == ["g", "f", "z", *(f"u{number:02}" for number in range(1, WORST - 2))]
    assert all(set(one) == {*NAMED_BY, "image_id", "version"} for one in worst)
    assert max(len(one["label"] or "") for one in worst) == 200
    assert named(worst) == [{name: one[name] for name in NAMED_BY} for one in worst[:NAMED]]


def test_an_empty_run_adds_up_to_nothing() -> None:
    assert reduce_receipts([]) == Reduction()


def test_reconciling_names_both_sides() -> None:
    reduction = Reduction(accepted=3, uncertain=2, flagged=1, failed=4)
    reconcile(10, reduction)
    for planned in (9, 11):
        with pytest.raises(NotReconciled, match=rf"{planned} planned, but 3 accepted .* 4 failed = 10"):
            reconcile(planned, reduction)


@pytest.mark.parametrize(
    ("mode", "percent", "planned", "attention", "expected"),
    [
        ("strict", 100.0, 10, 0, ("SUCCEEDED", None)),
        ("strict", 100.0, 10, 1, ("FAILED", "ImagesNeedAttention")),
        ("tolerant", 100.0, 10, 10, ("SUCCEEDED", None)),
        ("tolerant", 0.0, 10, 0, ("SUCCEEDED", None)),
        ("tolerant", 0.0, 10, 1, ("FAILED", "ToleranceExceeded")),
        ("tolerant", 10.0, 10, 1, ("SUCCEEDED", None)),
        ("tolerant", 9.999, 10, 1, ("FAILED", "ToleranceExceeded")),
        ("tolerant", 0.57, 10_000, 57, ("SUCCEEDED", None)),  # 0.57 is not a binary fraction
        ("tolerant", 0.57, 10_000, 58, ("FAILED", "ToleranceExceeded")),
        ("tolerant", 2.5e-06, 40_000_000, 1, ("SUCCEEDED", None)),
        ("tolerant", 2.4e-06, 40_000_000, 1, ("FAILED", "ToleranceExceeded")),
    ],
)
@pytest.mark.parametrize("decision", ["uncertain", "flagged", "failed"])
def test_outcomes(mode, percent: float, planned: int, attention: int, expected, decision: str) -> None:
    reduction = Reduction(accepted=planned - attention, **{decision: attention})
    assert outcome(mode, percent, planned, reduction) == expected


@given(st.lists(st.lists(ROWS, max_size=8), min_size=1, max_size=5))
def test_reducing_as_receipts_arrive_is_reducing_them_all(batches) -> None:
    """A reduction can stand in for the receipts that it was made of."""

    def step(done: Reduction, one: dict) -> Reduction:
        return reduce_receipts([_fields(done), one])

    receipts = [receipt(BATCH, rows) for rows in batches]
    stepwise = functools.reduce(step, receipts, Reduction())
    assert {**_fields(stepwise), "batches": len(receipts)} == _fields(reduce_receipts(receipts))
