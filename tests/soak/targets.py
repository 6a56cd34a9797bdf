"""What is fuzzed: a plain function a target, which reads one body and answers with its outcome's name.

An outcome is "read" or the name of a documented error. Anything else that is raised is a fault, and so is an answer
that breaks the reader's promise: what was read must be something that the next step can take.
"""
# ruff: noqa: PT017 - no pytest tests

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from ics.accuracy import Counts, counts_from_json
from ics.accuracy_figures import figures
from ics.artifact import InputSpec
from ics.contracts import Prediction, dump_line
from ics.errors import ImageError, InvalidAnswer, InvalidBody, InvalidManifest, InvalidRequest
from ics.imaging import prepare, wire_format
from ics.joining import Joining, lines_of, parse_pair, parse_prediction, parse_truth
from ics.manifests import parse_manifest
from ics.request import MAX_INLINE_IMAGES, MAX_KEY_BYTES, parse_request
from ics.wire import JSON_LINES, answer_line, error_answer, parse_answer, request_line
from ics.wire import parse_request as parse_body
from tests.soak import corpus

MAX_PIXELS = 4_000_000
"""Small enough that the largest image a mutation can claim does not dominate the run."""

SPECS = (
    InputSpec("image", 28, 28, "grey", "light-on-dark"),
    InputSpec("image", 96, 72, "rgb"),
    InputSpec("image", 32, 32, "rgb"),
)


@dataclass(frozen=True)
class Target:
    """`run` takes a body and gives its outcome; `share` is the target's part of all bodies."""

    run: Callable[[bytes], str]
    corpus: Callable[[], list[bytes]]
    share: float


def prepare_image(body: bytes) -> str:
    """Any bytes become an image of exactly the model's size, format and colour, once for all, or a named error."""
    spec = SPECS[len(body) % len(SPECS)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of unreadable metadata; the pixels still count
            prepared = prepare(body, spec, MAX_PIXELS)
    except ImageError as error:
        return error.reason
    with Image.open(io.BytesIO(prepared)) as image:
        image.load()
        assert (image.format, image.size) == (wire_format(spec), (spec.width, spec.height))
        assert image.mode == ("L" if spec.colour == "grey" else "RGB")
    assert prepare(prepared, spec) == prepared
    return "read"


def read_manifest(body: bytes) -> str:
    """Any lines become references that S3 could hold, or an error that names its line."""
    ending = {b"c": ".csv", b"l": ".jsonl", b"g": ".csv.gz"}.get(body[:1], ".json")
    try:
        for ref, size in parse_manifest(f"list{ending}", io.BytesIO(body[1:])):
            assert size >= 0
            assert ref.bucket
            assert 0 < len(ref.key.encode()) <= MAX_KEY_BYTES
            assert ref.image_id
    except InvalidManifest as error:
        assert error.line >= 1
        assert len(str(error)) < 1_000
        return type(error).__name__
    return "read"


def read_request(body: bytes) -> str:
    """Any JSON becomes a checked request or an error of a readable length; what is no JSON, Step Functions refuses."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return "not JSON"
    try:
        request = parse_request(value, models=["digits"], default_model="digits")
    except InvalidRequest as error:
        assert len(str(error)) < 1_000
        return type(error).__name__
    assert request.threshold is None or 0 <= request.threshold <= 1
    assert 0 <= request.tolerated_percent <= 100
    assert len(getattr(request.source, "refs", ())) <= MAX_INLINE_IMAGES
    return "read"


def read_body(body: bytes) -> str:
    """Any body becomes images that can be answered and sent again, or a 4xx that can be written."""
    try:
        images = parse_body(body, JSON_LINES)
    except InvalidBody as error:
        assert error.status in (400, 413, 415)
        assert json.loads(error_answer(error))["error"]["line"] == error.line
        return f"{type(error).__name__} {error.code}"
    for image in images:
        answer_line(image.id, Prediction("0", 1.0))
        request_line("ab", image.content)
    return "read"


def read_answer(body: bytes) -> str:
    """Any answer becomes one prediction an image, which can be recorded, or is refused as a whole."""
    try:
        predictions = parse_answer(body, ["ab", "cd"])
    except InvalidAnswer as error:
        return type(error).__name__
    assert len(predictions) == 2
    for prediction in predictions:
        answer_line("ab", prediction)
        assert 0 <= prediction.confidence <= 1
    return "read"


def read_lines(body: bytes) -> str:
    """Any lines become labels and predictions that can be counted and written, or are bad lines."""
    counts, joining = Counts(), Joining()
    parsers = {b"l": parse_truth, b"p": parse_prediction}
    for number, line in enumerate(lines_of([body[1:]]), 1):
        try:
            if body[:1] in parsers:
                record = parsers[body[:1]](line or b"")
                (joining.label if body[:1] == b"l" else joining.prediction)(json.loads(dump_line(record)))
            else:
                label, row = parse_pair(line or b"", f"#{number}")
                joining.label(label)
                joining.prediction(row)
        except (ValueError, TypeError, RecursionError) as error:
            counts.bad_line("file", number, str(error)[:200])
    counts.merge(joining.joined())
    dump_line(figures(counts_from_json(json.loads(dump_line(counts.to_json()))), threshold=0.9))
    return "bad line" if counts.bad_lines else "read"


TARGETS = {
    "prepare": Target(prepare_image, corpus.images, 0.2),
    "manifest": Target(read_manifest, corpus.manifests, 0.2),
    "request": Target(read_request, corpus.requests, 0.2),
    "body": Target(read_body, corpus.bodies, 0.2),
    "answer": Target(read_answer, corpus.answers, 0.1),
    "lines": Target(read_lines, corpus.lines, 0.1),
}
