"""`serving.model`: its arithmetic against a formula, and what it refuses."""

import dataclasses
import io
import itertools
import json
import math
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ics.artifact import InputSpec, graph_version
from ics.contracts import Prediction
from ics.errors import ImageError, InvalidArtifact, ModelRefused
from ics.imaging import prepare
from serving.model import BATCHES, Model, decode, load_model, measured
from tests.artifacts import DIGITS, picture, shade, write_artifact, writing

MODELS = Path(__file__).parents[2] / "models"


def foretold(brightness: int, sharpness: float, temperature: float) -> list[float]:
    """The ten confidences that `write_artifact`'s formula gives for a picture of one shade."""
    logits = [-sharpness * (brightness / 255 - k / 9) ** 2 / temperature for k in range(10)]
    return [math.exp(logit) / sum(map(math.exp, logits)) for logit in logits]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_confidences_are_the_softmax_of_the_logits_divided_by_the_temperature(
    tmp_path: Path, temperature: float
) -> None:
    spec = write_artifact(tmp_path, sharpness=100, temperature=temperature)
    for brightness in (0, 85, 99, 100, 255):
        expected = foretold(brightness, 100, temperature)
        prediction = load_model(tmp_path).predict_one(picture(brightness))
        best, *others = sorted(range(10), key=lambda k: -expected[k])[:5]
        assert prediction.label == str(best)
        assert prediction.confidence == pytest.approx(expected[best], rel=1e-4)
        assert {other.label for other in prediction.alternatives} == {str(k) for k in others}
        for other in prediction.alternatives:
            assert other.confidence == pytest.approx(expected[int(other.label)], rel=1e-3)
        assert [x.confidence for x in prediction.alternatives] == sorted(
            (x.confidence for x in prediction.alternatives), reverse=True
        )
        assert prediction.model == spec.version == graph_version(tmp_path / "model.onnx")


def test_a_model_of_two_labels_has_one_alternative(tmp_path: Path) -> None:
    spec = write_artifact(tmp_path, labels=["no", "yes"])
    prediction = load_model(tmp_path).predict_one(picture(shade(spec, "yes")))
    assert prediction.label == "yes"
    assert [other.label for other in prediction.alternatives] == ["no"]


@pytest.mark.parametrize("text", ["", "0", "42", "0 0", "77", "1234567"])
def test_a_text_model_reads_a_line_with_its_characters(tmp_path: Path, text: str) -> None:
    spec = write_artifact(tmp_path, kind="text", labels=[*DIGITS, " "], width=128, height=32, sharpness=5000)
    prediction = load_model(tmp_path).predict_one(writing(spec, text))
    assert (prediction.label, prediction.text, prediction.model) == (text, text, spec.version)
    assert "".join(one.label for one in prediction.alternatives) == text
    assert all(one.confidence > 0.999 for one in prediction.alternatives)
    assert 0.99 < prediction.confidence <= 1


def test_a_lines_confidence_is_that_of_all_paths_to_it_at_the_temperature(tmp_path: Path) -> None:
    for temperature in (1.0, 2.5):
        spec = write_artifact(
            tmp_path, kind="text", labels=["a", "b"], width=16, height=8, sharpness=10, temperature=temperature
        )
        weights = [math.exp(-10 * (k / 2) ** 2 / temperature) for k in range(3)]  # a strip on a label's own shade
        # a blank strip, black, the first of three shades; then one of the middle's: each the blank, an a, a b
        first = [weight / sum(weights) for weight in weights]
        second = [weights[k] / (weights[0] + 2 * weights[1]) for k in (1, 0, 1)]
        prediction = load_model(tmp_path).predict_one(writing(spec, "a"))
        assert prediction.text == "a"
        expected = first[0] * second[1] + first[1] * second[0] + first[1] * second[1]
        assert prediction.confidence == pytest.approx(expected, rel=1e-2)  # shades are whole numbers
        assert prediction.alternatives[0].confidence == pytest.approx(second[1], rel=1e-2)


def test_a_prediction_does_not_depend_on_its_neighbours(model: Model) -> None:
    rng = np.random.default_rng(7)
    noise = [rng.integers(0, 256, (28, 28), np.uint8) for _ in range(40)]
    contents = []
    for pixels in noise:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        contents.append(out.getvalue())
    together = list(model.predict(contents))
    assert together == [model.predict_one(content) for content in contents]
    assert together[::-1] == list(model.predict(contents[::-1]))
    assert len({prediction.confidence for prediction in together}) > 30


def test_pixels_arrive_as_they_are_in_rows_columns_channels() -> None:
    pixels = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    assert np.array_equal(decode(out.getvalue(), InputSpec("image", 40, 30, "rgb")), pixels)


