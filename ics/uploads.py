"""Uploads as S3 tells of them: events read, told apart, ordered, and gathered into a run's name and manifest.

An upload is one PUT: of a versioned bucket its version names it, else its sequencer. What is uploaded to a key again is
another upload, whether its content differs or not; an event that is delivered again is the same one.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ics.contracts import ImageRef, dump_line
from ics.errors import InvalidEvent
from ics.request import MAX_KEY_BYTES

MAX_SEQUENCER = 64
"""Hexadecimal digits of a sequencer that are compared; S3 writes some 18."""

MAX_BYTES = 10**18
"""Bytes that no object has; a manifest, which tells of many uploads, would be refused for a line that says more."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One PUT of an object. `sequencer` orders the uploads to one key; `at` is when S3 told of it, with its zone.

    `size` is in bytes.
    """

    image: ImageRef
    sequencer: str
    at: datetime
    size: int = 0

    @property
    def upload_id(self) -> str:
        """Names this upload: hex SHA-256 of bucket, key, and what tells it from others to the same key, a line each."""
        image = self.image
        told_by = image.version or self.sequencer or image.etag
        return hashlib.sha256(f"{image.bucket}\n{image.key}\n{told_by}".encode()).hexdigest()

    @property
    def is_folder(self) -> bool:
        """Whether it is no picture but what consoles make to show an empty folder."""
        return self.image.key.endswith("/")


_CHOSEN = "model="
"""How the folder under the prefix begins whose uploads name the model that they are for."""

_FOR_A_MODEL = re.compile(_CHOSEN + "([^/]{1,63})/.")


def key_of(prefix: str, upload: str, model: str | None) -> str:
    """The key of an upload of this name under the prefix, for a model or for the environment's own choice."""
    return f"{prefix}{_CHOSEN}{model}/{upload}" if model else f"{prefix}{upload}"


def model_of(key: str, prefix: str) -> str | None:
    """The model that an upload's key names, if it does: whether there is one of this name says the run."""
    found = _FOR_A_MODEL.match(key.removeprefix(prefix))
    return found[1] if found else None


def parse_upload(body: str, *, bucket: str, prefix: str) -> Upload:
    """Read EventBridge's event "Object Created" about an object of `bucket` under `prefix`.

    Source: Amazon S3 User Guide, "EventBridge event message structure". The key is as it is, not URL-encoded;
    `version-id` is missing where the bucket is not versioned.

    Raises:
        InvalidEvent: it is no such event; says what is wrong.
    """
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"not JSON: {error}") from error
    if not isinstance(event, Mapping) or event.get("detail-type") != "Object Created":
        raise InvalidEvent("not an event with the detail-type 'Object Created'")
    try:
        told: Mapping[str, Any] = event["detail"]["object"]
        key, etag, version, sequencer = (told.get(name, "") for name in ("key", "etag", "version-id", "sequencer"))
        # A bucket whose versioning is suspended gives all its objects the version "null".
        image = ImageRef(event["detail"]["bucket"]["name"], key, etag.strip('"'), "" if version == "null" else version)
        at = datetime.fromisoformat(event["time"])
        if at.tzinfo is None or (sequencer != "" and int(sequencer, 16) < 0):
            raise ValueError("time has no zone, or sequencer is no hexadecimal number")
        size = told.get("size", 0)
        if type(size) is not int or not 0 <= size < MAX_BYTES:
            raise ValueError("size is no number of bytes")
        lengths = [len(text.encode()) for text in (image.bucket, key, image.etag, version)]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidEvent(f"a field is missing or wrong: {error}") from error
    if image.bucket != bucket or not key.startswith(prefix):
        raise InvalidEvent(f"{image.uri[:200]!r} is not under s3://{bucket}/{prefix}")
    if max(lengths) > MAX_KEY_BYTES or len(sequencer) > MAX_SEQUENCER:
        raise InvalidEvent("a name is longer than S3 allows")
    return Upload(image, sequencer, at, size)


def latest(uploads: Iterable[Upload]) -> list[Upload]:
    """All uploads but those of an unversioned bucket whose object a later one has replaced, in the order of their keys.

    Of those only the latest content is there to be read. Sequencers are compared as numbers whose digits begin at the
    left (S3 User Guide, "Event message structure": the shorter one is padded on the right with zeros).
    """
    kept: dict[tuple[str, str, str], Upload] = {}
    for upload in uploads:
        place = upload.image.bucket, upload.image.key, upload.image.version
        if place not in kept or _order(kept[place]) < _order(upload):
            kept[place] = upload
    return [kept[place] for place in sorted(kept)]


def run_name(uploads: Collection[Upload]) -> str:
    """The run over these uploads, whatever order they come in: `event-`, when the first was made, and a hash of all."""
    ids = "\n".join(sorted(upload.upload_id for upload in uploads))
    first = min(upload.at for upload in uploads)
    return f"event-{first:%Y%m%d-%H%M%S}-{hashlib.sha256(ids.encode()).hexdigest()[:12]}"


def manifest_of(uploads: Iterable[Upload]) -> bytes:
    """A manifest as JSON Lines, which names each image's etag and version: what was uploaded is what is classified."""
    return b"".join(map(dump_line, map(_line, uploads)))


def _line(upload: Upload) -> dict[str, str | int]:
    image = upload.image
    known = {"etag": image.etag, "version": image.version}
    line: dict[str, str | int] = {"bucket": image.bucket, "key": image.key}
    return line | {name: text for name, text in known.items() if text} | {"size": upload.size}


def _order(upload: Upload) -> str:
    return upload.sequencer.upper().ljust(MAX_SEQUENCER, "0")
