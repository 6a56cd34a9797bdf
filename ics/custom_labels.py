"""Truth labels as a manifest that Amazon Rekognition Custom Labels imports: SageMaker Ground Truth's output format.

Source: Rekognition Custom Labels Developer Guide, "Image-level labels in manifest files" and "Object localization in
manifest files"; "Guidelines and quotas" for what an image may be. A line an image: either all have a label of the whole
picture, or all have boxes.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ics.errors import InvalidLabels
from ics.labels import Opinions, hear, label_from, parse_object, settle

ATTRIBUTE = "ics-label"
"""What a line calls its label; its facts are beside it, as `ics-label-metadata`."""

LEAST_SIDE, MOST_SIDE, MOST_BYTES = 64, 4096, 15_728_640
_EDGES = ("left", "top", "width", "height")


@dataclass(frozen=True, slots=True)
class Truth:
    """What a person says of an image: its label, and the boxes of what is on it, relative to the upright picture.

    `image` is the image's `s3_uri` or `image_id`; a box is its label and left, top, width, height, from 0 to 1. An
    empty label takes back what the same person said; `by` and `at` are as in `ics.labels.Label`.
    """

    image: str
    label: str
    boxes: tuple[tuple[str, float, float, float, float], ...] = ()
    by: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of a stored image: `format` as Pillow names it, its size as it is stored, whether EXIF turns it."""

    format: str
    width: int
    height: int
    depth: int
    size: int
    turned: bool = False


def parse_truths(lines: Iterable[bytes]) -> list[Truth]:
    """A labels file as `ics.labels` describes it, boxes included; empty lines are passed over.

    Raises:
        InvalidLabels: names the line and what is wrong with it.
    """
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_truth(parse_object(line)))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
                raise InvalidLabels(number, problem) from error
    return found


def _truth(fields: Mapping[str, Any]) -> Truth:
    said = label_from(fields)
    if said.label is not None and not said.label.strip():
        raise ValueError("label is empty: nobody could learn from it")
    boxes = tuple(_box(box) for box in fields.get("boxes", []))
    return Truth(said.image_id or said.s3_uri, said.label or "", boxes, said.by, said.at)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{name} is {value!r}; it must be a text that is not empty")
    return value


def _box(fields: Mapping[str, Any]) -> tuple[str, float, float, float, float]:
    left, top, width, height = (fields[name] for name in _EDGES)
    for value in (left, top, width, height):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"a box's {', '.join(_EDGES)} must be numbers from 0 to 1, relative to the picture")
    if not (width > 0 and height > 0 and left + width <= 1 + 1e-6 and top + height <= 1 + 1e-6):
        raise ValueError("a box must lie within the picture, and have a width and a height")
    return _text(fields, "label"), float(left), float(top), float(width), float(height)


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows with the truth of their image, and what is held out: the image as the file names it, and why."""

    rows: Sequence[tuple[Mapping[str, Any], Truth]]
    held_out: Sequence[tuple[str, str]]


def join(truths: Iterable[Truth], rows: Iterable[Mapping[str, Any]]) -> Joined:
    """Find each truth's row. Held out are images whose truths differ, that no row knows, or that failed.

    Of one person the latest counts (`ics.labels`); an image that is said twice the same counts once.
    """
    by_name: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        by_name[row["image_id"]] = by_name[row["s3_uri"]] = row
    said: dict[str, Opinions[Truth]] = defaultdict(dict)
    held_out = []
    for truth in truths:
        if truth.image in by_name:
            uri = by_name[truth.image]["s3_uri"]
            meant = Truth(uri, truth.label, truth.boxes) if truth.label else None
            hear(said[uri], truth.by, truth.at, [meant])
        else:
            held_out.append((truth.image, "no row of these runs is about it"))
    joined = []
    for uri, opinions in said.items():
        row, settled = by_name[uri], settle(opinions)
        if settled.conflict:
            labels = ", ".join(sorted({str(one and one.label) for _, one in settled.conflict}))
            held_out.append((uri, f"its labels differ: {labels}" if "," in labels else "its boxes differ"))
        elif settled.label is None:
            held_out.append((uri, "its label was taken back"))
        elif row["decision"] == "failed":
            held_out.append((uri, f"it failed: {row['reason']}"))
        else:
            joined.append((row, settled.label))
    return Joined(joined, held_out)


def unfit(picture: Picture) -> str | None:
    """Why Custom Labels would not take this image, None where it does."""
    if picture.format not in ("JPEG", "PNG"):
        return f"{picture.format} is not imported: convert it to JPEG or PNG"
    if picture.turned:
        return "EXIF turns it, and a manifest's boxes do not follow: save it upright"
    if min(picture.width, picture.height) < LEAST_SIDE or max(picture.width, picture.height) > MOST_SIDE:
        return f"{picture.width} x {picture.height} pixels: a side must have {LEAST_SIDE} to {MOST_SIDE}"
    if picture.size > MOST_BYTES:
        return f"{picture.size:,} bytes; the limit is {MOST_BYTES:,}"
    return None


def whole_picture_line(uri: str, label: str, labels: Sequence[str], created: str) -> dict[str, Any]:
    """The manifest's line of an image with a label of the whole picture; `labels` are all there are, in order."""
    facts = {
        "confidence": 1,
        "job-name": f"labeling-job/{ATTRIBUTE}",
        "class-name": label,
        "human-annotated": "yes",
        "creation-date": created,
        "type": "groundtruth/image-classification",
    }
    return {"source-ref": uri, ATTRIBUTE: labels.index(label), f"{ATTRIBUTE}-metadata": facts}


def boxes_line(uri: str, truth: Truth, picture: Picture, labels: Sequence[str], created: str) -> dict[str, Any]:
    """The manifest's line of an image with boxes, which it wants in whole pixels, within the picture."""
    annotations = []
    for label, left, top, width, height in truth.boxes:
        x, y = math.floor(left * picture.width), math.floor(top * picture.height)
        annotations.append(
            {
                "class_id": labels.index(label),
                "left": x,
                "top": y,
                "width": max(1, min(round(width * picture.width), picture.width - x)),
                "height": max(1, min(round(height * picture.height), picture.height - y)),
            }
        )
    size = {"width": picture.width, "height": picture.height, "depth": picture.depth}
    facts = {
        "objects": [{"confidence": 1} for _ in annotations],
        "class-map": {str(number): label for number, label in enumerate(labels)},
        "type": "groundtruth/object-detection",
        "human-annotated": "yes",
        "creation-date": created,
        "job-name": f"labeling-job/{ATTRIBUTE}",
    }
    return {
        "source-ref": uri,
        ATTRIBUTE: {"image_size": [size], "annotations": annotations},
        f"{ATTRIBUTE}-metadata": facts,
    }
