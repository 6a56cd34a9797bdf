"""How labels and predictions find each other, in constant memory and in any number of partitions.

The way of the data: files -> by a hash of the image's URI, partitions -> `Counts`. A prediction has a URI and an image
id; a label names one of them. So labels that name an id take a detour: they are partitioned by it, find the URI there,
and go on to the URI's partition, where all that is said of an image meets, however it is named.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ics.accuracy import Counts, Pair
from ics.contracts import DECISIONS
from ics.labels import Opinions, hear, moment, parse_label, parse_object, settle, spelled, text_of

MAX_LINE_BYTES = 1024 * 1024
"""Bytes of a line that is looked at."""


def partition_of(name: str, partitions: int) -> int:
    """The partition of an image's URI or id: its CRC-32, which is the same everywhere."""
    return zlib.crc32(name.encode()) % partitions


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes | None]:
    """The lines of a file in constant memory; None is one longer than `MAX_LINE_BYTES`. Blank ones count, too."""
    rest, long = b"", False
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield None if long or len(line) > MAX_LINE_BYTES else line
            long = False
        if len(rest) > MAX_LINE_BYTES:
            rest, long = b"", True
    if rest or long:
        yield None if long else rest


LabelRecord = tuple[str, str, str | None, str, str]
"""A label on its way: URI (empty where unknown), image id (empty where it does not name one), label, by, at."""

RowRecord = tuple[str, str, str, str, str | None, float | None, str, bool]
"""A prediction on its way: URI, image id, version, decision, label (None: failed), confidence, decided at, is text."""


def parse_truth(line: bytes) -> LabelRecord:
    """A line of a labels file, as it travels. Raises as `parse_label`."""
    label = parse_label(line)
    return label.s3_uri, label.image_id, label.label, label.by, label.at


def parse_prediction(line: bytes) -> RowRecord:
    """A result row, or a line of somebody's own: `s3_uri` or `image_id`, `label`, `confidence`, and more of its keys.

    Other keys are passed over, for rows have many. An image without a URI goes by its id, and the other way round.

    Raises:
        ValueError, TypeError, RecursionError: says what is wrong with it.
    """
    fields = parse_object(line)
    uri, image_id = text_of(fields, "s3_uri"), text_of(fields, "image_id")
    if not uri and not image_id:
        raise ValueError("it names no image: image_id or s3_uri is missing")
    decision = text_of(fields, "decision")
    if decision and decision not in DECISIONS:
        raise ValueError(f"decision is {decision[:40]!r}; it must be one of {', '.join(DECISIONS)}")
    is_text = fields.get("text") is not None
    said = text_of(fields, "text" if is_text else "label")
    if decision != "failed" and not is_text and fields.get("label") is None:
        raise ValueError("label is missing")
    return (
        uri or image_id,
        image_id or uri,
        text_of(fields, "model_version"),
        decision,
        None if decision == "failed" else spelled(said),
        _confidence(fields),
        moment(text_of(fields, "decided_at")),
        is_text,
    )


def parse_pair(line: bytes, uri: str) -> tuple[LabelRecord, RowRecord]:
    """A line `{"label", "truth", "confidence"?}`, as a label and a prediction of an image of its own, named `uri`.

    Raises:
        ValueError, TypeError, RecursionError: says what is wrong with it.
    """
    fields = parse_object(line)
    unknown = sorted(fields.keys() - {"label", "truth", "confidence"})
    if unknown:
        raise ValueError(f"unknown key {unknown[0][:40]!r}; allowed are: confidence, label, truth")
    for name in ("label", "truth"):
        if fields.get(name) is None:
            raise ValueError(f"{name} is missing")
    said, truth = spelled(text_of(fields, "label")), spelled(text_of(fields, "truth"))
    return (uri, "", truth, "", ""), (uri, uri, "", "", said, _confidence(fields), "", False)


def _confidence(fields: Mapping[str, Any]) -> float | None:
    value = fields.get("confidence")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"confidence is {value!r:.40}; it must be a number from 0 to 1")
    return float(value)


