"""What the table is told of judged images: where to find their rows, and which of them wait for a reviewer."""

import time
from collections.abc import Container, Sequence
from typing import Any

from ics import review
from ics.errors import TableUnavailable
from lambdas import table
from lambdas.runtime import log, settings

Row = dict[str, Any]


PER_BATCH = 50
"""Images of a batch that are queued at most, its worst: what a batch writes, and costs, is bounded by that."""


def tell(rows: Sequence[Row], rows_key: str) -> None:
    """Note a batch's rows, which lie under `rows_key`: the worst that need a person, and those that came by an upload.

    Doing it again changes nothing, so that whoever holds an image keeps it. What cannot be noted is logged, and the
    batch goes on: rows are the record, and the run's summary counts them all.
    """
    config = settings()
    uploaded = f"s3://{config.images_bucket}/{config.upload_prefix}" if config.upload_prefix else None
    doubted = sorted(filter(review.needs_review, rows), key=review.rank)
    waiting = doubted[:PER_BATCH]
    ids = {row["image_id"] for row in waiting}
    others = [row for row in rows if uploaded and row["s3_uri"].startswith(uploaded) and row["image_id"] not in ids]
    if not waiting and not others:
        return
    about = {name: rows[0][name] for name in ("run", "batch")}
    if len(doubted) > len(waiting):
        log("more than are queued", "WARNING", **about, doubted=len(doubted), queued=len(waiting))
    expires = int(time.time()) + review.KEPT_DAYS * 24 * 3600
    try:
        note([*waiting, *others], rows_key, expires, queued=ids)
    except TableUnavailable as error:
        log("review not queued", "ERROR", **about, cause=str(error))


def note(rows: Sequence[Row], rows_key: str, expires: int | None, queued: Container[str] | None = None) -> None:
    """Note all of these rows, and queue those that need a person; given `queued`, only those images.

    Raises:
        TableUnavailable: not all is noted.
    """
    distinct = {row["image_id"]: row for row in rows}.values()  # an image may be listed twice, a key may not
    table.write_many([review.record(row, rows_key, expires) for row in distinct])
    waiting = [row for row in distinct if review.needs_review(row) and (queued is None or row["image_id"] in queued)]
    table.insert_many([review.queued(row, rows_key, expires) for row in waiting])
