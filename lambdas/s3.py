"""S3 as the functions need it: read an image, list a prefix, read and write a run's files; errors by ICS's names."""

import http.client
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
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

CHUNK = 1024 * 1024
"""Bytes of an object that are read at once where all of it streams by."""

PART = 5 * 1024 * 1024
"""Bytes of a part of what is written as it comes, the fewest that S3 takes (User Guide, "Multipart upload limits")."""

PAUSES = (0.1, 0.4, 1.6)
"""Seconds between one request for an answer and the next."""

RETRY_SECONDS = 10.0
"""Seconds within which the last request is made."""

# Keys that obstore would refuse or silently rewrite: empty, "." and ".." segments, and control characters.
_BEYOND_OBSTORE = re.compile(r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f]")
_ARCHIVED = "<Code>InvalidObjectState</Code>"
"""Why S3 answers 403 for an archived object (API reference, GetObject)."""

_BEHIND_THE_END = "<Code>InvalidRange</Code>"
"""Why S3 answers 416 for a range that begins behind the object's last byte (API reference, "Error responses")."""

_DELETE_MARKER = "<Code>MethodNotAllowed</Code>"
"""Why S3 answers 405 for a version that is a delete marker (S3 User Guide, "Working with delete markers")."""

_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Content(NamedTuple):
    """What a GET answered: the reference completed from it, the bytes, and how many the whole object has."""

    ref: ImageRef
    content: bytes | memoryview
    object_bytes: int


def read_image(ref: ImageRef) -> tuple[ImageRef, bytes]:
    """GET an image, and the reference completed from the answer: etag and, where S3 tells it, version.

    Of a shard only the image's own bytes are read. An etag that the plan knows is sent as If-Match, so that what was
    planned is what is classified.

    Raises:
        ObjectNotFound, ObjectChanged, ObjectArchived, AccessDenied, ObjectTooLarge, ReadFailed: as their names say.
    """
    found = read_range(ref, ref.offset, ref.size) if ref.member else _get(ref, None)
    return found.ref, bytes(found.content)


def read_range(ref: ImageRef, offset: int, length: int) -> Content:
    """GET at most `length` bytes of an object, from `offset` on: fewer where it ends, none at its end or behind.

    Raises: as `read_image`.
    """
    if _BEYOND_OBSTORE.search(ref.key) and length > MAX_OBJECT_BYTES:
        half = length // 2
        first = read_range(ref, offset, half)
        then = read_range(first.ref, offset + half, length - half)
        return then._replace(content=b"".join((first.content, then.content)))
    return _get(ref, (offset, length))


def _get(ref: ImageRef, part: tuple[int, int] | None) -> Content:
    if part is not None and part[1] <= 0:
        return Content(ref, b"", 0)  # S3 knows no empty range
    if _BEYOND_OBSTORE.search(ref.key):
        return _get_any_key(ref, part)
    options: dict[str, Any] = {}
    if ref.etag:
        options["if_match"] = f'"{ref.etag}"'
    if ref.version:
        options["version"] = ref.version
    if part:
        options["range"] = (part[0], sum(part))
    try:
        answer = obstore.get(store(ref.bucket), ref.key, options=options)  # type: ignore[arg-type]
        meta = answer.meta
        if part is None and meta["size"] > MAX_OBJECT_BYTES:
            raise ObjectTooLarge(f"{meta['size']:,} bytes; the limit is {MAX_OBJECT_BYTES:,}")
        content = memoryview(answer.bytes())
    except (BaseError, OSError) as error:
        if part and _BEHIND_THE_END in str(error):
            return Content(ref, b"", 0)
        raise _named(error, ref) from error
    etag = (meta["e_tag"] or "").strip('"')
    return Content(replace(ref, etag=etag, version=meta["version"] or ref.version), content, meta["size"])


def _named(error: BaseException, ref: ImageRef) -> ImageError:
    """What obstore raised, by ICS's name; its messages quote S3's answers."""
    match error:
        case FileNotFoundError():
            return ObjectNotFound(ref.uri)
        case PreconditionError():
            return ObjectChanged(ref.uri)
        case PermissionDeniedError() | UnauthenticatedError():
            return (ObjectArchived if _ARCHIVED in str(error) else AccessDenied)(ref.uri)
    return ObjectNotFound(ref.uri) if _DELETE_MARKER in str(error) else ReadFailed(f"{ref.uri}: {type(error).__name__}")


