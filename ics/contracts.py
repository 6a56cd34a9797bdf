"""What travels between the parts of ICS: frozen types, and the JSON they become.

An image on its way: `ImageRef` (where it is) -> `Prediction` (what the model says) -> `Verdict` (what we decide) ->
result row (the record in S3). In state machine state only `Batch` travels: references and counts, never pixels.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Decision = Literal["accepted", "uncertain", "flagged", "failed"]
Mode = Literal["strict", "tolerant"]

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # `json.dumps` would make one a line

DECISIONS: tuple[Decision, ...] = ("accepted", "uncertain", "flagged", "failed")
MODES: tuple[Mode, ...] = ("strict", "tolerant")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image: an S3 object, or a member of a shard, which is a tar object.

    `etag` (unquoted) and `version` are the object's, empty where unknown. `member` names the shard's member, whose
    `size` bytes begin at byte `offset` of the object; for an object that is itself the image it is empty, and they are
    0. `fault` is the reason why PlanRun found that this cannot be read: an `ImageError`'s name. A shard without member,
    but with a fault, stands for all that could not be planned of it.
    """

    bucket: str
    key: str
    etag: str = ""
    version: str = ""
    member: str = ""
    offset: int = 0
    size: int = 0
    fault: str = ""

    @property
    def path(self) -> str:
        """The key; for a member of a shard, `key#member`."""
        return f"{self.key}#{self.member}" if self.member else self.key

    @property
    def uri(self) -> str:
        """`s3://bucket/key`, or `s3://bucket/key#member`, as they are, not URL-encoded."""
        return f"s3://{self.bucket}/{self.path}"

    @property
    def image_id(self) -> str:
        """Names this content at this place: hex SHA-256 of bucket, path and etag, a line each."""
        return hashlib.sha256(f"{self.bucket}\n{self.path}\n{self.etag}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another label the model considered, or a character that it read, with its confidence in [0, 1]."""

    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Box:
    """A detected object. Coordinates and sizes are relative to the picture, in [0, 1], from its top left."""

    label: str
    confidence: float
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one image.

    One type for three kinds of model: *classification* (label, confidence, alternatives), *text* (`text` is the line
    that was read and also the label, both empty where the model read nothing; `alternatives` are its characters, in
    order, each with its own confidence; `confidence` is that of the line as a whole) and *detection* (the surest label,
    empty where nothing was found; the others as `alternatives`; boxes of those that have a place). `model` is the
    version of the model: the SHA-256 of its graph; Rekognition's own version; the SHA-256 of a Custom Labels version's
    ARN.
    """

    label: str
    confidence: float
    alternatives: tuple[Alternative, ...] = ()
    boxes: tuple[Box, ...] = ()
    text: str | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ICS decides about one image, and why. `reason` is None for an accepted image.

    `threshold` is the one that was applied, None where the image did not get so far.
    """

    image: ImageRef
    decision: Decision
    reason: str | None
    prediction: Prediction | None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One child of the Map: some lines of a run's images.jsonl, and how to judge them.

    `offset` and `length` are bytes of images.jsonl; `started` is the run's start, ISO 8601 UTC, on which the rows' date
    partition depends (so that a batch judged after midnight still lands beside its siblings). `threshold` is the run's
    global one; `policy` is the version of its routing policy. `attempt` is 0 for the run itself, and counts its
    resumes: what they stage and send has names of its own, their rows replace the run's. `skip_classified`: what the
    ledger knows of an image and the model is not asked again.
    """

    run: str
    started: str
    model: str
    threshold: float
    batch: int
    offset: int
    length: int
    policy: str = ""
    attempt: int = 0
    skip_classified: bool = False

    @property
    def date(self) -> str:
        """The run's start date, yyyy-mm-dd: the rows' `dt` partition."""
        return self.started[:10]


def batch_from(event: Mapping[str, Any]) -> Batch:
    """The batch in a state's input, which may carry more keys than the batch's own."""
    return Batch(**{name: event[name] for name in Batch.__slots__})


def dump_line(value: object) -> bytes:
    """One line of JSON Lines: compact JSON, UTF-8, ending in a newline."""
    return _compact(value).encode() + b"\n"


def fields_of(value: Any) -> dict[str, Any]:
    """A slotted dataclass as a dictionary, one level deep: several times as fast as `asdict`, which copies."""
    return {name: getattr(value, name) for name in value.__slots__}


def image_to_json(ref: ImageRef) -> dict[str, Any]:
    """A reference as a line holds it: what is unknown or does not apply is left out."""
    fields: dict[str, Any] = {"bucket": ref.bucket, "key": ref.key}
    if ref.etag:
        fields["etag"] = ref.etag
    if ref.version:
        fields["version"] = ref.version
    if ref.member:
        fields |= {"member": ref.member, "offset": ref.offset, "size": ref.size}
    if ref.fault:
        fields["fault"] = ref.fault
    return fields


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as the wire format writes it; empty `boxes` and absent `text` are left out."""
    fields: dict[str, Any] = {
        "label": prediction.label,
        "confidence": prediction.confidence,
        "alternatives": tuple([fields_of(other) for other in prediction.alternatives]),
    }
    if prediction.boxes:
        fields["boxes"] = tuple([fields_of(box) for box in prediction.boxes])
    if prediction.text is not None:
        fields["text"] = prediction.text
    fields["model"] = prediction.model
    return fields


def prediction_from_json(fields: Mapping[str, Any]) -> Prediction:
    """A prediction from the wire format.

    Raises:
        ValueError, TypeError, KeyError: a field is missing, of the wrong type or out of its range.
    """
    return Prediction(
        label=_text(fields, "label"),
        confidence=_unit(fields, "confidence"),
        alternatives=tuple(
            Alternative(_text(other, "label"), _unit(other, "confidence")) for other in fields.get("alternatives", ())
        ),
        boxes=tuple(
            Box(
                _text(box, "label"),
                *(_unit(box, name) for name in ("confidence", "left", "top", "width", "height")),
            )
            for box in fields.get("boxes", ())
        ),
        text=_text(fields, "text") if fields.get("text") is not None else None,
        model=_text(fields, "model") if "model" in fields else "",
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a string")
    value.encode()  # refuses lone surrogates, which JSON can spell but UTF-8 cannot
    return value


def _unit(fields: Mapping[str, Any], name: str) -> float:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is not a number")
    if not 0.0 <= value <= 1.0:  # also refuses NaN
        raise ValueError(f"{name} is not within 0 and 1")
    return float(value)
