"""Tiny model artifacts with known weights, whose answers can be foretold: the label follows the mean brightness.

A picture whose mean is `shade(spec, label)` is surely that label; one halfway between two shades is half of each.
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

from ics.artifact import Colour, InputSpec, ModelSpec, Polarity, spec_to_json

DIGITS = tuple("0123456789")


def write_artifact(
    folder: Path,
    *,
    name: str = "tiny",
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
    picture on a label's shade has a confidence above 0.9999; with 100 it has 0.5 to 0.8.
    """
    spec_input = InputSpec("image", width, height, colour, polarity)
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Flatten", ["mean"], ["column"], axis=1),
        helper.make_node("Div", ["column", "white"], ["brightness"]),
        helper.make_node("Sub", ["brightness", "shades"], ["distance"]),
        helper.make_node("Mul", ["distance", "distance"], ["square"]),
        helper.make_node("Mul", ["square", "slope"], ["logits"]),
    ]
    weights = {
        "white": np.array(255, np.float32),
        "shades": np.linspace(0, 1, len(labels), dtype=np.float32)[np.newaxis],
        "slope": np.array(-sharpness, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", height, width, spec_input.channels])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(labels)])],
        [numpy_helper.from_array(values, weight) for weight, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    version = hashlib.sha256(content).hexdigest()
    spec = ModelSpec(name, "classification", tuple(labels), spec_input, "logits", temperature, version, {})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "model.json").write_text(json.dumps(spec_to_json(spec)), "utf-8")
    (folder / "card.md").write_text(f"# {name}\n\nFor tests: says how bright a picture is.\n", "utf-8")
    return spec


def shade(spec: ModelSpec, label: str) -> int:
    """The brightness, 0 to 255, of which such an artifact is surest that it is `label`."""
    return round(255 * spec.labels.index(label) / max(1, len(spec.labels) - 1))


def picture(brightness: int, size: tuple[int, int] = (28, 28), mode: str = "L", format_: str = "PNG") -> bytes:
    """A picture of one shade; `size` is (width, height), in pixels."""
    out = io.BytesIO()
    Image.new(mode, size, brightness if mode == "L" else (brightness,) * len(mode)).save(out, format_)
    return out.getvalue()
