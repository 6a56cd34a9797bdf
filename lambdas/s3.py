"""S3 as the functions need it: read an image, list a prefix, read and write a run's files; errors by ICS's names."""

import http.client
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree as ET

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from ics import paths
from ics.contracts import Batch, ImageRef, dump_line
from ics.errors import (
    AccessDenied,
    ImageError,
    InvalidRequest,
    ObjectArchived,
    ObjectChanged,
    ObjectNotFound,
    ObjectTooLarge,
    ReadFailed,
    SourceForbidden,
    SourceNotFound,
)
from ics.records import receipt
from lambdas import aws_http
from lambdas.runtime import log, settings, store

MAX_OBJECT_BYTES = aws_http.MAX_RESPONSE
"""Bytes read for one image: several are held at once."""

# Keys that obstore would refuse or silently rewrite: empty, "." and ".." segments, and control characters.
_BEYOND_OBSTORE = re.compile(r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f]")
_ARCHIVED = "<Code>InvalidObjectState</Code>"
"""Why S3 answers 403 for an archived object (API reference, GetObject)."""

_DELETE_MARKER = "<Code>MethodNotAllowed</Code>"
"""Why S3 answers 405 for a version that is a delete marker (S3 User Guide, "Working with delete markers")."""

_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def read_image(ref: ImageRef) -> tuple[ImageRef, bytes]:
    """GET an image, and the reference completed from the answer: etag and, where S3 tells it, version.

    An etag that the plan knows is sent as If-Match, so that what was planned is what is classified.

    Raises:
        ObjectNotFound, ObjectChanged, ObjectArchived, AccessDenied, ObjectTooLarge, ReadFailed: as their names say.
    """
    if _BEYOND_OBSTORE.search(ref.key):
        return _read_any_key(ref)
    options: dict[str, Any] = {}
    if ref.etag:
        options["if_match"] = f'"{ref.etag}"'
    if ref.version:
        options["version"] = ref.version
    try:
        answer = obstore.get(store(ref.bucket), ref.key, options=options)  # type: ignore[arg-type]
        meta = answer.meta
        if meta["size"] > MAX_OBJECT_BYTES:
            raise ObjectTooLarge(f"{meta['size']:,} bytes; the limit is {MAX_OBJECT_BYTES:,}")
        content = answer.bytes().to_bytes()
    except FileNotFoundError as error:
        raise ObjectNotFound(ref.uri) from error
    except PreconditionError as error:
        raise ObjectChanged(ref.uri) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        # obstore's message quotes S3's answer.
        raise (ObjectArchived if _ARCHIVED in str(error) else AccessDenied)(ref.uri) from error
    except (BaseError, OSError) as error:
        if _DELETE_MARKER in str(error):
            raise ObjectNotFound(ref.uri) from error
        raise ReadFailed(f"{ref.uri}: {type(error).__name__}") from error
    etag = (meta["e_tag"] or "").strip('"')
    return ImageRef(ref.bucket, ref.key, etag, meta["version"] or ref.version), content