def _get_any_key(ref: ImageRef, part: tuple[int, int] | None) -> Content:
    refusals: dict[int, type[ImageError]] = {
        404: ObjectNotFound,
        405: ObjectNotFound,
        412: ObjectChanged,
        403: AccessDenied,
    }
    headers = {"If-Match": f'"{ref.etag}"'} if ref.etag else {}
    if part:
        headers["Range"] = f"bytes={part[0]}-{sum(part) - 1}"
    try:
        query = {"versionId": ref.version} if ref.version else {}
        answer = _asked(f"{_url(ref.bucket)}/{quote(ref.key, safe='/')}", query, headers)
    except aws_http.ResponseTooLarge as error:
        raise ObjectTooLarge(str(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise ReadFailed(f"{ref.uri}: {error}") from error
    if answer.status == 403 and _ARCHIVED.encode() in answer.body:
        raise ObjectArchived(ref.uri)
    if part and answer.status == 416:
        return Content(ref, b"", 0)
    if answer.status != (206 if part else 200):
        raise refusals.get(answer.status, ReadFailed)(f"{ref.uri}: HTTP {answer.status}")
    etag = answer.headers.get("etag", "").strip('"')
    ref = replace(ref, etag=etag, version=answer.headers.get("x-amz-version-id", ref.version))
    # Content-Range is `bytes <first>-<last>/<size>` (RFC 9110, 14.4).
    size = answer.headers.get("content-range", "").rpartition("/")[2] or len(answer.body)
    return Content(ref, answer.body, int(size))


def list_images(bucket: str, prefix: str) -> Iterator[tuple[ImageRef, int]]:
    """All objects under a prefix, in key order, with their sizes, page by page; "folders" (keys ending in /) are none.

    ListObjectsV2 by hand, because obstore's list takes a prefix for a folder, and refuses keys such as `a//b`.

    Raises:
        SourceNotFound, SourceForbidden: the bucket does not exist or may not be listed.
        OSError: S3 does not answer (the state machine tries again).
    """
    query = {"list-type": "2", "prefix": prefix, "encoding-type": "url", "max-keys": "1000"}
    while True:
        answer = _asked(_url(bucket), query)
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


def read_chunks(bucket: str, key: str) -> Iterator[bytes]:
    """An object's bytes, in order, some MiB at a time: a request each, so that none lasts as long as its reader.

    Raises:
        SourceNotFound, SourceForbidden: there is no such object, or it may not be read.
        ObjectChanged: it was overwritten while it was read (the state machine tries again).
        ReadFailed: S3 does not answer (the same).
    """
    ref, offset, total = ImageRef(bucket, key), 0, 1
    while offset < total:
        try:
            read = read_range(ref, offset, CHUNK)
        except ObjectNotFound as error:
            raise SourceNotFound(f"no object s3://{bucket}/{key}") from error
        except (AccessDenied, ObjectArchived) as error:
            raise SourceForbidden(f"s3://{bucket}/{key} may not be read: {error.reason}") from error
        yield bytes(read.content)
        ref, offset, total = read.ref, offset + len(read.content), read.object_bytes


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


def is_working(key: str) -> bool:
    """Whether the working bucket has this file of the run."""
    try:
        obstore.head(store(settings().working_bucket), key)
    except FileNotFoundError:
        return False
    return True


def read_results(key: str) -> bytes | None:
    """An object of the results bucket, or None where there is none."""
    try:
        return obstore.get(store(settings().results_bucket), key).bytes().to_bytes()
    except FileNotFoundError:
        return None


def write_working(key: str, content: bytes) -> None:
    """Write a file of the run to the working bucket."""
    obstore.put(store(settings().working_bucket), key, content, use_multipart=False)


def write_lines(key: str, lines: Iterable[bytes]) -> None:
    """Write a file of the run to the working bucket as its lines come, two parts of it in memory at most."""
    bucket = store(settings().working_bucket)
    with obstore.open_writer(bucket, key, buffer_size=PART, max_concurrency=1) as file:
        held = bytearray()
        for line in lines:
            held += line
            if len(held) > CHUNK:  # obstore keeps what it is given as it is, and a line takes twice its bytes
                file.write(bytes(held))
                held.clear()
        file.write(bytes(held))


def write_results(key: str, content: bytes, *, over: bool = True) -> None:
    """Write to the results bucket: the record.

    Raises:
        AlreadyExistsError: there is such an object, and what is there is not to be written `over`.
    """
    bucket = store(settings().results_bucket)
    obstore.put(bucket, key, content, mode="overwrite" if over else "create", use_multipart=False)


def write_rows(batch: Batch, rows: Iterable[dict[str, Any]], *, over: bool = True) -> dict[str, Any]:
    """Write a batch's rows, then its receipt, and return the receipt.

    In this order: the receipt makes the batch count, so it is never there without its rows. A batch that is done again
    overwrites both.

    Raises:
        AlreadyExistsError: it has rows, and they are not to be written `over`.
    """
    rows = list(rows)
    for row in rows:
        if row["decision"] == "failed":
            log("image failed", "WARNING", **{name: row[name] for name in ("run", "batch", "image_id", "reason")})
    write_results(paths.rows(batch), b"".join(map(dump_line, rows)), over=over)
    return write_receipt(batch, rows)


def write_receipt(batch: Batch, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Write the receipt of a batch whose rows are written, and return it."""
    done = receipt(batch, rows)
    write_working(paths.receipt(batch.run, batch.batch), dump_line(done))
    return done


def _asked(url: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None) -> aws_http.Response:
    """The answer to a GET, tried again as obstore does it (`lambdas.runtime.store`).

    Of a listing of thousands of pages, one that S3 was too busy for must not be the end.

    Raises:
        OSError, http.client.HTTPException: no answer to the last. Where S3 was busy to the last, that is the answer.
    """
    until = time.monotonic() + RETRY_SECONDS
    for pause in (*PAUSES, RETRY_SECONDS):
        last = pause == RETRY_SECONDS
        try:
            answer = aws_http.request("GET", url, service="s3", query=query, headers=headers)
        except aws_http.ResponseTooLarge:
            raise
        except (OSError, http.client.HTTPException):
            if last or time.monotonic() + pause > until:
                raise
        else:
            busy = answer.status >= 500 or answer.status == 429
            if not busy or last or time.monotonic() + pause > until:
                return answer
        time.sleep(pause)
    raise AssertionError("the last try answers or raises")


def _url(bucket: str) -> str:
    return f"{aws_http.service_url('s3', 's3')}/{bucket}"
