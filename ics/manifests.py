"""Manifests: S3 objects that list a run's images, read as they stream in, in constant memory."""

import csv
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ics.contracts import ImageRef
from ics.errors import InvalidManifest, InvalidRequest
from ics.request import MANIFEST_ENDINGS, parse_image

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Bytes of a .json manifest, which must be read as a whole."""

MAX_LINE_BYTES = 256 * 1024
"""Bytes of a line: a key has 1,024 at most, and may be escaped."""

PIECE = 256 * 1024
"""Bytes of a manifest that are looked at together."""

Listed = tuple[ImageRef, int]
"""An image, and its bytes where the manifest says so, else 0."""


def parse_manifest(key: str, chunks: Iterable[bytes], tick: Callable[[], None] = lambda: None) -> Iterator[Listed]:
    """The images a manifest lists, in order; .csv and .jsonl, also as .csv.gz and .jsonl.gz, as they stream in.

    A .csv has a header with `bucket,key` or `s3_bucket,s3_key`, and optionally `etag`, `version` and `size`. A .jsonl
    has an image a line, a .json one array of images: `"s3://bucket/key"` or an object with what the header may name.
    Blank lines are skipped. `size` is the object's bytes; batches are cut by it, too.

    Args:
        key: the manifest's key, whose ending says how to read it.
        chunks: its bytes, cut anywhere.
        tick: called now and then, however little the manifest lists.

    Raises:
        InvalidManifest: names the line (of a .json: the element's number) and what is wrong with it.
        InvalidRequest: the ending is none of these.
    """
    name = key.lower()
    if not name.endswith(MANIFEST_ENDINGS):
        raise InvalidRequest(f"manifest {key[:200]!r} must end in {', '.join(MANIFEST_ENDINGS)}")
    if name.endswith(".json"):
        return _parse_json_array(chunks)
    pieces = _inflated(chunks) if name.endswith(".gz") else _pieces(chunks)
    reader = _parse_csv if name.removesuffix(".gz").endswith(".csv") else _parse_json_lines
    return reader(_lines(pieces, tick))


def _parse_csv(lines: Iterable[bytes]) -> Iterator[Listed]:
    rows = csv.reader(_decoded(lines), strict=True)
    header: list[str] = []
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidManifest(rows.line_num, str(error)) from error
        if not row:
            continue
        if not header:
            header = [name.strip() for name in row]
            names = [name.removeprefix("s3_") for name in header]
            if not {"bucket", "key"} <= set(names) or len(set(names)) < len(names):
                raise InvalidManifest(rows.line_num, "the header must be bucket,key or s3_bucket,s3_key")
        elif len(row) != len(header):
            raise InvalidManifest(rows.line_num, f"{len(row)} fields where the header has {len(header)}")
        else:
            yield _manifest_image(dict(zip(header, row, strict=True)), rows.line_num)


def _parse_json_lines(lines: Iterable[bytes]) -> Iterator[Listed]:
    for number, line in enumerate(_decoded(lines), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidManifest(number, f"not JSON: {error}") from error
        yield _manifest_image(value, number)


def _parse_json_array(chunks: Iterable[bytes]) -> Iterator[Listed]:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > MAX_JSON_BYTES:
            raise InvalidManifest(
                content.count(b"\n") + 1,
                f"a .json manifest is read as a whole and may have {MAX_JSON_BYTES:,} bytes; write .jsonl, an image a "
                "line, which may be of any length",
            )
    try:
        values = json.loads("".join(_decoded([bytes(content)])))
    except json.JSONDecodeError as error:
        raise InvalidManifest(error.lineno, f"not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidManifest(1, f"not JSON: {error}") from error
    if isinstance(values, dict) and set(values) == {"images"}:
        values = values["images"]
    if not isinstance(values, list):
        raise InvalidManifest(1, "expected one array of images")
    for number, value in enumerate(values, 1):
        yield _manifest_image(value, number)


def _manifest_image(value: Any, line: int) -> Listed:
    try:
        if not isinstance(value, Mapping) or "size" not in value:
            return parse_image(value), 0
        return parse_image({name: field for name, field in value.items() if name != "size"}), _bytes(value["size"])
    except (ValueError, TypeError) as error:
        raise InvalidManifest(line, str(error)) from error


def _bytes(value: Any) -> int:
    """A size, of which a .csv holds the digits, perhaps none."""
    if value is None or value == "":
        return 0
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**20:
        return value
    raise ValueError(f"size is {str(value)[:40]!r}; it must be a number of bytes")


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), PIECE):
            yield chunk[start : start + PIECE]


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of gzip data, of any number of members one behind the other (RFC 1952, 2.2)."""
    inflater = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        data = chunk
        while data or not inflater.eof:
            if inflater.eof:
                data = data.lstrip(b"\0")  # zeros may fill up a file
                if not data:
                    break
                inflater = zlib.decompressobj(wbits=31)
            piece = inflater.decompress(data, PIECE)
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            yield piece
            if not piece and not data:
                break
    if not inflater.eof:
        raise EOFError("it ends too early")


def _lines(pieces: Iterable[bytes], tick: Callable[[], None]) -> Iterator[bytes]:
    """Lines with their line ends."""
    rest, number = b"", 1
    try:
        for piece in pieces:
            tick()
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line + b"\n"
            number += len(lines)
            if len(rest) > MAX_LINE_BYTES:
                raise InvalidManifest(number, f"longer than {MAX_LINE_BYTES:,} bytes")
    except (zlib.error, EOFError) as error:
        raise InvalidManifest(number, f"the gzip data cannot be read: {error}") from error
    if rest:
        yield rest


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidManifest(number, f"not UTF-8: {error.reason} at byte {error.start}") from error
