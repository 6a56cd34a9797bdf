"""What is known of images that were classified before, and who classifies which now: items of the table.

    pk `image#<image id>`, sk `model#<version of the model>`, and then either
    an answer     `prediction` (JSON), `inference_id`, `line`, and `version`, the image's S3 version
    or a claim    `owner` (`<run>/<batch>`), `until` and `expires` (Unix seconds)

An image that changes has another etag, and so is another image. Answers stay; DynamoDB removes claims that are over.
"""

import json
from collections.abc import Mapping
from typing import Any

from ics.contracts import Batch

LEASE = 300
"""Seconds for which a claim holds: a child of the Map, an Express execution, lives no longer."""

Item = Mapping[str, Any]


def key(image_id: str, version: str) -> tuple[str, str]:
    """The `pk` and `sk` of what is known of an image by a version of a model."""
    return f"image#{image_id}", f"model#{version}"


def owner_of(batch: Batch) -> str:
    """Who claims for a batch. A resume of it is the same owner: it runs only when no earlier attempt does."""
    return f"{batch.run}/{batch.batch}"


def claim(image_id: str, version: str, owner: str, now: int) -> dict[str, Any]:
    """The item by which an owner says that it has this image classified; `now` is Unix time."""
    pk, sk = key(image_id, version)
    return {"pk": pk, "sk": sk, "owner": owner, "until": now + LEASE, "expires": now + 24 * 3600}


def may_claim(item: Item, owner: str, now: int) -> bool:
    """Whether an item is a claim that this owner may replace with its own: it has it, or its time is over."""
    return "owner" in item and (item["owner"] == owner or item["until"] < now)


def answer(image_id: str, given: Mapping[str, Any], s3_version: str) -> dict[str, Any]:
    """The item that keeps a staged prediction (see `ics.staging`), under the version of the model that gave it."""
    pk, sk = key(image_id, given["prediction"]["model"])
    told = json.dumps(given["prediction"], ensure_ascii=False, separators=(",", ":"))
    sent = {"inference_id": given["inference_id"], "line": given["line"]}
    return {"pk": pk, "sk": sk, "prediction": told, **sent, "version": s3_version}


def answer_in(item: Item) -> dict[str, Any] | None:
    """The staged prediction in an item, with the image's S3 `version`, or None where it is a claim."""
    if "prediction" not in item:
        return None
    return {
        "id": item["pk"].removeprefix("image#"),
        "prediction": json.loads(item["prediction"]),
        **{name: item[name] for name in ("inference_id", "line", "version")},
    }
