"""What a person asks for: the execution's input, checked.

The JSON Schema of the request is `statemachine/classify_images.schema.json`; a test holds the two together.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ics.contracts import MODES, ImageRef, Mode
from ics.errors import InvalidRequest

MAX_INLINE_IMAGES = 100
"""Images in the request itself; beyond, a manifest keeps the state small (AWS refuses state over 256 KiB)."""

MAX_KEY_BYTES = 1024
"""S3's limit for a key, in UTF-8 bytes."""

MANIFEST_ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json")

MAX_RUN_NAME = 80
"""Characters of an execution's name (Step Functions API reference, StartExecution)."""

# What that reference says a name must not contain; a name of dots only would be another folder.
_RUN_NAME = re.compile(r"(?!\.+$)[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")

_SOURCES = ("images", "prefix", "manifest")
_OPTIONS = ("model", "threshold", "mode", "tolerated_percent", "skip_classified")


@dataclass(frozen=True, slots=True)
class Images:
    """The images themselves, at most `MAX_INLINE_IMAGES`."""

    refs: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True)
class Prefix:
    """All objects of `bucket` whose key begins with `prefix`."""

    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """An S3 object that lists the images; its ending is one of `MANIFEST_ENDINGS`."""

    bucket: str
    key: str


Source = Images | Prefix | Manifest


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A checked request. `tolerated_percent` counts in tolerant mode only.

    `threshold` and `skip_classified` are None where it names none.
    """

    source: Source
    model: str
    threshold: float | None
    mode: Mode
    tolerated_percent: float
    skip_classified: bool | None = None


def resumed_run(request: Mapping[str, Any]) -> str | None:
    """The run that the request resumes, None where it asks for a new one.

    Raises:
        InvalidRequest: `resume` is no run's name, or is not alone.
    """
    if not isinstance(request, Mapping) or "resume" not in request:
        return None
    run = request["resume"]
    if not isinstance(run, str) or not _RUN_NAME.fullmatch(run):
        raise InvalidRequest(
            f"resume is {_shown(run)}; it must be the name of a run, at most {MAX_RUN_NAME} characters"
        )
    if len(request) > 1:
        others = ", ".join(sorted(request.keys() - {"resume"}))
        raise InvalidRequest(f"a resumed run keeps its own source and options: give resume alone, without {others}")
    return run


def parse_request(request: Mapping[str, Any], *, models: Iterable[str], default_model: str) -> RunRequest:
    """Check a request and fill in what it leaves out, but for the threshold, which the routing policy may name.

    Args:
        request: the execution's input.
        models: the names of the environment's models.
        default_model: the model where the request names none.

    Raises:
        InvalidRequest: says which key is wrong and what is allowed.
    """
    if not isinstance(request, Mapping):
        raise InvalidRequest(f"the input must be a JSON object, not {type(request).__name__}")
    unknown = sorted(request.keys() - {*_SOURCES, *_OPTIONS})
    if unknown:
        raise InvalidRequest(f"unknown key {_shown(unknown[0])}; allowed are: {', '.join((*_SOURCES, *_OPTIONS))}")
    given = [name for name in _SOURCES if name in request]
    if len(given) != 1:
        found = " and ".join(given) if given else "none"
        raise InvalidRequest(f"give exactly one of images, prefix or manifest, or resume alone; found {found}")
    mode = request.get("mode", "strict")
    if mode not in MODES:
        raise InvalidRequest(f"mode is {_shown(mode)}; it must be strict or tolerant")
    skip = request.get("skip_classified")
    if "skip_classified" in request and not isinstance(skip, bool):
        raise InvalidRequest(f"skip_classified is {_shown(skip)}; it must be true or false")
    if "tolerated_percent" in request and mode != "tolerant":
        raise InvalidRequest("tolerated_percent counts in tolerant mode only; add mode: tolerant")
    model = request.get("model", default_model)
    names = sorted(models)
    if model not in names:
        raise InvalidRequest(f"no model {_shown(model)} in this environment; it has: {', '.join(names)}")
    return RunRequest(
        source=_parse_source(given[0], request[given[0]]),
        model=model,
        threshold=_number(request, "threshold", 0.0, 0.0, 1.0) if "threshold" in request else None,
        mode=cast("Mode", mode),
        tolerated_percent=_number(request, "tolerated_percent", 100.0, 0.0, 100.0),
        skip_classified=skip,
    )


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key (possibly empty) of `s3://bucket/key`. Nothing in the key is decoded.

    Raises:
        ValueError: not such a URI.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"{_shown(uri)} is not of the form s3://bucket/key")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"{_shown(key)} has {len(key.encode()):,} bytes; S3 allows {MAX_KEY_BYTES:,}")
    return bucket, key


def _shown(value: object) -> str:
    """A value as a message shows it: readable, and short whatever somebody typed."""
    shown = repr(value)
    return shown if len(shown) <= 200 else shown[:197] + "..."


def _parse_source(name: str, value: Any) -> Source:
    if name == "images":
        if not isinstance(value, list) or not value:
            raise InvalidRequest("images must be a list of at least one image")
        if len(value) > MAX_INLINE_IMAGES:
            raise InvalidRequest(
                f"{len(value):,} images in the request; the limit is {MAX_INLINE_IMAGES}: write them to a manifest "
                "(.jsonl, .csv or .json in S3) and give its URI as manifest"
            )
        refs = []
        for number, image in enumerate(value, 1):
            try:
                refs.append(parse_image(image))
            except (ValueError, TypeError) as error:
                raise InvalidRequest(f"image {number}: {error}") from error
        return Images(tuple(refs))
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string of the form s3://bucket/key")
    try:
        bucket, key = split_uri(value)
    except ValueError as error:
        raise InvalidRequest(f"{name}: {error}") from error
    if name == "prefix":
        return Prefix(bucket, key)
    if not key.lower().endswith(MANIFEST_ENDINGS):
        raise InvalidRequest(f"manifest {_shown(value)} must end in {', '.join(MANIFEST_ENDINGS)}")
    return Manifest(bucket, key)


def _number(request: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidRequest(f"{name} is {_shown(value)}; it must be a number from {low:g} to {high:g}")
    return float(value)


def parse_image(value: Any) -> ImageRef:
    """One image as a request or a manifest names it: `"s3://bucket/key"`, or an object with bucket and key.

    Raises:
        ValueError, TypeError: says what is wrong with it.
    """
    if isinstance(value, str):
        bucket, key = split_uri(value)
        fields: Mapping[str, Any] = {"bucket": bucket, "key": key}
    elif isinstance(value, Mapping):
        fields = {name.removeprefix("s3_"): text for name, text in value.items()}
        if {"s3_bucket", "s3_key"} & value.keys() and {"bucket", "key"} & value.keys():
            raise ValueError("bucket or key is given twice or mixed: write both with s3_ or both without")
        unknown = sorted(fields.keys() - {"bucket", "key", "etag", "version"})
        if unknown:
            raise ValueError(f"unknown key {_shown(unknown[0])}; allowed are: s3_bucket, s3_key, etag, version")
    else:
        raise TypeError("expected an s3:// URI or an object with s3_bucket and s3_key")
    for name in ("bucket", "key"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise ValueError(f"s3_{name} is missing or empty")
    etag, version = fields.get("etag") or "", fields.get("version") or ""
    if not isinstance(etag, str) or not isinstance(version, str):
        raise TypeError("etag and version must be strings")
    for text in (fields["bucket"], fields["key"], etag, version):
        # S3 allows no more in any of them; lone surrogates, which JSON can spell, fail here as the ValueError they are.
        if len(text.encode()) > MAX_KEY_BYTES:
            raise ValueError(f"{_shown(text)} has {len(text.encode()):,} bytes; S3 allows {MAX_KEY_BYTES:,}")
    return ImageRef(fields["bucket"], fields["key"], etag.strip('"'), version)
