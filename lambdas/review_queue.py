"""What the table is told of judged images: where to find their rows, and which of them wait for a reviewer."""

import time
from collections.abc import Sequence
from typing import Any

from ics import review
from ics.errors import TableUnavailable
from lambdas import table
from lambdas.runtime import log, settings

Row = dict[str, Any]


def tell(rows: Sequence[Row], rows_key: str) -> None:
    """Note a batch's rows, which lie under `rows_key`: those that need a person, and those that came by an upload.

    Doing it again changes nothing, so that whoever holds an image keeps it. What cannot be noted is logged, and the
    batch goes on: rows are the record, and the run's summary counts them all.
    """
    config = settings()
    uploaded = f"s3://{config.images_bucket}/{config.upload_prefix}" if config.upload_prefix else None
    known = [row for row in rows if review.needs_review(row) or (uploaded and row["s3_uri"].startswith(uploaded))]
    if not known:
        return
    expires = int(time.time()) + review.KEPT_DAYS * 24 * 3600
    try:
        note(known, rows_key, expires)
    except TableUnavailable as error:
        log("review not queued", "ERROR", run=known[0]["run"], batch=known[0]["batch"], cause=str(error))


def note(rows: Sequence[Row], rows_key: str, expires: int | None) -> None:
    """Note all of these rows, and queue those that need a person. Raises TableUnavailable."""
    distinct = {row["image_id"]: row for row in rows}.values()  # an image may be listed twice, a key may not
    table.write_many([review.record(row, rows_key, expires) for row in distinct])
    waiting = [review.queued(row, rows_key, expires) for row in distinct if review.needs_review(row)]
    table.insert_many(waiting)