@pytest.mark.parametrize("size", [28, 96])
@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_whatever_prepare_makes_is_taken(size: int, colour: str) -> None:
    spec = InputSpec("image", size, size, colour)  # type: ignore[arg-type]
    for mode in ("L", "RGB", "RGBA", "CMYK"):
        source = picture(90, (300, 200), mode, "TIFF")
        assert decode(prepare(source, spec), spec).shape == (size, size, spec.channels)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises this size, grey, and ends after its header."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    idat = struct.pack(">I", 1 << 20) + b"IDAT"
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + idat


def transparent() -> bytes:
    out = io.BytesIO()
    Image.new("L", (28, 28)).save(out, "PNG", transparency=0)
    return out.getvalue()


REFUSED = {
    "empty": (b"", "EmptyObject", "zero bytes"),
    "text": (b"no image at all", "NotAnImage", "no known"),
    "gif": (picture(1, format_="GIF"), "UnsupportedFormat", "ics.imaging.prepare"),
    "too wide": (picture(1, (29, 28)), "ModelRefused", "29 x 28 pixels; this model takes 28 x 28"),
    "huge": (png_header(100_000, 100_000), "ModelRefused", "100000 x 100000"),
    "header alone": (png_header(28, 28), "TruncatedImage", None),
    "colour": (picture(1, mode="RGB"), "ModelRefused", "this model takes L"),
    "alpha": (picture(1, mode="LA"), "ModelRefused", "mode LA"),
    "transparent": (transparent(), "ModelRefused", "transparency"),
    "cut png": (picture(1)[:-30], "TruncatedImage", None),
    "cut jpeg": (picture(1, format_="JPEG")[:-20], "TruncatedImage", None),
    "flipped": (picture(1)[:20] + b"\xff" + picture(1)[21:], "CorruptImage", None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_images_that_are_not_prepared_are_refused_by_name(model: Model, name: str) -> None:
    content, reason, message = REFUSED[name]
    with pytest.raises(ImageError, match=message) as caught:
        list(model.predict([picture(10), content]))
    assert caught.value.reason == reason


class NotANumber:
    """A session whose net answers NaN to a picture whose first pixel is white."""

    def run(self, _outputs: object, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        (pixels,) = inputs["image"]
        return [np.full((1, 10), np.nan if pixels[0, 0, 0] == 255 else 1, np.float32)]


def test_an_answer_that_is_not_finite_refuses_the_image(model: Model) -> None:
    with pytest.raises(ModelRefused, match="not finite"):
        dataclasses.replace(model, session=NotANumber()).predict_one(picture(255))


@pytest.mark.parametrize("order", list(itertools.permutations(("fine", "not finite", "no image"))))
def test_the_first_image_that_is_refused_is_the_one_that_is_named(model: Model, order: tuple[str, ...]) -> None:
    kinds = {"fine": picture(1), "not finite": picture(255), "no image": b"no image at all"}
    predictions = dataclasses.replace(model, session=NotANumber()).predict(kinds[name] for name in order)
    given = []
    with pytest.raises(ImageError) as caught:
        given.extend(predictions)
    first = next(name for name in order if name != "fine")
    assert caught.value.reason == {"not finite": "ModelRefused", "no image": "NotAnImage"}[first]
    assert len(given) == order.index(first)


@dataclasses.dataclass
class Busy:
    """A session that takes half a millisecond however many images there are, and answers as told."""

    answer: Callable[[np.ndarray], np.ndarray]
    batches: list[int] = dataclasses.field(default_factory=list)

    def run(self, _outputs: object, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        end = time.thread_time() + 0.0005
        while time.thread_time() < end:
            pass
        self.batches.append(len(inputs["image"]))
        return [self.answer(inputs["image"]).astype(np.float32)]


def brightness(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(len(pixels), -1)[:, :10] / 255


def among_neighbours(pixels: np.ndarray) -> np.ndarray:
    """As a matrix product may: a last bit that depends on the batch."""
    return brightness(pixels) + (len(pixels) > 3) * 1e-6


def one_at_a_time(pixels: np.ndarray) -> np.ndarray:
    if len(pixels) > 1:
        raise RuntimeError("Got invalid dimensions for input: index 0 Got: 2 Expected: 1")
    return brightness(pixels)


@pytest.mark.parametrize(("answer", "batch"), [(brightness, 32), (among_neighbours, 2), (one_at_a_time, 1)])
def test_a_batch_is_the_fastest_that_changes_no_answer(
    model: Model, answer: Callable[[np.ndarray], np.ndarray], batch: int
) -> None:
    session = Busy(answer)
    found = measured(dataclasses.replace(model, session=session))  # type: ignore[arg-type]
    assert found.batch == batch
    assert 0.0004 / batch < found.seconds < 0.01
    session.batches.clear()
    contents = [picture(number) for number in range(39)]
    together = list(found.predict(contents))
    rest = [size for size in (16, 8, 4, 2, 1) if size < batch and 39 % batch & size]  # each of a size that was tried
    assert session.batches == [batch] * (39 // batch) + rest
    assert together == [dataclasses.replace(found, batch=1).predict_one(content) for content in contents]


def test_a_net_that_is_slow_is_not_tried_in_batches(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.model.SLOW", 0.0001)
    session = Busy(brightness)
    assert measured(dataclasses.replace(model, session=session)).batch == 1  # type: ignore[arg-type]
    assert set(session.batches) == {1}


@pytest.mark.parametrize("shipped", sorted(path.parent.name for path in MODELS.glob("*/model.json")))
def test_shipped_models_answer_the_same_to_the_bit_in_any_batch(shipped: str) -> None:
    model = load_model(MODELS / shipped)
    taken = model.spec.input
    noise = np.random.default_rng(3).integers(0, 256, (37, taken.height, taken.width, taken.channels), np.uint8)
    alone = model.logits(noise)
    for batch in BATCHES:
        assert np.array_equal(dataclasses.replace(model, batch=batch).logits(noise), alone)


@st.composite
def jpegs(draw: st.DrawFn) -> tuple[bytes, InputSpec]:
    """JPEGs of many makes, some with bytes changed or cut, and the input that most of them are made for."""
    width, height, grey = draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.booleans())
    seed, smooth = draw(st.integers(0, 99)), draw(st.booleans())
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC, (0, 0, 1, 1) if smooth else None)
    out = io.BytesIO()
    mode = draw(st.sampled_from(["L" if grey else "RGB"] * 4 + ["L", "RGB", "CMYK"]))
    image.convert(mode).save(
        out,
        "JPEG",
        quality=draw(st.sampled_from([5, 75, 95, 100])),
        subsampling=draw(st.sampled_from([0, 1, 2])),
        progressive=draw(st.sampled_from([False, False, True])),
        optimize=draw(st.booleans()),
        restart_marker_blocks=draw(st.sampled_from([0, 1])),
    )
    content = bytearray(out.getvalue())
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.sampled_from([None, None, None, -1, -30]))
    return bytes(content[:cut]), InputSpec("image", width, height, "grey" if grey else "rgb")


def decoded(content: bytes, spec: InputSpec) -> object:
    try:
        return decode(content, spec).tobytes()
    except ImageError as error:
        return error.reason


@given(jpegs())
@settings(max_examples=300)
def test_a_jpeg_comes_out_the_same_to_the_bit_with_and_without_pillow(made: tuple[bytes, InputSpec]) -> None:
    content, spec = made
    found = decoded(content, spec)
    with mock.patch("simplejpeg.decode_jpeg", side_effect=ValueError):
        assert decoded(content, spec) == found


def test_a_jpeg_as_prepare_makes_it_needs_no_pillow() -> None:
    spec = InputSpec("image", 96, 72, "rgb")
    content = prepare(picture(90, (300, 200), "RGB", "TIFF"), spec)
    with mock.patch("serving.model._decode_into", side_effect=AssertionError):
        assert decode(content, spec).shape == (72, 96, 3)


def describe(folder: Path, **changes: object) -> None:
    fields = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**fields, **changes}))


def test_artifacts_that_cannot_answer_are_refused_at_load(tmp_path: Path) -> None:
    spec = write_artifact(tmp_path)
    with pytest.raises(InvalidArtifact, match="does not exist"):
        load_model(tmp_path / "elsewhere")
    taken = {"tensor": "image", "width": 28, "height": 28, "colour": "grey"}
    for changes, message in (
        ({"kind": "detection"}, "is a detection model; this server answers for classification and text only"),
        ({"kind": "text"}, r"answers shape \[1, 10\]; it must be \[1, frames, 11\] for a text model"),
        ({"labels": ["a", "b"]}, r"must be \[1, 2\] for a classification model of 2 labels"),
        ({"input": taken | {"width": 32}}, r"model.json says \[28, 32, 1\]"),
        ({"input": taken | {"tensor": "picture"}}, r"takes \(image: tensor\(uint8\)\)"),
        ({"output": {"tensor": "scores"}}, "answers logits"),
        ({"version": "0" * 64}, "describes version 0000"),
    ):
        write_artifact(tmp_path)
        describe(tmp_path, **changes)
        with pytest.raises(InvalidArtifact, match=message):
            load_model(tmp_path)
    write_artifact(tmp_path, kind="text", labels=["a", "b"], width=64)
    describe(tmp_path, labels=["a", "b", "c"])
    with pytest.raises(InvalidArtifact, match=r"answers shape \[1, 8, 3\]; it must be \[1, frames, 4\]"):
        load_model(tmp_path)
    write_artifact(tmp_path, sharpness=math.inf)
    with pytest.raises(InvalidArtifact, match="not finite"):
        load_model(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    describe(tmp_path, version=graph_version(tmp_path / "model.onnx"))
    with pytest.raises(InvalidArtifact, match="cannot be loaded"):
        load_model(tmp_path)
    assert write_artifact(tmp_path) == spec
    assert isinstance(load_model(tmp_path).predict_one(picture(1)), Prediction)


def test_a_lambda_can_import_the_model_without_the_server() -> None:
    code = "import sys, serving.model; sys.exit(bool({'uvloop', 'asyncio', 'serving.app', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
