"""RecordFailure: a batch that could not be classified gets `failed` rows with the reason, and its receipt."""

from collections.abc import Mapping
from typing import Any

from ics import paths
from ics.contracts import batch_from
from ics.staging import failed_rows
from lambdas.runtime import log, now
from lambdas.s3 import read_batch, read_rows, read_working, write_rows


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """A batch and its `error` (Step Functions' `{Error, Cause}`) -> its counts.

    An image that was already found bad keeps its own reason; one that has a row of an earlier attempt keeps that.
    """
    batch, reason = batch_from(event), event["error"]["Error"]
    staged = read_working(paths.staged_images(batch)) or b""
    rows = read_rows(batch) if batch.attempt else []
    done = write_rows(batch, failed_rows(read_batch(batch), staged, batch, reason, now(), rows))
    cause = str(event["error"].get("Cause", ""))[:1000]
    log("batch failed", "ERROR", run=batch.run, batch=batch.batch, reason=reason, cause=cause, images=done["images"])
    return {"images": done["images"]}
