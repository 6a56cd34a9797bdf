"""What becomes of each image of a batch, by where it was staged: sent, failed, kept, known, or waiting for another."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.contracts import Batch, ImageRef, Prediction, dump_line, fields_of, prediction_to_json
from ics.errors import ModelRefused
from ics.policy import Policy
from ics.records import Sent, result_row
from ics.routing import fail, judge
from ics.staging import answered, failed_rows, judged_rows, kept_rows, predicted_line, refused_line, waiting

BATCH = Batch("run", "2026-02-03T00:00:00Z", "digits", 0.94, 0, 0, 0)
POLICY = Policy(threshold=0.4)
NOW, BEFORE = "2026-02-03T00:00:09Z", "2026-02-02T00:00:00Z"
KINDS = ("sent", "refused", "failed", "kept", "known", "late", "lost")


def _ref(number: int) -> ImageRef:
    return ImageRef("b", f"{number}.png", f"e{number}", f"v{number}")


def _prediction(number: int) -> Prediction:
    return Prediction(str(number), 1 / (1 + number), model="m1")


def _row(number: int, decided_at: str = BEFORE) -> dict[str, Any]:
    row = result_row(judge(_ref(number), _prediction(number), POLICY), BATCH, Sent("other-0-0", 1), decided_at)
    return dict(json.loads(dump_line(row)))


def _known(number: int) -> dict[str, Any]:
    told = {"prediction": prediction_to_json(_prediction(number)), "inference_id": "first-0-0", "line": 7}
    return {"id": _ref(number).image_id, **told, "version": f"v{number}"}


def _staged(kinds: list[str]) -> tuple[bytes, list[bytes], dict[str, dict[str, Any]]]:
    lines, body, late = [], [], {}
    for number, kind in enumerate(kinds):
        ref = _ref(number)
        place: dict[str, Any] = {"body": 0, "line": len(body)}
        match kind:
            case "sent":
                body.append(predicted_line(ref.image_id, _prediction(number), "run-0-0", len(body) + 1))
            case "refused":
                body.append(refused_line(ref.image_id, ModelRefused(), "run-0-0a"))
            case "failed":
                place = {"reason": "NotAnImage"}
            case "kept":
                place = {"row": _row(number)}
            case "known":
                place = {"known": _known(number)}
            case _:
                place = {"waits": "m1"}
                late |= {ref.image_id: _known(number)} if kind == "late" else {}
        lines.append(dump_line({**fields_of(ref), **place}))
    return b"".join(lines), [b"".join(body)], late


@given(st.lists(st.sampled_from(KINDS), max_size=12))
def test_each_image_has_its_row_in_the_batchs_order(kinds: list[str]) -> None:
    staged, answers, late = _staged(kinds)
    rows = list(judged_rows(staged, answers, BATCH, POLICY, NOW, late))
    assert [row["s3_uri"] for row in rows] == [_ref(number).uri for number in range(len(kinds))]
    for number, (kind, row) in enumerate(zip(kinds, rows, strict=True)):
        found = (row["reason"], row["inference_id"], row["label"], row["decided_at"], row["version"])
        judged = judge(_ref(number), _prediction(number), POLICY).reason
        assert (
            found
            == {
                "sent": (judged, "run-0-0", str(number), NOW, f"v{number}"),
                "refused": ("ModelRefused", "run-0-0a", None, NOW, f"v{number}"),
                "failed": ("NotAnImage", None, None, NOW, f"v{number}"),
                "kept": (judged, "other-0-0", str(number), BEFORE, f"v{number}"),
                "known": (judged, "first-0-0", str(number), NOW, f"v{number}"),
                "late": (judged, "first-0-0", str(number), NOW, f"v{number}"),
                "lost": ("ClaimedElsewhere", None, None, NOW, f"v{number}"),
            }[kind]
        )


@given(st.lists(st.sampled_from(KINDS), max_size=12))
def test_only_what_this_batch_was_answered_is_kept_for_others_and_only_what_waits_is_waited_for(
    kinds: list[str],
) -> None:
    staged, answers, _ = _staged(kinds)
    ids = {kind: {_ref(n).image_id for n, one in enumerate(kinds) if one == kind} for kind in KINDS}
    kept = answered(staged, answers)
    assert kept.keys() == ids["sent"]
    assert all(one["prediction"]["model"] == "m1" and version.startswith("v") for one, version in kept.values())
    assert waiting(staged) == dict.fromkeys(ids["late"] | ids["lost"], "m1")


def test_a_known_answer_of_another_image_is_never_taken() -> None:
    line = dump_line({**fields_of(_ref(1)), "known": _known(2)})
    with pytest.raises(ValueError, match="is of image"):
        list(judged_rows(line, [], BATCH, POLICY, NOW))


@given(st.lists(st.sampled_from(("done", "failed", "moved"))))
def test_of_an_earlier_attempt_only_what_did_not_fail_is_kept(kinds: list[str]) -> None:
    refs = [_ref(number) for number in range(len(kinds))]
    rows = [
        result_row(fail(ref, "ReadFailed"), BATCH, None, BEFORE) if kind == "failed" else _row(number)
        for number, (ref, kind) in enumerate(zip(refs, kinds, strict=True))
    ]
    rows = [
        {**row, "s3_uri": "s3://b/other"} if kind == "moved" else row for row, kind in zip(rows, kinds, strict=True)
    ]
    kept = [row is not None for row in kept_rows(refs, rows)]
    assert kept == [kind == "done" for kind in kinds]
    assert kept_rows(refs, rows[1:] if rows else rows) == [None] * len(refs)
    ended = list(failed_rows(refs, b"", BATCH, "EndpointUnavailable", NOW, rows))
    assert [row["decided_at"] == BEFORE for row in ended] == kept
    assert {row["reason"] for row in ended if row["decided_at"] == NOW} <= {"EndpointUnavailable"}
