"""What the policy asks to be done to the images themselves: quarantine, and accepted ones tagged with their label."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from obstore.exceptions import BaseError

from ics import paths
from ics.contracts import ImageRef
from ics.errors import ImageError, QuarantineFailed, TagFailed
from ics.policy import Policy
from ics.request import split_uri
from ics.routing import QUARANTINED
from ics.tagging import LABEL_TAG, QUARANTINE_TAG, tag_value
from lambdas import object_tags
from lambdas.runtime import log
from lambdas.s3 import write_results

AT_ONCE = 16
"""Images marked at once."""

_IN_QUARANTINE = ("image_id", "s3_uri", "version", "label", "confidence", "run", "batch", "policy")

Row = dict[str, Any]


def mark(rows: Sequence[Row], policy: Policy) -> None:
    """Do to each image what its row says; the row of one to which it cannot be done becomes `failed`, and says so.

    An image in a shard has no tags of its own: it cannot be hidden alone, which fails it, and is not named.
    Doing it again changes nothing. An image that is gone by now needs nothing.
    """
    hidden = [row for row in rows if row["reason"] == QUARANTINED]
    named = [row for row in rows if row["decision"] == "accepted" and not row["member"]] if policy.tag_accepted else []
    if hidden or named:
        with ThreadPoolExecutor(AT_ONCE) as workers:
            list(workers.map(_quarantine, hidden))
            list(workers.map(_name, named))


def _quarantine(row: Row) -> None:
    if row["member"]:
        _fail(row, QuarantineFailed(f"{row['s3_uri']} is part of a shard, which can only be hidden as a whole"))
        return
    try:
        if object_tags.add(_image(row), {QUARANTINE_TAG: "true"}):
            entry = {name: row[name] for name in _IN_QUARANTINE} | {"quarantined_at": row["decided_at"]}
            write_results(paths.quarantined(row["image_id"]), json.dumps(entry, ensure_ascii=False).encode())
    except (OSError, BaseError) as error:
        _fail(row, QuarantineFailed(str(error)))


def _name(row: Row) -> None:
    try:
        object_tags.add(_image(row), {LABEL_TAG: tag_value(row["label"])})
    except OSError as error:
        _fail(row, TagFailed(str(error)))


def _fail(row: Row, error: ImageError) -> None:
    log("image not marked", "ERROR", run=row["run"], batch=row["batch"], image_id=row["image_id"], cause=str(error))
    row.update(decision="failed", reason=error.reason)


def _image(row: Row) -> ImageRef:
    return ImageRef(*split_uri(row["s3_uri"]), version=row["version"])
