"""Data capture read back, from records in AWS's format."""

import base64
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ics.capture import Captured, captured_images, read_captured
from ics.contracts import Prediction
from ics.errors import InvalidCapture
from ics.wire import answer_line, request_line

RECORDS = Path(__file__).parent / "captured"


def line(name: str) -> bytes:
    """A recorded capture as the one line it is in S3."""
    return json.dumps(json.loads((RECORDS / f"{name}.json").read_text())).encode() + b"\n"


@pytest.mark.parametrize("name", ["many_images", "many_images_base64"])
def test_every_image_of_a_request_joins_its_answer(name: str) -> None:
    captured = read_captured(line(name))
    assert captured.inference_id == "0123456789ab-7-0"
    assert captured.event_id == "f2f7a1de-6c5f-4b35-9a2d-0a4f3c8d1e55"
    assert captured.inference_time == "2026-02-03T10:00:05Z"
    assert captured.request_type == captured.response_type == "application/jsonlines"
    images = list(captured_images(captured))
    assert [(image.line, image.id, prediction) for image, prediction in images] == [
        (1, f"{1:064x}", Prediction("0", 0.99, model="v1")),
        (2, f"{2:064x}", Prediction("7", 0.41, model="v1")),
    ]
    assert [_brightness(image.content) for image, _ in images] == [0, 255]


def test_a_lone_image_joins_by_its_event_id() -> None:
    captured = read_captured(line("one_image"))
    assert captured.inference_id == captured.event_id == "0d9f6f0a-3a5b-4c57-8f1e-6c1b8f3f2a10"
    ((image, prediction),) = captured_images(captured)
    assert (image.line, _brightness(image.content)) == (1, 0)
    assert prediction == Prediction("0", 0.97, model="v1")


@pytest.mark.parametrize("name", ["refused", "input_only"])
def test_images_without_an_answer_are_still_there(name: str) -> None:
    assert [(image.line, prediction) for image, prediction in captured_images(read_captured(line(name)))] == [
        (1, None),
        (2, None),
    ]


def test_another_model_s_csv_is_read_but_holds_no_images() -> None:
    captured = read_captured(line("csv"))
    assert (captured.request, captured.response) == (b"5.1,3.5,1.4\n", b"0.1318")
    with pytest.raises(InvalidCapture, match=r"request 0d9f6f0a.*content type 'text/csv'"):
        captured_images(captured)


def test_a_request_that_was_not_captured_holds_no_images() -> None:
    record = json.loads(line("many_images"))
    del record["captureData"]["endpointInput"]
    with pytest.raises(InvalidCapture, match="content type"):
        captured_images(read_captured(json.dumps(record).encode()))


@given(st.lists(st.tuples(st.text("0123456789abcdef", min_size=1), st.binary(max_size=50)), min_size=1, max_size=5))
def test_what_was_sent_is_what_is_read(images: list[tuple[str, bytes]]) -> None:
    request = b"".join(request_line(*image) for image in images)
    response = b"".join(answer_line(image_id, Prediction("ж", 0.5)) for image_id, _ in images)
    read = {}
    for encoding in ("JSON", "BASE64"):
        record = json.loads(line("many_images"))
        for side, body in (("endpointInput", request), ("endpointOutput", response)):
            text = body.decode() if encoding == "JSON" else base64.b64encode(body).decode()
            record["captureData"][side] |= {"data": text, "encoding": encoding}
        read[encoding] = read_captured(json.dumps(record).encode())
    assert read["JSON"] == read["BASE64"]
    assert (read["JSON"].request, read["JSON"].response) == (request, response)
    joined = [(image.id, image.content, prediction) for image, prediction in captured_images(read["JSON"])]
    assert joined == [(*image, Prediction("ж", 0.5)) for image in images]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("captureData", ..., "'captureData' is missing"),
        ("captureData", "text", "captureData is not an object"),
        ("captureData.endpointInput.data", ..., "'data' is missing"),
        ("captureData.endpointInput.data", {"id": 1}, "data is not a string"),
        ("captureData.endpointInput.data", "\ud800", "surrogates"),
        ("captureData.endpointInput.encoding", ..., "'encoding' is missing"),
        ("captureData.endpointInput.encoding", "GZIP", "encoding is 'GZIP'; expected JSON, CSV or BASE64"),
        ("captureData.endpointOutput.encoding", "BASE64", "base64|padding|alphabet"),
        ("captureData.endpointOutput.observedContentType", 7, "observedContentType is not a string"),
        ("eventMetadata", ..., "'eventMetadata' is missing"),
        ("eventMetadata.eventId", ..., "'eventId' is missing"),
        ("eventMetadata.inferenceId", None, "inferenceId is not a string"),
        ("eventMetadata.inferenceTime", ..., "'inferenceTime' is missing"),
    ],
)
def test_what_is_not_capture_is_named(path: str, value: object, says: str) -> None:
    record = json.loads(line("many_images"))
    *parents, name = path.split(".")
    fields = record
    for parent in parents:
        fields = fields[parent]
    if value is ...:
        del fields[name]
    else:
        fields[name] = value
    with pytest.raises(InvalidCapture, match=says):
        read_captured(json.dumps(record).encode())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["captureData", "endpointInput", "eventMetadata", "eventId", "data", "encoding"]), inner
        )
    ),
    max_leaves=10,
)


@given(st.binary(max_size=60) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_line_is_read_or_refused(content: bytes) -> None:
    try:
        captured = read_captured(content)
    except InvalidCapture:
        return
    assert isinstance(captured, Captured)


def test_a_line_nested_too_deeply_is_refused() -> None:
    with pytest.raises(InvalidCapture):
        read_captured(b"[" * 100_000)


def _brightness(content: bytes) -> int:
    return Image.open(io.BytesIO(content)).getpixel((0, 0))
