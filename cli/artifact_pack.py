"""A ready ONNX graph made an artifact: pixels in, logits out, whatever is between them inside the graph.

What a graph expects of its pixels is known to those who trained it, not to the graph: scaling, normalisation, the order
of its axes. Packing puts these before the graph and undoes a softmax behind it, so that uint8 pixels [N, height, width,
channels] become logits, which a temperature can divide.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from cli.artifact_check import CLOSE, TO_FILL_IN, alone_and_together, pictures
from ics.artifact import (
    Colour,
    InputSpec,
    Kind,
    ModelSpec,
    Polarity,
    graph_version,
    input_from_json,
    spec_from_json,
    spec_to_json,
)
from ics.errors import InvalidArtifact
from serving.model import open_graph

FLOATS = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.DOUBLE: "float64"}

OLDEST_OPSET = 7
"""ONNX Runtime takes no older graphs, and the nodes around them broadcast, which older ones did not."""

DYNAMIC = 'export it with a dynamic batch, as in torch.onnx.export(..., dynamic_axes={"the input": {0: "N"}})'

SMALLEST = 1e-37
"""What a probability of zero counts as, so that its logarithm is finite; float32's smallest is 1.2e-38."""

CARD = f"""\
# {{name}}

{TO_FILL_IN} in a sentence, what it tells from a picture, and for whom._

| | |
|---|---|
| version | `{{version}}` |
| input | {{width}} x {{height}}, {{colour}} |
| answers | {{answers}} |

## Data

{TO_FILL_IN} where the training images come from, who made them, and their licence._

## Figures

{TO_FILL_IN} accuracy, calibration error and the share accepted, and the images they were measured on._

## Use and limits

{TO_FILL_IN} what it is meant for, what it was never shown, where it fails, what it must not decide._
"""


@dataclass(frozen=True)
class Preparation:
    """What a graph expects of its pixels: `(pixel / scale - mean) / std`, a number a channel, or one for all."""

    colour: Colour
    size: tuple[int, int] | None = None  # width, height; None where the graph itself says
    polarity: Polarity = "any"
    scale: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def pack(
    source: Path, out: Path, *, labels: Sequence[str], preparation: Preparation, temperature: float = 1.0
) -> ModelSpec:
    """Write the artifact of an ONNX file into the folder `out`, whose name becomes the model's.

    Its kind follows from what the graph answers an image: as many logits as labels (classification), or one more for
    each frame of a line (text).

    Raises:
        InvalidArtifact: says what is wrong with the graph, the labels or the options, and what to do.
    """
    if (out / "model.json").exists():
        raise InvalidArtifact(f"{out} holds an artifact already; remove it, or name another --out")
    try:
        net = onnx.load(source)
    except Exception as error:  # protobuf's own, which it does not export; or weights in a file that is not there
        raise InvalidArtifact(f"{source} cannot be read as ONNX: {error}") from error
    taken, graph = _with_pixels(net, preparation)
    kind, graph = _with_logits(graph, taken, len(labels))
    fields = {"name": out.resolve().name, "kind": kind, "labels": list(labels), "input": asdict(taken),
              "output": {"tensor": "logits"}, "temperature": temperature, "version": ""}  # fmt: skip
    spec_from_json(fields)
    _fix_batch(graph, taken)
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(graph.SerializeToString())
    spec = spec_from_json({**fields, "version": graph_version(out / "model.onnx")})
    if not (out / "card.md").exists():
        answers = f"{len(labels)} {'characters' if kind == 'text' else 'labels'}"
        card = CARD.format(**{**asdict(taken), "name": spec.name, "version": spec.version, "answers": answers})
        (out / "card.md").write_text(card, "utf-8")
    (out / "model.json").write_text(json.dumps(spec_to_json(spec), ensure_ascii=False, indent=2) + "\n", "utf-8")
    return spec