def _read_any_key(ref: ImageRef) -> tuple[ImageRef, bytes]:
    refusals: dict[int, type[ImageError]] = {
        404: ObjectNotFound,
        405: ObjectNotFound,
        412: ObjectChanged,
        403: AccessDenied,
    }
    try:
        answer = aws_http.request(
            "GET",
            f"{_url(ref.bucket)}/{quote(ref.key, safe='/')}",
            service="s3",
            query={"versionId": ref.version} if ref.version else {},
            headers={"If-Match": f'"{ref.etag}"'} if ref.etag else {},
        )
    except aws_http.ResponseTooLarge as error:
        raise ObjectTooLarge(str(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise ReadFailed(f"{ref.uri}: {error}") from error
    if answer.status == 403 and _ARCHIVED.encode() in answer.body:
        raise ObjectArchived(ref.uri)
    if answer.status != 200:
        raise refusals.get(answer.status, ReadFailed)(f"{ref.uri}: HTTP {answer.status}")
    etag = answer.headers.get("etag", "").strip('"')
    return ImageRef(ref.bucket, ref.key, etag, answer.headers.get("x-amz-version-id", ref.version)), answer.body


def list_images(bucket: str, prefix: str) -> Iterator[tuple[ImageRef, int]]:
    """All objects under a prefix, in key order, with their sizes, page by page; "folders" (keys ending in /) are none.

    ListObjectsV2 by hand, because obstore's list takes a prefix for a folder, and refuses keys such as `a//b`.

    Raises:
        SourceNotFound, SourceForbidden: the bucket does not exist or may not be listed.
        OSError: S3 does not answer (the state machine tries again).
    """
    query = {"list-type": "2", "prefix": prefix, "encoding-type": "url", "max-keys": "1000"}
    while True:
        answer = aws_http.request("GET", f"{_url(bucket)}", service="s3", query=query)
        if answer.status == 404:
            raise SourceNotFound(f"no bucket {bucket!r}")
        if answer.status in (401, 403):
            raise SourceForbidden(f"s3:ListBucket on {bucket!r} is denied: add it to source_buckets, check its policy")
        if answer.status != 200:
            raise OSError(f"ListObjectsV2 of {bucket!r} answered HTTP {answer.status}")
        page = ET.fromstring(answer.body)  # noqa: S314 - from S3 itself, over TLS; expat expands no external entity
        for item in page.iter(f"{_XML}Contents"):
            key = unquote_plus(item.findtext(f"{_XML}Key", ""))
            if not key.endswith("/"):
                etag = item.findtext(f"{_XML}ETag", "").strip('"')
                yield ImageRef(bucket, key, etag), int(item.findtext(f"{_XML}Size", "0"))
        token = page.findtext(f"{_XML}NextContinuationToken")
        if not token:
            return
        query["continuation-token"] = token


def read_lines(bucket: str, key: str) -> Iterator[bytes]:
    """A text object's lines, with their line ends, as they stream in.

    Raises:
        SourceNotFound, SourceForbidden: there is no such object, or it may not be read.
        InvalidRequest: its key cannot be read as a stream.
    """
    if _BEYOND_OBSTORE.search(key):
        raise InvalidRequest(f"a manifest's key may not hold empty, . or .. segments or control characters: {key!r}")
    try:
        answer = obstore.get(store(bucket), key)
    except FileNotFoundError as error:
        raise SourceNotFound(f"no object s3://{bucket}/{key}") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise SourceForbidden(f"s3://{bucket}/{key} may not be read") from error
    rest = b""
    for chunk in answer.stream(min_chunk_size=1024 * 1024):
        *lines, rest = (rest + bytes(chunk)).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def read_batch(batch: Batch) -> list[ImageRef]:
    """The images of a batch: one ranged GET of its lines of images.jsonl."""
    lines = obstore.get_range(
        store(settings().working_bucket), paths.images(batch.run), start=batch.offset, length=batch.length
    )
    return [ImageRef(**json.loads(line)) for line in bytes(lines).splitlines()]


def read_rows(batch: Batch) -> list[dict[str, Any]]:
    """The rows that were written of a batch, in its order; none where no attempt has come so far."""
    return [json.loads(line) for line in (read_results(paths.rows(batch)) or b"").splitlines()]


def read_working(key: str) -> bytes | None:
    """A file of the run in the working bucket, or None where there is none."""
    try:
        return obstore.get(store(settings().working_bucket), key).bytes().to_bytes()
    except FileNotFoundError:
        return None


def read_results(key: str) -> bytes | None:
    """An object of the results bucket, or None where there is none."""
    try:
        return obstore.get(store(settings().results_bucket), key).bytes().to_bytes()
    except FileNotFoundError:
        return None


def write_working(key: str, content: bytes) -> None:
    """Write a file of the run to the working bucket."""
    obstore.put(store(settings().working_bucket), key, content, use_multipart=False)


def write_results(key: str, content: bytes) -> None:
    """Write to the results bucket: the record."""
    obstore.put(store(settings().results_bucket), key, content, use_multipart=False)


def write_rows(batch: Batch, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Write a batch's rows, then its receipt, and return the receipt.

    In this order: the receipt makes the batch count, so it is never there without its rows. A batch that is done again
    overwrites both.
    """
    rows = list(rows)
    for row in rows:
        if row["decision"] == "failed":
            log("image failed", "WARNING", **{name: row[name] for name in ("run", "batch", "image_id", "reason")})
    write_results(paths.rows(batch), b"".join(map(dump_line, rows)))
    return write_receipt(batch, rows)


def write_receipt(batch: Batch, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Write the receipt of a batch whose rows are written, and return it."""
    done = receipt(batch, rows)
    write_working(paths.receipt(batch.run, batch.batch), dump_line(done))
    return done


def _url(bucket: str) -> str:
    return f"{aws_http.service_url('s3', 's3')}/{bucket}"
