"""Which images a person is asked to look at, and what the table knows of single images: its items, made here.

    pk `image#<image id>`, sk `row#<model>`                     where the image's row lies, and how it was decided
    pk `image#<image id>`, sk `label#<model>#<time>#<hex>`      a truth label that somebody gave, or withdrew
    pk `review#<model>`,   sk `<rank>#<image id>`               the image waits for a reviewer; whoever has it holds it

S3 rows and label files are the record; items are found by key, and those of images that no person brought by hand go
after `KEPT_DAYS`. The rank sorts as text: flagged first, then uncertain by rising confidence.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ics.contracts import dump_line
from ics.labels import Opinions, hear

KEPT_DAYS = 90
"""How long an image of a run waits for a reviewer, and is found by its id."""

LEASE_SECONDS = 600
"""How long an image is a reviewer's who was given it."""

REVIEWED = ("flagged", "uncertain")
"""The decisions that ask for a person; what failed has no answer to judge."""

_IN_QUEUE = ("s3_uri", "label", "confidence", "decision", "reason", "decided_at")
_MAX_LABEL = 200

Item = dict[str, Any]
Row = Mapping[str, Any]


def image_key(image_id: str) -> str:
    """The `pk` of what is known of an image."""
    return f"image#{image_id}"


def queue_key(model: str) -> str:
    """The `pk` of the images that wait for a reviewer."""
    return f"review#{model}"


def rank(row: Row) -> str:
    """The `sk` of an image in the queue: whoever sorts by it has the worst first."""
    return f"{REVIEWED.index(row['decision'])}-{row['confidence'] or 0.0:.6f}#{row['image_id']}"


def needs_review(row: Row) -> bool:
    """Whether a person is asked about it."""
    return row["decision"] in REVIEWED


def record(row: Row, rows_key: str, expires: int | None) -> Item:
    """The item that finds an image's row, which is in the results bucket under `rows_key`."""
    fields = {name: row[name] for name in ("image_id", "decision", "decided_at", "s3_uri", "version")}
    item = {"pk": image_key(row["image_id"]), "sk": f"row#{row['model']}", "rows": rows_key, **fields}
    if needs_review(row):
        item["rank"] = rank(row)
    return _expiring(item, expires)


def queued(row: Row, rows_key: str, expires: int | None) -> Item:
    """The item by which an image waits for a reviewer: little more than a list shows, so that it is cheap to write."""
    item = {"pk": queue_key(row["model"]), "sk": rank(row), "image_id": row["image_id"], "rows": rows_key}
    item |= {name: row[name] for name in _IN_QUEUE if row[name] is not None}
    if "label" in item:
        item["label"] = item["label"][:_MAX_LABEL]
    return _expiring(item, expires)


def waiting(item: Mapping[str, Any]) -> dict[str, Any]:
    """What a reviewer is told of an item of the queue."""
    return {"image_id": item["image_id"], **{name: item.get(name) for name in _IN_QUEUE}}


def label_item(image_id: str, model: str, label: str | None, by: str, at: str, distinct: str) -> Item:
    """The item of a truth label; one without `label` withdraws."""
    item: Item = {"pk": image_key(image_id), "sk": f"label#{model}#{at}#{distinct}", "by": by, "at": at}
    return item if label is None else {**item, "label": label}


def label_line(image_id: str, label: str | None, by: str, at: str) -> bytes:
    """The same as a line of the label files in S3."""
    return dump_line({"image_id": image_id, "label": label, "by": by, "at": at})


def history(items: Iterable[Mapping[str, Any]], model: str) -> list[dict[str, Any]]:
    """The labels that an image was given for a model, in the order of their time: `label` (or None), `by`, `at`."""
    found = [item for item in items if item["sk"].startswith(f"label#{model}#")]
    return [
        {"label": item.get("label"), "by": item["by"], "at": item["at"]}
        for item in sorted(found, key=lambda item: item["sk"])
    ]


def counting(labels: Iterable[Mapping[str, Any]]) -> list[str]:
    """The labels that count: of each person the latest, none where that withdraws. Several are a conflict."""
    opinions: Opinions[str] = {}
    for one in labels:
        hear(opinions, one["by"], one["at"], [one["label"]])
    return sorted({label for _, said in opinions.values() for label in said if label is not None})


def _expiring(item: Item, expires: int | None) -> Item:
    return item if expires is None else {**item, "expires": expires}
