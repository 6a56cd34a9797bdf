"""Model artifacts: what model.json may say, and what it says when it is wrong."""

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ics.artifact import MAX_SIDE, InputSpec, ModelSpec, load_spec, spec_from_json, spec_to_json
from ics.errors import InvalidArtifact
from ics.imaging import prepare
from ics.wire import MAX_BODY, request_line

MODEL = {
    "name": "digits",
    "kind": "classification",
    "labels": list("0123456789"),
    "input": {"tensor": "image", "width": 28, "height": 28, "colour": "grey", "polarity": "light-on-dark"},
    "output": {"tensor": "logits"},
    "temperature": 1.25,
    "version": "f" * 64,
    "metrics": {"accuracy": 0.993},
}


def changed(path: str, value: object) -> dict:
    """MODEL with one field replaced, or left out where the value is an ellipsis."""
    model = copy.deepcopy(MODEL)
    *parents, name = path.split(".")
    fields = model
    for parent in parents:
        fields = fields[parent]
    if value is ...:
        del fields[name]
    else:
        fields[name] = value
    return model


def test_a_model_json_comes_back_as_it_was_written() -> None:
    spec = spec_from_json(MODEL)
    assert spec == ModelSpec(
        name="digits",
        kind="classification",
        labels=tuple("0123456789"),
        input=InputSpec("image", 28, 28, "grey", "light-on-dark"),
        output="logits",
        temperature=1.25,
        version="f" * 64,
        metrics={"accuracy": 0.993},
    )
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec
    assert (spec.input.channels, InputSpec("x", 1, 1, "rgb").channels) == (1, 3)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        *((name, ..., f"lacks '{name}'") for name in MODEL if name != "metrics"),
        ("name", 7, "name is 7; it must be a string"),
        ("kind", "regression", "kind is 'regression'; it must be one of: classification, text, detection"),
        ("kind", ["text"], "kind is"),
        ("labels", [], "labels must be a list of strings, at least one"),
        ("labels", "0123", "labels must be a list of strings"),
        ("labels", [0, 1], "labels must be a list of strings"),
        ("labels", [["0"]], "labels must be a list of strings"),
        ("labels", None, "labels must be a list of strings"),
        ("labels", ["0", "0"], "labels must be different"),
        ("labels", ["0", ""], "label '' must be printable text, and not empty"),
        ("labels", ["a\nb"], r"label 'a\\nb' must be printable"),
        ("labels", ["\ud800"], "must be printable"),
        ("temperature", 0, "temperature is 0; it must be a number above 0"),
        ("temperature", -1.0, "temperature is -1.0"),
        ("temperature", True, "temperature is True"),
        ("temperature", "1", "temperature is '1'"),
        ("temperature", float("nan"), "temperature is nan"),
        ("temperature", float("inf"), "temperature is inf"),
        ("version", None, "version is None; it must be a string"),
        ("output", "logits", "model.json: "),
        ("output", {}, "lacks 'tensor'"),
        ("output.tensor", 1, "output.tensor is 1"),
        ("input", [], "input: "),
        ("input", {}, "input: .*missing"),
        ("input.tensor", ..., "input: .*'tensor'"),
        ("input.tensor", 1, "input.tensor is 1"),
        ("input.depth", 3, "input: .*'depth'"),
        ("input.layout", "NCHW", "input.layout is 'NCHW'; it must be one of: NHWC"),
        ("input.dtype", "float32", "input.dtype is 'float32'; it must be one of: uint8"),
        ("input.colour", "bgr", "input.colour is 'bgr'; it must be one of: grey, rgb"),
        ("input.polarity", None, "input.polarity is None; it must be one of: light-on-dark, dark-on-light, any"),
        ("input.width", 0, "input.width is 0; it must be a whole number of pixels from 1 to 1024"),
        ("input.width", 28.0, "input.width is 28.0"),
        ("input.height", True, "input.height is True"),
        ("input.height", 1025, "input.height is 1025"),
    ],
)
def test_a_wrong_model_json_names_the_field(path: str, value: object, says: str) -> None:
    with pytest.raises(InvalidArtifact, match=says):
        spec_from_json(changed(path, value))


def test_a_text_model_reads_single_characters_after_the_blank() -> None:
    spec = spec_from_json({**MODEL, "kind": "text", "labels": ["ж", " ", "?"]})
    assert (spec.labels, spec.classes) == (("ж", " ", "?"), 4)
    assert spec_from_json(MODEL).classes == 10
    for label, says in (("ab", "label 'ab' must be a single character"), ("\t", r"label '\\t' must be printable")):
        with pytest.raises(InvalidArtifact, match=says):
            spec_from_json({**MODEL, "kind": "text", "labels": ["a", label]})


@pytest.mark.parametrize("fields", [None, [], "digits", 7])
def test_a_model_json_is_an_object(fields) -> None:
    with pytest.raises(InvalidArtifact):
        spec_from_json(fields)


def test_a_folder_is_held_to_its_graph(tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact, match=r"model\.json does not exist"):
        load_spec(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    with pytest.raises(InvalidArtifact, match=r"model\.onnx does not exist"):
        load_spec(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"abc")
    with pytest.raises(InvalidArtifact, match=r"has SHA-256 ba7816bf.*, but model.json describes version ffff"):
        load_spec(tmp_path)
    # SHA-256 of "abc": FIPS 180-2, appendix B.1
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "model.json").write_text(json.dumps(changed("version", digest)))
    assert load_spec(tmp_path).version == digest
    for content in (b"{", b"\xff"):
        (tmp_path / "model.json").write_bytes(content)
        with pytest.raises(InvalidArtifact, match="is not JSON"):
            load_spec(tmp_path)


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_the_largest_picture_fits_a_request(colour) -> None:
    spec = InputSpec("image", MAX_SIDE, MAX_SIDE, colour)
    noise = np.random.default_rng(0).integers(0, 2, (MAX_SIDE, MAX_SIDE, 3)) * 255
    prepared = prepare(_png(noise.astype("uint8")), spec)
    assert len(request_line("f" * 64, prepared)) <= MAX_BODY
    assert prepare(prepared, spec) is prepared


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()
