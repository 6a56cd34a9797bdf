"""What the steps of one batch hand to each other in S3, and the rows that come of it.

    staged images   a line an image of the batch: its reference, and `{body, line}` or the `reason` why it is in no body
    predictions     a line an image of a body: `{id, prediction | reason, inference_id, line}`; `line` counts from 1

Counting lines in staged images and bodies starts at 0, so that they index; `line` of a prediction is what a person
finds in the captured body, and counts from 1.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ics.contracts import Batch, ImageRef, Prediction, Verdict, dump_line, prediction_from_json, prediction_to_json
from ics.errors import ImageError
from ics.policy import Policy
from ics.records import Sent, result_row
from ics.routing import fail, judge


def predicted_line(image_id: str, prediction: Prediction, inference_id: str, line: int) -> bytes:
    """A staged prediction."""
    return dump_line(
        {"id": image_id, "prediction": prediction_to_json(prediction), "inference_id": inference_id, "line": line}
    )


def refused_line(image_id: str, error: ImageError, inference_id: str) -> bytes:
    """A staged refusal: the model takes every other image of the body, but not this one."""
    return dump_line({"id": image_id, "reason": error.reason, "inference_id": inference_id, "line": 1})


def judged_rows(
    staged: bytes, answers: Sequence[bytes], batch: Batch, policy: Policy, decided_at: str
) -> Iterator[dict[str, Any]]:
    """The rows of a batch, in its order: each image judged by its prediction, or failed by its reason.

    Raises:
        IndexError, ValueError: predictions are missing, or are another image's.
    """
    bodies = [answer.splitlines() for answer in answers]
    for image, place in _staged(staged):
        if "reason" in place:
            yield result_row(fail(image, place["reason"]), batch, None, decided_at)
            continue
        answer = json.loads(bodies[place["body"]][place["line"]])
        if answer["id"] != image.image_id:
            raise ValueError(f"prediction {place} is of image {answer['id']}, expected {image.image_id}")
        verdict = _verdict(image, answer, policy)
        yield result_row(verdict, batch, Sent(answer["inference_id"], answer["line"]), decided_at)


def failed_rows(
    refs: Iterable[ImageRef], staged: bytes, batch: Batch, reason: str, decided_at: str
) -> Iterator[dict[str, Any]]:
    """The rows of a batch that failed as a whole; an image that was already found bad keeps its own reason.

    Args:
        refs: the batch's images as planned.
        staged: its staged images, empty where it did not get so far.
        batch: the batch.
        reason: why it failed.
        decided_at: ISO 8601 UTC.
    """
    found = list(_staged(staged)) if staged else [(ref, {}) for ref in refs]
    for image, place in found:
        yield result_row(fail(image, place.get("reason", reason)), batch, None, decided_at)


def _verdict(image: ImageRef, answer: dict[str, Any], policy: Policy) -> Verdict:
    if "reason" in answer:
        return fail(image, answer["reason"])
    return judge(image, prediction_from_json(answer["prediction"]), policy)


def _staged(lines: bytes) -> Iterator[tuple[ImageRef, dict[str, Any]]]:
    for line in lines.splitlines():
        fields = json.loads(line)
        yield ImageRef(*(fields.pop(name) for name in ("bucket", "key", "etag", "version"))), fields
