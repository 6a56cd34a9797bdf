"""Images in quarantine: what is written down of each, and in which order one is released or hidden by hand.

Of each there is an entry (`paths.quarantined`) from when it is hidden until it is released. Each act of a person leaves
a record of who did it, when and why (`paths.quarantine_record`), written before anything is done: so that nothing is
done of which nobody can say who wanted it.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from ics import paths
from ics.contracts import ImageRef
from ics.request import split_uri

LONGEST_REASON = 1000
"""Characters of a reason."""

_OF_THE_ROW = ("image_id", "s3_uri", "version", "label", "confidence", "run", "batch", "policy")

Entry = dict[str, Any]


class Place(Protocol):
    """What a reviewer may do in S3, whoever asks for it."""

    def write(self, key: str, content: bytes) -> None:
        """Write an object of the results bucket."""

    def delete(self, key: str) -> None:
        """Delete an object of the results bucket."""

    def take_tag_off(self, image: ImageRef) -> None:
        """Take the quarantine's tag off an image, and no other; of one that is gone there is nothing to take."""


def entry_of(row: Mapping[str, Any], at: str) -> Entry:
    """What is listed of an image, by its result row; `at` is ISO 8601 UTC."""
    return {name: row[name] for name in _OF_THE_ROW} | {"quarantined_at": at}


def image_of(entry: Mapping[str, Any]) -> ImageRef:
    """The very version of the object that is hidden."""
    return ImageRef(*split_uri(entry["s3_uri"]), version=entry["version"])


def reason(text: str) -> str:
    """A reason as it is kept: in one line. Raises ValueError where there is none, or too much of it."""
    text = " ".join(text.split())
    if not 1 <= len(text) <= LONGEST_REASON:
        raise ValueError(f"a reason of 1 to {LONGEST_REASON:,} characters is needed")
    return text


def by_hand(row: Mapping[str, Any], by: str, because: str, at: str, place: Place) -> Entry:
    """Write down who hides an image and why; returns its entry, with which it can be hidden."""
    entry = {**entry_of(row, at), "quarantined_by": by, "quarantined_because": because}
    place.write(paths.quarantine_record(entry["image_id"], at, "quarantined"), dumped(entry))
    return entry


def release(entry: Mapping[str, Any], by: str, because: str, at: str, place: Place) -> dict[str, Any]:
    """Write down who releases an image and why, then make it readable again; returns what was written."""
    record = {**entry, "released_at": at, "released_by": by, "because": because}
    place.write(paths.quarantine_record(entry["image_id"], at, "released"), dumped(record))
    place.take_tag_off(image_of(entry))
    place.delete(paths.quarantined(entry["image_id"]))
    return record


def dumped(entry: Mapping[str, Any]) -> bytes:
    """An entry or a record as it lies in S3."""
    return json.dumps(entry, ensure_ascii=False).encode()
