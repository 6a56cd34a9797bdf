"""The two nets that servers are compared with, as artifacts, and pictures for them.

Their weights are random, for what they compute costs the same; only the last layer is fitted to the pictures, so that
each class is the surest of some, and sure in different degrees: servers that mixed up answers would be found out.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_sample_images

from cli.quantization import integers
from ics.artifact import InputSpec, ModelSpec, graph_version, load_spec, spec_to_json

Floats = npt.NDArray[np.float32]

SPREAD = 3.0
"""The standard deviation of each class's logit over the pictures."""


class Graph:
    """An ONNX graph in the making: uint8 [N, side, side, 3] in, then one layer after the other; `last` is its end."""

    def __init__(self, side: int) -> None:
        self.side, self._random = side, np.random.default_rng(0)
        self._nodes: list[NodeProto] = []
        self._weights: list[TensorProto] = []
        floats = self.add("Cast", "image", to=TensorProto.FLOAT)
        channels_first = self.add("Transpose", floats, perm=[0, 3, 1, 2])
        scaled = self.add("Mul", channels_first, self.weight(np.float32(1 / 127.5)))
        self.last = self.add("Sub", scaled, self.weight(np.float32(1)))

    def weight(self, values: npt.ArrayLike) -> str:
        """Keep a constant; its name."""
        self._weights.append(numpy_helper.from_array(np.asarray(values, np.float32), f"w{len(self._weights)}"))
        return self._weights[-1].name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of what it puts out."""
        self._nodes.append(helper.make_node(kind, inputs, [f"t{len(self._nodes)}"], **attributes))
        return self._nodes[-1].output[0]

    def convolution(self, channels: int, made: int, size: int = 1, stride: int = 1, groups: int = 1) -> None:
        """A convolution with He's random weights (2015, arXiv:1502.01852), padded to keep the size."""
        taken = channels // groups
        weights = self._random.standard_normal((made, taken, size, size)) * np.sqrt(2 / (taken * size * size))
        biases = self._random.standard_normal(made) * 0.1
        self.last = self.add(
            "Conv", self.last, self.weight(weights), self.weight(biases),
            kernel_shape=[size, size], strides=[stride] * 2, pads=[size // 2] * 4, group=groups,
        )  # fmt: skip

    def rectify(self) -> None:
        """ReLU6."""
        self.last = self.add("Clip", self.last, self.weight(np.float32(0)), self.weight(np.float32(6)))

    def content(self, output: str, channels: int) -> bytes:
        """The ONNX file up to here; what the last node puts out, [N, channels], is named `output` from now on."""
        self._nodes[-1].output[0] = output
        graph = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", self.side, self.side, 3])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", channels])],
            self._weights,
        )
        made: bytes = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
        return made


def tiny(graph: Graph) -> int:
    """Four convolutions; returns the channels of its end."""
    for channels, made, stride in ((3, 16, 1), (16, 32, 2), (32, 32, 2), (32, 64, 2)):
        graph.convolution(channels, made, 3, stride)
        graph.rectify()
    return 64


def mobile(graph: Graph) -> int:
    """MobileNetV2's layers (Sandler et al. 2018, arXiv:1801.04381, table 2); returns the channels of its end."""
    graph.convolution(3, 32, 3, 2)
    graph.rectify()
    channels = 32
    for expansion, made, repeats, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for stride in (first, *[1] * (repeats - 1)):
            before, hidden = graph.last, channels * expansion
            if expansion > 1:
                graph.convolution(channels, hidden)
                graph.rectify()
            graph.convolution(hidden, hidden, 3, stride, hidden)
            graph.rectify()
            graph.convolution(hidden, made)
            if stride == 1 and channels == made:
                graph.last = graph.add("Add", before, graph.last)
            channels = made
    graph.convolution(channels, 1280)
    graph.rectify()
    return 1280


@dataclass(frozen=True)
class Net:
    """A net to compare with: pictures of `side` x `side` pixels in, so many classes out."""

    name: str
    title: str
    side: int
    classes: int
    layers: Callable[[Graph], int] = field(repr=False)


TINY = Net("tiny", "the tiny net", 32, 10, tiny)
MOBILE = Net("mobile", "the MobileNetV2-sized net", 224, 1000, mobile)


def pictures(net: Net, count: int = 32) -> list[bytes]:
    """So many different JPEGs of the net's size, cut at random from scikit-learn's two photographs."""
    photographs = [Image.fromarray(one) for one in load_sample_images().images]
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        side = int(random.integers(96, 400))
        left, top = (int(random.integers(0, room - side)) for room in photograph.size)
        cut = photograph.crop((left, top, left + side, top + side))
        out = io.BytesIO()
        cut.resize((net.side, net.side), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        made.append(out.getvalue())
    return made


def write_artifact(net: Net, folder: Path, jpegs: Sequence[bytes]) -> None:
    """Make the net's artifact in a folder that is not there yet, its last layer fitted to these pictures."""
    graph = Graph(net.side)
    channels = net.layers(graph)
    graph.last = graph.add("Flatten", graph.add("GlobalAveragePool", graph.last))
    weights, biases = _fitted(_features(graph.content("features", channels), jpegs), net.classes)
    graph.add("Gemm", "features", graph.weight(weights), graph.weight(biases))
    _write(net, folder, graph.content("logits", net.classes))


def write_integers(net: Net, folder: Path, original: Path, jpegs: Sequence[bytes]) -> None:
    """Make the artifact of the net in `original` as `ics model quantize` computes it: in 8-bit integers."""
    content = integers(original / "model.onnx", load_spec(original), [_pixels(jpeg) for jpeg in jpegs])
    _write(net, folder, content)


def _write(net: Net, folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)
    spec = ModelSpec(
        name=folder.name,
        kind="classification",
        labels=tuple(f"class-{number}" for number in range(net.classes)),
        input=InputSpec(tensor="image", width=net.side, height=net.side, colour="rgb"),
        output="logits",
        temperature=1.0,
        version=graph_version(folder / "model.onnx"),
        metrics={},
    )
    (folder / "model.json").write_text(json.dumps(spec_to_json(spec)), "utf-8")
    (folder / "card.md").write_text(f"{net.title}, with random weights\n", "utf-8")


def _pixels(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """[side, side, 3]."""
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def _features(content: bytes, jpegs: Sequence[bytes]) -> Floats:
    """What comes before the last layer, of each picture; [pictures, channels]."""
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": _pixels(jpeg)[np.newaxis]})[0] for jpeg in jpegs])


def _fitted(features: Floats, classes: int) -> tuple[Floats, Floats]:
    """A random layer, such that each class's logit has mean 0 and deviation `SPREAD` over these pictures."""
    weights = np.random.default_rng(0).standard_normal((features.shape[1], classes))
    logits = features @ weights
    scale = SPREAD / logits.std(axis=0)
    return (weights * scale).astype(np.float32), (-logits.mean(axis=0) * scale).astype(np.float32)
