"""FilterLowConfidence: judge a batch's predictions, mark images, tell of watched labels, write rows and receipt."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ics import paths
from ics.contracts import DECISIONS, batch_from
from ics.policy import Policy, policy_from_json
from ics.staging import answered, judged_rows, waiting
from lambdas import ledger, review_queue
from lambdas.marking import mark
from lambdas.runtime import log, now, settings
from lambdas.s3 import read_working, write_rows
from lambdas.telling import tell

WAIT = 6.0
"""Seconds to wait for answers of images that another batch has classified: the function itself has 11."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """A batch with staged predictions -> its counts; rows and receipt are in S3."""
    batch = batch_from(event)
    staged = read_working(paths.staged_images(batch)) or b""
    answers = [read_working(paths.predictions(batch, body)) or b"" for body in range(event["staged"]["bodies"])]
    policy = _policy_of(batch.run)
    late: dict[str, dict[str, Any]] = {}
    if batch.skip_classified:  # what this batch has is kept first: two batches that wait for each other never end
        ledger.keep(answered(staged, answers))
        late = ledger.await_answers(waiting(staged), WAIT) if event["staged"]["waiting"] else {}
    decided_at = now()
    rows = list(judged_rows(staged, answers, batch, policy, decided_at, late))
    # A kept row's image was marked when it was decided, and may have been released from quarantine since.
    new = [row for row in rows if row["decided_at"] == decided_at]
    mark(new, policy)
    tell(batch, new)
    done = write_rows(batch, rows)
    if settings().reviews:
        review_queue.tell(new, paths.rows(batch))
    log("judged", **{name: done[name] for name in ("run", "batch", "images", *DECISIONS)})
    return {"images": done["images"]}


@lru_cache(maxsize=8)
def _policy_of(run: str) -> Policy:
    """The run's policy, which PlanRun wrote before any batch."""
    found = read_working(paths.policy(run))
    if found is None:
        raise FileNotFoundError(f"{paths.policy(run)} is gone from the working bucket")
    return policy_from_json(found)
