"""What the policy asks to be done to the images themselves: quarantine, and accepted ones tagged with their label."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from obstore.exceptions import BaseError

from ics import paths, quarantine
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


def hide(entry: quarantine.Entry) -> None:
    """Hide an image from all but reviewers, and list it as hidden; nothing is done to one that is gone.

    Raises:
        QuarantineFailed: S3 did not take its tag, or its entry.
    """
    try:
        if object_tags.add(quarantine.image_of(entry), {QUARANTINE_TAG: "true"}):
            write_results(paths.quarantined(entry["image_id"]), quarantine.dumped(entry))
    except (OSError, BaseError) as error:
        raise QuarantineFailed(str(error)) from error


def check_can_be_hidden(row: Mapping[str, Any]) -> None:
    """Raise QuarantineFailed for an image that has no tags of its own."""
    if row["member"]:
        raise QuarantineFailed(f"{row['s3_uri']} is part of a shard, which can only be hidden as a whole")


def _quarantine(row: Row) -> None:
    try:
        check_can_be_hidden(row)
        hide(quarantine.entry_of(row, row["decided_at"]))
    except QuarantineFailed as error:
        _fail(row, error)


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
