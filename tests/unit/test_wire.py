"""The wire format: what goes in comes out, and nonsense is refused by name."""

import base64
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.contracts import Alternative, Box, Prediction
from ics.errors import InvalidAnswer, InvalidBody
from ics.wire import (
    JSON_LINES,
    MAX_BODY,
    MAX_LINES,
    answer_line,
    cut_bodies,
    error_answer,
    parse_answer,
    parse_request,
    request_id,
    request_line,
)

IDS = st.text("0123456789abcdef", min_size=1, max_size=64)
UNIT = st.floats(0, 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PREDICTIONS = st.builds(
    Prediction,
    label=TEXT,
    confidence=UNIT,
    alternatives=st.lists(st.builds(Alternative, TEXT, UNIT), max_size=3).map(tuple),
    boxes=st.lists(st.builds(Box, TEXT, UNIT, UNIT, UNIT, UNIT, UNIT), max_size=2).map(tuple),
    text=st.none() | TEXT,
    model=IDS,
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(st.tuples(IDS, st.binary(max_size=200)), min_size=1, max_size=10))
def test_a_request_comes_back_as_it_went(images: list[tuple[str, bytes]]) -> None:
    lines = [request_line(*image) for image in images]
    assert [request_id(line) for line in lines] == [image_id for image_id, _ in images]
    parsed = parse_request(b"".join(lines), f"{JSON_LINES}; charset=utf-8")
    assert [(image.id, image.content, image.line) for image in parsed] == [
        (image_id, content, number) for number, (image_id, content) in enumerate(images, 1)
    ]


@st.composite
def almost_ours(draw: st.DrawFn) -> bytes:
    """Bodies that `request_line` made, with a few bytes put in, left out or changed."""
    lines = draw(st.lists(st.builds(request_line, IDS, st.binary(max_size=6)), max_size=4))
    body = bytearray(b"".join(lines))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from(SPELLINGS))
    return bytes(body)


SPELLINGS = (b"", b"\n", b"\r\n", b" ", b'"', b'""', b"\\", b"\\/", b"{", b"}", b"}\n{", b",", b"A", b"=", b"\xff")


def _read(body: bytes) -> object:
    try:
        return parse_request(body, JSON_LINES)
    except InvalidBody as error:
        return error.status, error.code, error.line, str(error)


@given(almost_ours())
def test_a_body_is_read_at_once_just_as_line_by_line(body: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ics.wire._plain", lambda *_: [])
        line_by_line = _read(body)
    assert _read(body) == line_by_line


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg", "IMAGE/PNG ; q=1"])
def test_a_lone_image_is_taken_as_it_is(content_type: str) -> None:
    (image,) = parse_request(b"\x89PNG\n\n", content_type)
    assert (image.id, image.content, image.line) == ("0", b"\x89PNG\n\n", 1)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=50), st.integers(40, 120), st.integers(1, 7))
def test_bodies_keep_order_and_limits_and_lose_nothing(lines: list[bytes], max_body: int, max_lines: int) -> None:
    bodies = list(cut_bodies(lines, max_body, max_lines))
    assert [line for body in bodies for line in body] == lines
    assert all(body and len(body) <= max_lines and sum(map(len, body)) <= max_body for body in bodies)
    for body, following in itertools.pairwise(bodies):  # and none is cut earlier than it must
        assert len(body) == max_lines or sum(map(len, body)) + len(following[0]) > max_body


def test_a_line_larger_than_a_body_is_an_error() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        list(cut_bodies([bytes(11)], max_body=10))


LINE = request_line("ab", b"image")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code", "line"),
    [
        (LINE, "text/plain", 415, "UnsupportedContentType", None),
        (LINE, "", 415, "UnsupportedContentType", None),
        (LINE, "application/json", 415, "UnsupportedContentType", None),
        (bytes(MAX_BODY + 1), "image/png", 413, "BodyTooLarge", None),
        (LINE * (MAX_LINES + 1), JSON_LINES, 413, "TooManyLines", None),
        (b"", JSON_LINES, 400, "EmptyBody", None),
        (LINE + b"\n" + LINE, JSON_LINES, 400, "MalformedLine", 2),
        (LINE + b"{", JSON_LINES, 400, "MalformedLine", 2),
        (LINE + b"\xff\xfe\n", JSON_LINES, 400, "MalformedLine", 2),
        (LINE + b"[" * 100_000, JSON_LINES, 400, "MalformedLine", 2),
        (b'{"id": %s, "image": ""}' % (b"9" * 5000), JSON_LINES, 400, "MalformedLine", 1),
        (b'["ab"]', JSON_LINES, 400, "MalformedLine", 1),
        (b'{"image": "AAAA"}', JSON_LINES, 400, "MalformedLine", 1),
        (b'{"id": 7, "image": "AAAA"}', JSON_LINES, 400, "MalformedLine", 1),
        (b'{"id": "ab", "image": null}', JSON_LINES, 400, "MalformedLine", 1),
        (b'{"id": "ab", "image": "AAA"}', JSON_LINES, 400, "MalformedLine", 1),
        (b'{"id": "ab", "image": "AA AA"}', JSON_LINES, 400, "MalformedLine", 1),
        ('{"id": "ab", "image": "ёё"}'.encode(), JSON_LINES, 400, "MalformedLine", 1),
        (b'{"id": "\\ud800", "image": "AAAA"}', JSON_LINES, 400, "MalformedLine", 1),
    ],
)
def test_a_bad_request_is_refused_by_status_code_and_line(
    body: bytes, content_type: str, status: int, code: str, line: int | None
) -> None:
    with pytest.raises(InvalidBody) as caught:
        parse_request(body, content_type)
    error = caught.value
    assert (error.status, error.code, error.line) == (status, code, line)
    answer = json.loads(error_answer(error))["error"]
    assert (answer["code"], answer["line"]) == (code, line)
    assert line is None or f"line {line}" in answer["message"]