def _with_pixels(net: onnx.ModelProto, preparation: Preparation) -> tuple[InputSpec, onnx.ModelProto]:
    """The graph with scaling, normalisation and transposition before it."""
    opset = next((one.version for one in net.opset_import if one.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST_OPSET:
        raise InvalidArtifact(
            f"the graph is of opset {opset}; export it with opset {OLDEST_OPSET} or later, such as 17"
        )
    weights = {one.name for one in net.graph.initializer}
    inputs = [one for one in net.graph.input if one.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise InvalidArtifact(f"the graph takes {len(inputs)} inputs ({names}); ICS gives it one, the image")
    tensor = inputs[0].type.tensor_type
    channels = 1 if preparation.colour == "grey" else 3
    transposed, (height, width) = _axes(inputs[0], channels, preparation.size)
    taken = InputSpec("image", width, height, preparation.colour, preparation.polarity)
    input_from_json(asdict(taken))  # its size within bounds, before anything of that size is made
    try:
        front = _front(taken, tensor.elem_type, preparation, transposed)
        del net.graph.value_info[:]  # shapes between the nodes, which may say that the batch is 1
        net.graph.CopyFrom(
            compose.merge_graphs(front, net.graph, io_map=[("prepared", inputs[0].name)], prefix2="net/")
        )
    except ValueError as error:
        raise InvalidArtifact(f"the graph cannot be wrapped: {error}") from error
    return taken, net


def _axes(image: onnx.ValueInfoProto, channels: int, size: tuple[int, int] | None) -> tuple[bool, tuple[int, int]]:
    """Whether the graph takes NCHW, and its images' height and width."""
    shape = [one.dim_value if one.HasField("dim_value") else None for one in image.type.tensor_type.shape.dim]
    written = ", ".join(str(one or "?") for one in shape)
    if len(shape) != 4:
        raise InvalidArtifact(f"the graph takes [{written}]; an image has four axes: [N, {channels}, height, width]")
    if shape[0] not in (None, 0, 1):
        raise InvalidArtifact(f"the graph takes {shape[0]} images at a time, no fewer; {DYNAMIC}")
    if shape[1] == channels:
        transposed, found = True, (shape[2], shape[3])
    elif shape[3] == channels:
        transposed, found = False, (shape[1], shape[2])
    else:
        raise InvalidArtifact(
            f"the graph takes [{written}], where neither the second nor the last axis has {channels}, "
            f"the channels of {'grey' if channels == 1 else 'rgb'} pictures"
        )
    wanted = (size[1], size[0]) if size else found
    if not all(wanted):
        raise InvalidArtifact(
            f"the graph takes images of any size ([{written}]); say with --input WIDTHxHEIGHT of which"
        )
    if any(one not in (None, 0, other) for one, other in zip(found, wanted, strict=True)):
        raise InvalidArtifact(f"the graph takes {found[1]}x{found[0]} (width x height), not {wanted[1]}x{wanted[0]}")
    return transposed, cast("tuple[int, int]", wanted)


def _front(taken: InputSpec, wanted: int, preparation: Preparation, transposed: bool) -> onnx.GraphProto:
    """From `image` to `prepared`: pixels as the graph wants them, whose element type is `wanted`."""
    nodes, name = [], "image"
    if wanted in FLOATS:
        nodes += [
            helper.make_node("Cast", [name], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["pixels", "slope"], ["scaled"]),
            helper.make_node("Add", ["scaled", "shift"], ["normalised"]),
            helper.make_node("Cast", ["normalised"], ["values"], to=wanted),
        ]
        name = "values"
    elif wanted != TensorProto.UINT8:
        raise InvalidArtifact(
            f"the graph takes {TensorProto.DataType.Name(wanted).lower()}; ICS can give it "
            f"{', '.join(FLOATS.values())} or uint8"
        )
    elif preparation.mean != (0.0,) or preparation.std != (1.0,):
        raise InvalidArtifact("the graph takes uint8, which is not normalised; leave out --mean and --std")
    # An Identity would be needed for a graph that takes just these pixels, so that is a Transpose that moves nothing.
    nodes.append(helper.make_node("Transpose", [name], ["prepared"], perm=[0, 3, 1, 2] if transposed else [0, 1, 2, 3]))
    constants = _slope_and_shift(preparation, taken.channels) if wanted in FLOATS else []
    size = (taken.height, taken.width, taken.channels)
    order: list[str | int | None] = ["N", size[2], size[0], size[1]] if transposed else ["N", *size]
    return helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *size])],
        [helper.make_tensor_value_info("prepared", wanted, order)],
        constants,
    )


