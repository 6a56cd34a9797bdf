"""What the steps of one batch hand to each other in S3, and the rows that come of it.

    staged images   a line an image of the batch: its reference, and `{body, line}`, or why it is in no body: the
                    `reason` why it failed; the `row` that it keeps from an earlier attempt; the prediction that is
                    `known` of it from another run; `waits`, the version of the model by which another batch has it
                    classified just now
    predictions     a line an image of a body: `{id, prediction | reason, inference_id, line}`; `line` counts from 1

Counting lines in staged images and bodies starts at 0, so that they index; `line` of a prediction is what a person
finds in the captured body, and counts from 1.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ics.contracts import (
    Batch,
    ImageRef,
    Prediction,
    Verdict,
    dump_line,
    prediction_from_json,
    prediction_to_json,
)
from ics.errors import ClaimedElsewhere, ImageError
from ics.policy import Policy
from ics.records import Sent, result_row
from ics.routing import fail, judge


def predicted_line(image_id: str, prediction: Prediction, inference_id: str, line: int) -> bytes:
    """A staged prediction."""
    return dump_line(
        {"id": image_id, "prediction": prediction_to_json(prediction), "inference_id": inference_id, "line": line}
    )


def refused_line(image_id: str, error: ImageError, inference_id: str, line: int = 1) -> bytes:
    """A staged refusal: the model takes every other image of the body, but not this one."""
    return dump_line({"id": image_id, "reason": error.reason, "inference_id": inference_id, "line": line})


def judged_rows(
    staged: bytes,
    answers: Sequence[bytes],
    batch: Batch,
    policy: Policy,
    decided_at: str,
    late: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> Iterator[dict[str, Any]]:
    """The rows of a batch, in its order: each image judged by its prediction, or failed by its reason.

    `late` holds the predictions of images that wait for another batch's, by image id, as far as they have come.

    Raises:
        IndexError, ValueError: predictions are missing, or are another image's.
    """
    bodies = [answer.splitlines() for answer in answers]
    for ref, place in _staged(staged):
        if "row" in place:
            yield place["row"]
            continue
        reason = ClaimedElsewhere().reason if "waits" in place and ref.image_id not in late else place.get("reason")
        if reason:
            yield result_row(fail(ref, reason), batch, None, decided_at)
            continue
        image = ref
        if "body" in place:
            answer = json.loads(bodies[place["body"]][place["line"]])
        else:
            answer = place.get("known") or late[ref.image_id]
            image = replace(ref, version=answer["version"])
        if answer["id"] != image.image_id:
            raise ValueError(f"prediction {place} is of image {answer['id']}, expected {image.image_id}")
        verdict = _verdict(image, answer, policy)
        yield result_row(verdict, batch, Sent(answer["inference_id"], answer["line"]), decided_at)


def answered(staged: bytes, answers: Sequence[bytes]) -> dict[str, tuple[dict[str, Any], str]]:
    """The predictions that a batch was given, each with the S3 version of its image, by image id."""
    bodies = [answer.splitlines() for answer in answers]
    sent = ((image, place) for image, place in _staged(staged) if "body" in place)
    given = ((json.loads(bodies[place["body"]][place["line"]]), image.version) for image, place in sent)
    return {answer["id"]: (answer, version) for answer, version in given if "prediction" in answer}


def waiting(staged: bytes) -> dict[str, str]:
    """The images that wait for another batch's answer: the version of the model, by image id."""
    return {image.image_id: place["waits"] for image, place in _staged(staged) if "waits" in place}


def kept_rows(refs: Sequence[ImageRef], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """For each image of a batch the row that it has from an earlier attempt, None where it has none or a failed one.

    Args:
        refs: the batch's images as planned.
        rows: the batch's rows, one an image in the same order; none where no attempt has written any.
    """
    if len(rows) != len(refs):
        return [None] * len(refs)
    return [
        row if row["s3_uri"] == ref.uri and row["decision"] != "failed" else None
        for ref, row in zip(refs, rows, strict=True)
    ]


def failed_rows(
    refs: Sequence[ImageRef], staged: bytes, batch: Batch, reason: str, decided_at: str, rows: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The rows of a batch that failed as a whole; an image that was already found bad keeps its own reason.

    Args:
        refs: the batch's images as planned.
        staged: its staged images, empty where it did not get so far.
        batch: the batch.
        reason: why it failed.
        decided_at: ISO 8601 UTC.
        rows: what earlier attempts wrote of it: what did not fail then is kept.
    """
    if staged:
        found = list(_staged(staged))
    else:
        found = [(ref, {"row": row} if row else {}) for ref, row in zip(refs, kept_rows(refs, rows), strict=True)]
    for image, place in found:
        yield place.get("row") or result_row(fail(image, place.get("reason", reason)), batch, None, decided_at)


def _verdict(image: ImageRef, answer: dict[str, Any], policy: Policy) -> Verdict:
    if "reason" in answer:
        return fail(image, answer["reason"])
    return judge(image, prediction_from_json(answer["prediction"]), policy)


def _staged(lines: bytes) -> Iterator[tuple[ImageRef, dict[str, Any]]]:
    for line in lines.splitlines():
        fields = json.loads(line)
        yield ImageRef(**{name: fields.pop(name) for name in ImageRef.__slots__ if name in fields}), fields
