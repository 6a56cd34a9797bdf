"""Which images wait for a reviewer, in which order, and which of their labels count."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ics import review


def row(decision: str = "uncertain", confidence: float | None = 0.5, image: str = "a" * 64) -> dict[str, Any]:
    return {
        "image_id": image, "decision": decision, "confidence": confidence, "model": "digits", "s3_uri": "s3://b/k",
        "version": "", "label": "7", "reason": "BelowThreshold", "decided_at": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip


_rows = st.lists(
    st.builds(
        row,
        decision=st.sampled_from(["flagged", "uncertain"]),
        confidence=st.floats(0, 1),
        image=st.text("0123456789abcdef", min_size=64, max_size=64),
    )
)


@given(rows=_rows)
def test_the_worst_sort_first(rows: list[dict[str, Any]]) -> None:
    found = sorted(rows, key=review.rank)
    wanted = sorted(rows, key=lambda one: (one["decision"] != "flagged", f"{one['confidence']:.6f}", one["image_id"]))
    assert [review.rank(one) for one in found] == [review.rank(one) for one in wanted]


def test_only_what_has_an_answer_that_is_doubted_waits() -> None:
    assert [one for one in ("accepted", "uncertain", "flagged", "failed") if review.needs_review(row(one))] == [
        "uncertain", "flagged",
    ]  # fmt: skip


@given(label=st.text(max_size=5000), uri=st.text(min_size=1, max_size=200))
def test_an_item_of_the_queue_stays_small(label: str, uri: str) -> None:
    item = review.queued({**row(), "label": label, "s3_uri": uri}, "key", 5)
    assert len(item["label"]) <= 200
    assert item["expires"] == 5
    assert review.waiting(item).keys() == {
        "image_id", "s3_uri", "label", "confidence", "decision", "reason", "decided_at",
    }  # fmt: skip


def test_what_has_no_value_is_left_out_of_items_and_null_for_people() -> None:
    item = review.queued({**row(), "label": None}, "key", None)
    assert "label" not in item
    assert "expires" not in item
    assert review.waiting(item)["label"] is None


@given(said=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["0", "1", None]))))
def test_of_each_person_the_latest_label_counts_and_none_withdraws(said: list[tuple[str, str | None]]) -> None:
    items = [
        review.label_item("i", "digits", label, by, f"2026-01-01T00:00:{number:02d}.000Z", "x")
        for number, (by, label) in enumerate(said[:60])
    ]
    others = [review.label_item("i", "other", "9", "a", "2026-01-01T00:00:00.000Z", "x")]
    labels = review.history([*others, *reversed(items)], "digits")
    assert [(one["by"], one["label"]) for one in labels] == said[:60]
    last = dict(said[:60])
    assert review.counting(labels) == sorted({label for label in last.values() if label is not None})


def test_a_line_of_a_label_file_is_as_the_evaluation_reads_it() -> None:
    line = json.loads(review.label_line("i", None, "ann", "2026-01-01T00:00:00.000Z"))
    assert line == {"image_id": "i", "label": None, "by": "ann", "at": "2026-01-01T00:00:00.000Z"}
