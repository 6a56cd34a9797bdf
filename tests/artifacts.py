"""Tiny model artifacts with known weights, whose answers can be foretold: the label follows the mean brightness.

A picture whose mean is `shade(spec, label)` is surely that label; one halfway between two shades is half of each. A
text model does the same to each strip of `STRIP` columns, where black is the blank: `writing(spec, text)` is a picture
on which it surely reads that text.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ics.artifact import Colour, InputSpec, Kind, ModelSpec, Polarity, spec_to_json

DIGITS = tuple("0123456789")
STRIP = 8


def write_artifact(
    folder: Path,
    *,
    name: str = "tiny",
    kind: Kind = "classification",
    labels: Sequence[str] = DIGITS,
    width: int = 28,
    height: int = 28,
    colour: Colour = "grey",
    polarity: Polarity = "any",
    sharpness: float = 1000.0,
    temperature: float = 1.0,
) -> ModelSpec:
    """Write model.onnx, model.json and card.md, and return the model.json's spec.

    The logit of label k of n is `-sharpness * (mean / 255 - k / (n - 1)) ** 2`, where mean is that of all the image's
    values: labels lie evenly from black (the first) to white (the last). With ten labels and the default sharpness a
    picture on a label's shade has a confidence above 0.9999; with 100 it has 0.5 to 0.8. A text model answers so for
    each strip, with the blank before its labels.
    """
    spec_input = InputSpec("image", width, height, colour, polarity)
    classes, frames = len(labels) + (kind == "text"), width // STRIP
    whole = [
        helper.make_node("ReduceMean", ["values"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Flatten", ["mean"], ["column"], axis=1),
    ]
    strips = [
        helper.make_node("ReduceMean", ["values"], ["columns"], axes=[1, 3], keepdims=0),
        helper.make_node("Reshape", ["columns", "strips"], ["stripped"]),
        helper.make_node("ReduceMean", ["stripped"], ["column"], axes=[2], keepdims=1),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        *(strips if kind == "text" else whole),
        helper.make_node("Div", ["column", "white"], ["brightness"]),
        helper.make_node("Sub", ["brightness", "shades"], ["distance"]),
        helper.make_node("Mul", ["distance", "distance"], ["square"]),
        helper.make_node("Mul", ["square", "slope"], ["logits"]),
    ]
    weights = {
        "white": np.array(255, np.float32),
        "shades": np.linspace(0, 1, classes, dtype=np.float32),
        "slope": np.array(-sharpness, np.float32),
        **({"strips": np.array([0, frames, STRIP])} if kind == "text" else {}),
    }
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", height, width, spec_input.channels])],
        [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT, ["N", *([frames] if kind == "text" else []), classes]
            )
        ],
        [numpy_helper.from_array(values, weight) for weight, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    version = hashlib.sha256(content).hexdigest()
    spec = ModelSpec(name, kind, tuple(labels), spec_input, "logits", temperature, version, {})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "model.json").write_text(json.dumps(spec_to_json(spec)), "utf-8")
    (folder / "card.md").write_text(f"# {name}\n\nFor tests: says how bright a picture is.\n", "utf-8")
    return spec


def shade(spec: ModelSpec, label: str) -> int:
    """The brightness, 0 to 255, of which such an artifact is surest that it is `label`."""
    return round(255 * (spec.labels.index(label) + (spec.kind == "text")) / max(1, spec.classes - 1))


def writing(spec: ModelSpec, text: str) -> bytes:
    """A PNG of the model's size on which such a text artifact reads `text`: a blank strip, then a strip a character."""
    pixels = np.zeros((spec.input.height, spec.input.width), np.uint8)
    for place, character in enumerate("".join(f"\0{character}" for character in text)):
        if character != "\0":
            pixels[:, place * STRIP : (place + 1) * STRIP] = shade(spec, character)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def picture(brightness: int, size: tuple[int, int] = (28, 28), mode: str = "L", format_: str = "PNG") -> bytes:
    """A picture of one shade; `size` is (width, height), in pixels."""
    out = io.BytesIO()
    Image.new(mode, size, brightness if mode == "L" else (brightness,) * len(mode)).save(out, format_)
    return out.getvalue()