def _slope_and_shift(preparation: Preparation, channels: int) -> list[onnx.TensorProto]:
    """`(pixel / scale - mean) / std` as one multiplication and one addition."""
    mean, std = (np.array(values, np.float64) for values in (preparation.mean, preparation.std))
    if mean.size not in (1, channels) or std.size not in (1, channels):
        raise InvalidArtifact(f"--mean and --std are one number, or one for each of the {channels} channels")
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {"slope": 1 / (preparation.scale * std), "shift": -mean / std}
    tensors = {name: np.broadcast_to(one, channels).astype(np.float32) for name, one in values.items()}
    if not all(np.isfinite(one).all() for one in tensors.values()):
        raise InvalidArtifact("--scale and --std must be finite numbers, and not 0")
    return [numpy_helper.from_array(one, name) for name, one in tensors.items()]


def _with_logits(graph: onnx.ModelProto, taken: InputSpec, labels: int) -> tuple[Kind, onnx.ModelProto]:
    """The model's kind, and the graph with `logits` as its one output, float32 [N, labels] or [N, frames, 1 + labels].

    Probabilities become their logarithms, whose softmax they are.
    """
    outputs = [one.name for one in graph.graph.output]
    if len(outputs) != 1:
        names = ", ".join(name.removeprefix("net/") for name in outputs)
        raise InvalidArtifact(f"the graph answers {len(outputs)} tensors ({names}); export it with one, the logits")
    answers = _ask(graph, taken, outputs[0])
    kind, steps, shape = _shape(answers[0].shape, labels)
    answers = [one.reshape(-1, shape[-1]) for one in answers]
    if all((one >= 0).all() and np.allclose(one.sum(axis=1), 1, atol=CLOSE) for one in answers):
        steps += [("Cast", {"to": TensorProto.FLOAT}), ("Max", {}), ("Log", {})]
    name = outputs[0]
    for number, (operator, attributes) in enumerate([*steps, ("Cast", {"to": TensorProto.FLOAT})]):
        to = "logits" if number == len(steps) else f"step{number}"
        graph.graph.node.append(
            helper.make_node(operator, [name, "smallest"] if operator == "Max" else [name], [to], **attributes)
        )
        name = to
    if ("Max", {}) in steps:
        graph.graph.initializer.append(numpy_helper.from_array(np.array(SMALLEST, np.float32), "smallest"))
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", *shape[1:]]))
    return kind, graph


def _ask(graph: onnx.ModelProto, taken: InputSpec, output: str) -> list[npt.NDArray[np.float64]]:
    """What the graph answers a black, a white and a noisy picture, one at a time."""
    session = open_graph(graph.SerializeToString())
    try:
        return [session.run([output], {"image": one[np.newaxis]})[0].astype(np.float64) for one in pictures(taken)]
    except Exception as error:  # the runtime has no common base class for what a graph stumbles over
        size = f"{taken.width}x{taken.height} {taken.colour}"
        raise InvalidArtifact(f"the graph does not answer for one {size} picture: {error}") from error


def _shape(found: tuple[int, ...], labels: int) -> tuple[Kind, list[tuple[str, dict[str, Any]]], tuple[int, ...]]:
    """By what a graph answers one image: its kind, the nodes that bring that to the shape it must have, that shape."""
    if found[:1] == (1,) and int(np.prod(found)) == labels:
        return "classification", [("Flatten", {"axis": 1})], (1, labels)
    if len(found) == 3 and found[2] == labels + 1 and 1 in found[:2]:
        turned = found[0] != 1  # the frames first, as recurrent nets write them
        return "text", [("Transpose", {"perm": [1, 0, 2]})] * turned, (1, max(found[:2]), labels + 1)
    raise InvalidArtifact(
        f"the graph answers {list(found)} for one image, and there are {labels} labels: it must be [1, {labels}], "
        f"or [1, frames, {labels + 1}] to read text, the blank first"
    )


def _fix_batch(graph: onnx.ModelProto, taken: InputSpec) -> None:
    """Where a batch of 1 is written into the nodes, as tracing exporters do, let the graph's signature say so.

    The server asks such a graph for one image at a time.
    """
    session = open_graph(graph.SerializeToString())
    try:
        alone, together = alone_and_together(session, taken, "logits")
    except Exception:  # as above
        fixed = True
    else:
        fixed = alone.shape != together.shape
        if not fixed and not np.allclose(alone, together, rtol=CLOSE, atol=CLOSE):
            raise InvalidArtifact("an image gets another answer among others than alone; export it after model.eval()")
    if fixed:
        for tensor in (graph.graph.input[0], graph.graph.output[0]):
            tensor.type.tensor_type.shape.dim[0].dim_value = 1
