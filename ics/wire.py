r"""The wire format between pipeline and model: how request bodies are cut, read and answered.

A request holds one image (`image/png` or `image/jpeg`, raw bytes) or many (`application/jsonlines`, a line
`{"id": "...", "image": "<base64>"}` each). The answer is `application/json` or `application/jsonlines`: a line an
image, in order, with `id`, `label`, `confidence`, `alternatives`, `model`, and `text` or `boxes` by kind. What cannot
be understood gets a 4xx and `{"error": {"code", "message", "line"}}`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from ics.contracts import Prediction, dump_line, prediction_from_json, prediction_to_json
from ics.errors import InvalidAnswer, InvalidBody

JSON = "application/json"
JSON_LINES = "application/jsonlines"
IMAGE_TYPES = ("image/png", "image/jpeg")

MAX_BODY = 6_291_456
"""Bytes of one InvokeEndpoint body: the AWS limit for real-time endpoints."""

MAX_LINES = 1_000
"""Images of one body."""


class RequestImage(NamedTuple):
    """One image of a request, prepared; `line` counts from 1. A tuple: it is made a thousand times a body."""

    id: str
    content: bytes
    line: int


_FIRST, _THEN, _LAST = b'{"id":"', b'","image":"', b'"}'


def request_line(image_id: str, content: bytes) -> bytes:
    """One line of a request body. The id is ours (hex), so nothing in it needs escaping."""
    return b"%b%b%b%b%b\n" % (_FIRST, image_id.encode("ascii"), _THEN, base64.b64encode(content), _LAST)


def request_id(line: bytes) -> str:
    """The id of a line that `request_line` made."""
    return line[len(_FIRST) : line.index(_THEN)].decode("ascii")


def request_image(line: bytes) -> bytes:
    """The image of a line that `request_line` made, in base64."""
    return line[line.index(_THEN) + len(_THEN) : line.rindex(_LAST)]


def cut_bodies(lines: Iterable[bytes], max_body: int = MAX_BODY, max_lines: int = MAX_LINES) -> Iterator[list[bytes]]:
    """Group request lines, in order, into bodies of at most `max_body` bytes and `max_lines` lines.

    Raises:
        ValueError: one line alone is larger than `max_body`.
    """
    body: list[bytes] = []
    size = 0
    for line in lines:
        if len(line) > max_body:
            raise ValueError(f"a line of {len(line):,} bytes exceeds the body limit of {max_body:,}")
        if body and (size + len(line) > max_body or len(body) == max_lines):
            yield body
            body, size = [], 0
        body.append(line)
        size += len(line)
    if body:
        yield body


_a2b_base64 = partial(binascii.a2b_base64, strict_mode=True)


def parse_request(
    body: bytes,
    content_type: str,
    loads: Callable[[bytes], Any] = json.loads,
    decode: Callable[[str | bytes], bytes] = _a2b_base64,
) -> list[RequestImage]:
    """Read a request body of either kind; a lone image gets the id "0".

    `loads` reads a line of JSON, `decode` base64, strictly; both raise a ValueError. Whoever has faster
    ones than Python's own hands them in.

    Raises:
        InvalidBody: 415 for another content type, 413 for too many bytes or lines, 400 for a malformed line.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if len(body) > MAX_BODY:
        raise InvalidBody(413, "BodyTooLarge", f"{len(body):,} bytes; the limit is {MAX_BODY:,}")
    if kind in IMAGE_TYPES:
        return [RequestImage("0", body, 1)]
    if kind != JSON_LINES:
        raise InvalidBody(
            415,
            "UnsupportedContentType",
            f"content type {kind or '(none)'!r}; use {', '.join((*IMAGE_TYPES, JSON_LINES))}",
        )
    if images := _plain(body, decode):
        return images
    lines = body.split(b"\n")
    if lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InvalidBody(400, "EmptyBody", "the body holds no line")
    if len(lines) > MAX_LINES:
        raise InvalidBody(413, "TooManyLines", f"{len(lines):,} lines; the limit is {MAX_LINES:,}")
    return [_parse_line(line, number, loads, decode) for number, line in enumerate(lines, 1)]


def _plain(body: bytes, decode: Callable[[str | bytes], bytes]) -> list[RequestImage]:
    """The images of a body that is all `request_line`'s, by its quotes: a server takes a third less than by JSON.

    Of any other body none: it is read line by line, which also finds what is wrong.
    """
    parts = body.split(b'"', 8 * MAX_LINES)
    count = len(parts) // 8
    ids = parts[3::8]
    between = ((1, b"id"), (2, b":"), (4, b","), (5, b"image"), (6, b":"))
    if (
        len(parts) != 8 * count + 1
        or parts[0] != b"{"
        or parts[-1] not in (b"}\n", b"}")
        or parts[8:-1:8] != [b"}\n{"] * (count - 1)
        or any(parts[place::8] != [word] * count for place, word in between)
        or not all(map(bytes.isalnum, ids))
    ):
        return []
    try:  # in base64 nothing is escaped
        contents = [decode(image) for image in parts[7::8]]
    except ValueError:
        return []
    return list(map(RequestImage, [one.decode("ascii") for one in ids], contents, range(1, count + 1)))


def _parse_line(
    line: bytes, number: int, loads: Callable[[bytes], Any], decode: Callable[[str | bytes], bytes]
) -> RequestImage:
    try:
        fields = loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidBody(400, "MalformedLine", f"not JSON: {error}", number) from error
    if (
        not isinstance(fields, dict)
        or not isinstance(image_id := fields.get("id"), str)
        or not isinstance(image := fields.get("image"), str)
    ):
        raise InvalidBody(400, "MalformedLine", 'expected {"id": string, "image": base64 string}', number)
    try:
        image_id.encode()  # the answer repeats it; JSON can spell lone surrogates, UTF-8 cannot
    except UnicodeEncodeError as error:
        raise InvalidBody(400, "MalformedLine", "id is not Unicode text", number) from error
    try:
        content = decode(image)
    except ValueError as error:
        raise InvalidBody(400, "MalformedLine", f"image is not base64: {error}", number) from error
    return RequestImage(image_id, content, number)


def answer_line(image_id: str, prediction: Prediction) -> bytes:
    """One line of the answer."""
    return dump_line({"id": image_id, **prediction_to_json(prediction)})


def error_answer(error: InvalidBody) -> bytes:
    """The body of a 4xx answer."""
    return dump_line({"error": {"code": error.code, "message": str(error), "line": error.line}})


def parse_answer(body: bytes, ids: Sequence[str]) -> list[Prediction]:
    """Read an answer and hold it to the request: a line an image, in order, each well formed.

    Raises:
        InvalidAnswer: says what is wrong, and in which line.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) != len(ids):
        raise InvalidAnswer(f"{len(lines)} lines for {len(ids)} images")
    return [
        _parse_answer_line(line, image_id, number)
        for number, (line, image_id) in enumerate(zip(lines, ids, strict=True), 1)
    ]


def _parse_answer_line(line: bytes, image_id: str, number: int) -> Prediction:
    try:
        fields: Any = json.loads(line)
        if fields["id"] != image_id:
            raise ValueError(f"the id is {str(fields['id'])[:80]!r}, expected {image_id!r}")
        return prediction_from_json(fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidAnswer(f"line {number}: {problem}") from error