@given(st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_request_is_read_or_refused(body: bytes) -> None:
    try:
        images = parse_request(body, JSON_LINES)
    except InvalidBody:
        return
    for image in images:
        answer_line(image.id, Prediction("0", 1.0))  # what was read can be answered


@given(st.lists(st.tuples(IDS, PREDICTIONS), max_size=8))
def test_an_answer_comes_back_as_it_went(answers: list[tuple[str, Prediction]]) -> None:
    body = b"".join(answer_line(*answer) for answer in answers)
    assert parse_answer(body, [image_id for image_id, _ in answers]) == [prediction for _, prediction in answers]


def answer(**changes) -> bytes:
    fields = {"id": "ab", "label": "7", "confidence": 0.5, "alternatives": [], "model": "v"} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode() + b"\n"


def test_zero_is_an_answer_like_any_other() -> None:
    (prediction,) = parse_answer(answer(label="0", confidence=0), ["ab"])
    assert (prediction.label, prediction.confidence) == ("0", 0.0)


@pytest.mark.parametrize("text", ["", "0", "\u0436" * 300])
def test_a_reading_is_an_answer_however_short_or_long(text: str) -> None:
    characters = [{"label": one, "confidence": 0.5} for one in text]
    (prediction,) = parse_answer(answer(label=text, text=text, alternatives=characters), ["ab"])
    assert (prediction.label, prediction.text, len(prediction.alternatives)) == (text, text, len(text))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "0 lines for 1 images"),
        (answer() * 2, "2 lines for 1 images"),
        (answer(id="cd"), "line 1: the id is 'cd', expected 'ab'"),
        (answer(id=...), "'id' is missing"),
        (answer(label=...), "'label' is missing"),
        (answer(label=0), "label is not a string"),
        (answer(label="\ud800"), "surrogates"),
        (answer(text="\ud800"), "surrogates"),
        (answer(text=5), "text is not a string"),
        (answer(confidence=...), "'confidence' is missing"),
        (answer(confidence=float("nan")), "confidence is not within"),
        (answer(confidence=float("inf")), "confidence is not within"),
        (answer(confidence=1.0000001), "confidence is not within"),
        (answer(confidence=-0.1), "confidence is not within"),
        (answer(confidence=10**400), "confidence is not within"),
        (answer(confidence=True), "confidence is not a number"),
        (answer(confidence="0.9"), "confidence is not a number"),
        (answer(confidence=None), "confidence is not a number"),
        (answer(alternatives=None), "line 1"),
        (answer(alternatives=["7"]), "line 1"),
        (answer(alternatives=[{"label": "7", "confidence": 2}]), "confidence is not within"),
        (answer(boxes=[{"label": "cat", "confidence": 0.5}]), "'left' is missing"),
        (answer(boxes=7), "line 1"),
        (answer(model=7), "model is not a string"),
        (b"<html>502</html>", "line 1"),
        (b"\xff\xff\xff", "line 1"),
        (b"[" * 100_000, "line 1"),
        (b"[]", "line 1"),
        (b'"ab"', "line 1"),
        (b"7", "line 1"),
        (b"null", "line 1"),
    ],
)
def test_nonsense_is_an_invalid_answer(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidAnswer, match=problem):
        parse_answer(body, ["ab"])


def test_an_answer_in_another_order_is_refused() -> None:
    with pytest.raises(InvalidAnswer, match="line 1"):
        parse_answer(answer(id="cd") + answer(id="ab"), ["ab", "cd"])


@given(
    st.binary(max_size=200)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.sampled_from(["label", "confidence", "alternatives", "boxes", "text", "model"]), JSON_VALUES
    ).map(lambda fields: answer(**fields))
)
def test_any_answer_is_read_or_refused(body: bytes) -> None:
    try:
        predictions = parse_answer(body, ["ab"])
    except InvalidAnswer:
        return
    answer_line("ab", predictions[0])  # what was accepted can be recorded


def test_the_format_is_what_the_module_says() -> None:
    assert request_line("ab", b"image") == b'{"id":"ab","image":"%b"}\n' % base64.b64encode(b"image")
    assert answer_line("ab", Prediction("7", 0.5, (Alternative("1", 0.25),), model="v")) == (
        b'{"id":"ab","label":"7","confidence":0.5,"alternatives":[{"label":"1","confidence":0.25}],"model":"v"}\n'
    )