@dataclass(slots=True)
class Locating:
    """Labels that name an image by its id, and the ids of all images: together they tell where the labels belong.

    It holds what people say of the partition's labelled images, and no others.
    """

    _said: dict[str, Opinions[str]] = field(default_factory=dict)
    _uris: dict[str, str] = field(default_factory=dict)

    def label(self, record: LabelRecord) -> None:
        """Take in a label; all of them before the first image."""
        _, image_id, label, by, at = record
        hear(self._said.setdefault(image_id, {}), by, at, [label])

    @property
    def wanted(self) -> bool:
        """Whether any label names an image by its id."""
        return bool(self._said)

    def image(self, image_id: str, uri: str) -> None:
        """Take in where an image is. One that is at several places is at the first of them by its name."""
        if image_id in self._said:
            self._uris[image_id] = min(self._uris.get(image_id, uri), uri)

    def labels(self) -> Iterator[LabelRecord]:
        """The labels that count for somebody, with the URI of their image; of one that no row knows, its id."""
        for image_id, opinions in self._said.items():
            uri = self._uris.get(image_id, image_id)
            for by, (at, said) in opinions.items():
                for label in said:
                    yield uri, image_id, label, by, at


@dataclass(slots=True)
class _Image:
    """What is known of an image: what people say of it, its latest row, and that of each version that predicted it."""

    opinions: Opinions[str] = field(default_factory=dict)
    latest: str = ""
    rows: dict[str, RowRecord] = field(default_factory=dict)
    failed: bool = False


@dataclass(slots=True)
class Joining:
    """Labels and predictions of a partition. It holds its labelled images, and passes over all other rows."""

    counts: Counts = field(default_factory=Counts)
    _places: dict[str, dict[str, _Image]] = field(default_factory=dict)

    def label(self, record: LabelRecord) -> None:
        """Take in a label; all of them before the first prediction."""
        uri, image_id, label, by, at = record
        hear(self._places.setdefault(uri, {}).setdefault(image_id, _Image()).opinions, by, at, [label])

    def prediction(self, record: RowRecord) -> None:
        """Take in a row: of one image and one version the latest counts."""
        uri, image_id, version, _, said, _, decided_at, _ = record
        answered = None if said is None else self.counts.version(version)
        if answered is not None:
            answered.latest = max(answered.latest, decided_at)
        place = self._places.get(uri)
        if place is None:
            return
        image = place.setdefault(image_id, _Image())
        if said is None:
            image.failed = True
            return
        image.latest = max(image.latest, decided_at)
        before = image.rows.get(version)
        if before is None or _order(before) < _order(record):
            image.rows[version] = record

    def joined(self) -> Counts:
        """All counted. A label that names only a URI is about the image that was predicted there last."""
        for uri, images in self._places.items():
            unnamed = images.pop("", None)
            if unnamed is not None:
                known = max(
                    images.items(), key=lambda one: (bool(one[1].rows), one[1].latest, one[0]), default=(uri, unnamed)
                )[0]
                for by, (at, said) in unnamed.opinions.items():
                    hear(images.setdefault(known, _Image()).opinions, by, at, said)
            for image_id, image in images.items():
                if image.opinions:
                    self._count(uri, image_id, image)
        return self.counts

    def _count(self, uri: str, image_id: str, image: _Image) -> None:
        counts, settled = self.counts, settle(image.opinions)
        if settled.conflict:
            counts.conflicting += 1
            said = [{"by": by, "label": label} for by, label in settled.conflict]
            counts.named_conflicts.add([uri, image_id], {"s3_uri": uri, "image_id": image_id, "labels": said[:20]})
        elif settled.label is None:
            counts.withdrawn += 1
        else:
            counts.labelled += 1
            if image.failed and not image.rows:
                counts.failed += 1
            elif not image.rows:
                counts.unknown += 1
                counts.named_unknown.add([uri, image_id], {"s3_uri": uri, "image_id": image_id})
            for version, row in image.rows.items():
                _, _, _, decision, answer, confidence, _, is_text = row
                pair = Pair(settled.label, answer or "", confidence, decision, is_text, uri, image_id)
                counts.add(version, pair)


def _order(record: RowRecord) -> tuple[str, str]:
    """Which of two rows counts: the later; of equally late ones always the same."""
    return record[6], repr(record)
