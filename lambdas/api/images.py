"""Single pictures: what is known of one, and the truth about it, as people say it."""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import obstore
from aws_lambda_powertools.event_handler import Response

from ics import paths, review
from ics.contracts import ImageRef
from ics.errors import (
    BadRequest,
    BodyTooLarge,
    InvalidParameter,
    NoSuchImage,
    NoSuchModel,
    QuarantineFailed,
    RoleUnavailable,
)
from ics.request import split_uri
from ics.uploads import key_of
from lambdas import presigned, reviewer, table
from lambdas.api.answers import Image, LabelBody
from lambdas.api.classifying import shown
from lambdas.api.router import MODEL, answered, asked, asked_model, caller, json_body, may, only, route
from lambdas.runtime import now, settings, store
from lambdas.s3 import read_results, write_results

MAX_LABEL = 200
PICTURE_SECONDS = 300
"""For which the URL of a picture is good."""

_IMAGE_ID = re.compile("[0-9a-f]{64}")
_UPLOAD_ID = re.compile("[0-9a-f]{32}")


@route("GET", "/v1/images/<image_id>", answer=Image, query=(MODEL,), errors=(NoSuchImage, NoSuchModel, RoleUnavailable))
def get_image(image_id: str) -> Response[Any]:
    """Show what is known of a picture.

    The id is a row's, or an upload's. Known by their ids are pictures that came by this API or by an upload, and those
    that need a person; of the latter for 90 days. Where several models judged it, and `model` names none, the latest
    verdict is shown.
    """
    found, is_upload = _named(image_id)
    items = _items(found)
    record = _record(items, _model())
    if record is None:
        if is_upload:  # it is there, and has not been classified
            return answered(described(image_id, None, []))
        raise NoSuchImage(f"no image {image_id!r} is known")
    return answered(described(record["image_id"], _row(record), items))


@route(
    "PUT", "/v1/images/<image_id>/label", answer=Image, query=(MODEL,), body=LabelBody,
    errors=(BadRequest, BodyTooLarge, NoSuchImage, NoSuchModel, RoleUnavailable),
)  # fmt: skip
def put_label(image_id: str) -> Response[Any]:
    """Say what a picture shows; null withdraws one's own label.

    The label counts in the model's accuracy from its next evaluation. The picture leaves the queue of reviews; where
    the last label is withdrawn, it comes back.
    """
    found = json_body()
    only(found, "label")
    label = found.get("label", "")
    if label is not None and (not isinstance(label, str) or not label.strip() or len(label) > MAX_LABEL):
        raise InvalidParameter(f"label must be a text of 1 to {MAX_LABEL} characters, or null")
    row, record, items = known(image_id)
    given = _say(row, label)
    if review.needs_review(row):
        _queue(row, record, review.counting(review.history([*items, given], row["model"])))
    return answered(described(row["image_id"], row, [*items, given]))


def known(image_id: str) -> tuple[dict[str, Any], Mapping[str, Any], list[table.Item]]:
    """A classified picture's row by the model that is asked for, the item that finds it, and all of its items.

    Raises:
        NoSuchImage, NoSuchModel: as their names say.
    """
    items = _items(_named(image_id)[0])
    record = _record(items, _model())
    if record is None:
        raise NoSuchImage(f"no image {image_id!r} is known")
    return _row(record), record, items


def described(image_id: str, row: Mapping[str, Any] | None, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What callers are shown of a picture; one in quarantine is seen by reviewers alone."""
    labels = review.history(items, row["model"]) if row else []
    quarantined = row is not None and read_results(paths.quarantined(image_id)) is not None
    return {
        "id": image_id,
        "state": "classified" if row else "waiting",
        "verdict": shown(row) if row else None,
        "picture": _picture(row, quarantined) if row else None,
        "quarantined": quarantined,
        "labels": labels,
        "truth": review.counting(labels),
    }


def _say(row: Mapping[str, Any], label: str | None) -> dict[str, Any]:
    """Write a label: first its file, which is the record, then the item that shows it."""
    image, model, by, at, distinct = row["image_id"], row["model"], caller(), now(), uuid.uuid4().hex[:8]
    write_results(paths.label(model, image, at, distinct), review.label_line(image, label, by, at))
    item = review.label_item(image, model, label, by, at, distinct)
    table.put(item)
    return item


def _queue(row: Mapping[str, Any], record: Mapping[str, Any], truth: list[str]) -> None:
    """Take a picture that has its truth out of the queue, and put one that has lost it back."""
    if truth:
        table.delete(review.queue_key(row["model"]), review.rank(row))
    else:
        table.put_new(review.queued(row, record["rows"], record.get("expires")))


def _named(image_id: str) -> tuple[str, bool]:
    """The image id that an id of either kind means, and whether it is that of an upload that is there.

    Raises:
        NoSuchImage, NoSuchModel: it is neither, or nothing was uploaded so far; the model that is asked for is none.
    """
    if _IMAGE_ID.fullmatch(image_id):
        return image_id, False
    config = settings()
    if not config.upload_prefix or not _UPLOAD_ID.fullmatch(image_id):
        raise NoSuchImage(f"no image {image_id[:80]!r} is known")
    for model in dict.fromkeys((_model(), None)):
        key = key_of(config.upload_prefix, image_id, model)
        with suppress(FileNotFoundError):
            found = obstore.head(store(config.images_bucket), key)
            return ImageRef(config.images_bucket, key, (found["e_tag"] or "").strip('"')).image_id, True
    raise NoSuchImage(f"nothing was uploaded as {image_id!r} so far")


def _model() -> str | None:
    """The model that is asked for, if one is. Raises NoSuchModel."""
    return asked_model() if asked(MODEL) else None


def _items(image_id: str) -> list[table.Item]:
    items, after = table.query(review.image_key(image_id))
    while after:
        more, after = table.query(review.image_key(image_id), after=after)
        items += more
    return items


def _record(items: Sequence[Mapping[str, Any]], model: str | None) -> Mapping[str, Any] | None:
    """The item that finds an image's row: of this model, else the latest."""
    wanted = f"row#{model or ''}"
    found = [item for item in items if (item["sk"] == wanted if model else item["sk"].startswith(wanted))]
    return max(found, key=lambda item: item["decided_at"], default=None)


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    """The row that an item finds. Raises NoSuchImage where it is there no more."""
    for line in (read_results(record["rows"]) or b"").splitlines():
        row: dict[str, Any] = json.loads(line)
        if row["image_id"] == record["image_id"]:
            return row
    raise NoSuchImage("the row of this image is gone")


def _picture(row: Mapping[str, Any], quarantined: bool) -> str | None:
    """A URL of the picture; none where it is a part of a shard, or hidden from this caller.

    One in quarantine only a session of the reviewer role can read; so its URL is signed by one.
    """
    hidden = quarantined or row["reason"] == QuarantineFailed.__name__
    if row["member"] or (hidden and not may("reviewer")):
        return None
    bucket, key = split_uri(row["s3_uri"])
    signed_by = reviewer.credentials(caller()) if quarantined else None
    return presigned.get_url(bucket, key, PICTURE_SECONDS, row["version"], credentials=signed_by)
