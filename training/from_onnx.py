"""ONNX graphs of image nets as torch modules, so that they can be learned further.

onnxruntime first folds what is constant and fuses normalisations into convolutions; what is left are few operators. The
module must then answer as onnxruntime does, image by image, or it is refused.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

LEARNED = {"Conv": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "BatchNormalization": (1, 2), "LayerNormalization": (1, 2)}
"""Operators with weights, and which of their inputs these are."""

WRAPPING = ("Softmax", "Sigmoid", "Flatten", "Reshape", "Squeeze", "Identity", "Add")
"""What may follow a classifier's last layer; an Add is that of its bias."""


class UnsupportedGraph(ValueError):
    """An ONNX graph that is no image net, or not one that can be learned further here."""


class OnnxNet(nn.Module):
    """A folded model's nodes, run in their order up to the tensor `until`; N is free whatever it was in the graph."""

    def __init__(self, model: onnx.ModelProto, until: str) -> None:
        super().__init__()
        graph = model.graph
        self.input, self.until = graph.input[0].name, until
        self.nodes = _needed(graph, until)
        learned = {
            name for node in self.nodes for at in LEARNED.get(node.op_type, ()) for name in node.input[at : at + 1]
        }
        self.constants: dict[str, NDArray[Any]] = {}
        self.places: dict[str, str] = {}
        for number, initializer in enumerate(graph.initializer):
            value, name = numpy_helper.to_array(initializer), initializer.name
            if value.dtype.kind != "f":  # shapes, axes, repetitions: numbers, not tensors
                self.constants[name] = value
                continue
            self.places[name] = f"weight{number}"
            tensor = torch.from_numpy(value.astype(np.float32))
            if name in learned:
                self.register_parameter(self.places[name], nn.Parameter(tensor))
            else:
                self.register_buffer(self.places[name], tensor)

    def forward(self, images: Tensor) -> Tensor:
        """The tensor `until`, from images as the graph takes them."""
        values: dict[str, Any] = {self.input: images, "": None, **self.constants}
        values |= {name: getattr(self, place) for name, place in self.places.items()}
        for node in self.nodes:
            attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            made = OPERATORS[node.op_type]([values[name] for name in node.input], attributes)
            values |= zip(node.output, made if isinstance(made, tuple) else (made,), strict=True)
        return values[self.until]


def fold(content: bytes, shape: Sequence[int]) -> onnx.ModelProto:
    """A model for one input of this shape, simplified: constants computed, shapes known, batch normalisation fused.

    Raises:
        UnsupportedGraph: onnxruntime cannot read it, or it does not take this shape.
    """
    model = onnx.load_from_string(content)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            type_ = np.uint8 if session.get_inputs()[0].type == "tensor(uint8)" else np.float32
            session.run(None, {session.get_inputs()[0].name: np.zeros(shape, type_)})
        except Exception as error:  # the runtime has no common class for what it refuses
            raise UnsupportedGraph(f"does not work with pictures of shape {list(shape)}: {error}") from error
        return onnx.shape_inference.infer_shapes(onnx.load(options.optimized_model_filepath))


def features_of(model: onnx.ModelProto) -> str:
    """The tensor that a classifier at a folded model's end judges; the first output where there is no classifier."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    weights = {initializer.name for initializer in graph.initializer}
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.value_info, *graph.output]
    }
    name = graph.output[0].name
    while name in made_by:
        node = made_by[name]
        if node.op_type in ("Gemm", "MatMul", "Conv") and node.input[1] in weights:
            flat = all(size == 1 for size in shapes.get(node.output[0], [0])[2:])
            return node.input[0] if flat else graph.output[0].name
        if node.op_type not in WRAPPING or (node.op_type == "Add" and not weights & set(node.input)):
            break
        name = next(each for each in node.input if each not in weights)
    return graph.output[0].name


def to_torch(model: onnx.ModelProto, until: str) -> OnnxNet:
    """The module of a folded model up to the tensor `until`, proven on two noisy pictures.

    Raises:
        UnsupportedGraph: it has an operator that is not known here, no convolution, or the module answers otherwise.
    """
    graph = model.graph
    needed = _needed(graph, until)
    if unknown := sorted({node.op_type for node in needed} - OPERATORS.keys()):
        raise UnsupportedGraph(f"has operators that cannot be learned through here: {', '.join(unknown)}")
    if not any(node.op_type == "Conv" for node in needed):
        raise UnsupportedGraph("holds no convolution before its classifier: it is no image net")
    net = OnnxNet(model, until).eval()
    taken = graph.input[0].type.tensor_type
    shape = [dim.dim_value for dim in taken.shape.dim]
    noise = np.random.default_rng(0).integers(0, 256, (2, *shape[1:]))
    noise = noise.astype(np.uint8) if taken.elem_type == onnx.TensorProto.UINT8 else (noise / 255).astype(np.float32)
    expected = _answers(model, until, noise)
    if not np.isfinite(expected).all():
        raise UnsupportedGraph("answers a noisy picture with features that are not finite numbers")
    try:
        with torch.inference_mode():
            found = net(torch.from_numpy(noise.astype(np.float32))).numpy()
    except Exception as error:  # whatever an operator of the graph did not find as it should be
        raise UnsupportedGraph(f"does not work with two pictures at once: {error}") from error
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()):
        raise UnsupportedGraph("does not answer in torch what it answers in onnxruntime")
    return net


def _needed(graph: onnx.GraphProto, until: str) -> list[onnx.NodeProto]:
    wanted, needed = {until}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            needed.append(node)
            wanted |= set(node.input)
    return needed[::-1]


def _answers(model: onnx.ModelProto, until: str, images: NDArray[Any]) -> NDArray[np.float32]:
    """The tensor `until` of images, one by one, by onnxruntime."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.append(onnx.helper.make_tensor_value_info(until, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {model.graph.input[0].name: image[np.newaxis]})[0] for image in images])


Inputs, Attributes = Sequence[Any], Mapping[str, Any]


def _padded(images: Tensor, window: Sequence[int], attributes: Attributes, value: float = 0.0) -> Tensor:
    """Images with a window operator's padding, which need not be the same on both sides."""
    how = attributes.get("auto_pad", b"NOTSET")
    if how == b"VALID":
        return images
    if how == b"NOTSET":
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    else:
        sides = []
        strides, dilations = attributes.get("strides", (1, 1)), attributes.get("dilations", (1, 1))
        for size, length, stride, dilation in zip(images.shape[2:], window, strides, dilations, strict=True):
            more = max(0, (-(-size // stride) - 1) * stride + (length - 1) * dilation + 1 - size)
            sides.append((more // 2, more - more // 2) if how == b"SAME_UPPER" else (more - more // 2, more // 2))
        (top, bottom), (left, right) = sides
    return F.pad(images, (left, right, top, bottom), value=value) if top or left or bottom or right else images


def _conv(inputs: Inputs, attributes: Attributes) -> Tensor:
    images, weight, *bias = inputs
    return F.conv2d(
        _padded(images, weight.shape[2:], attributes),
        weight,
        *bias,
        stride=tuple(attributes.get("strides", (1, 1))),
        dilation=tuple(attributes.get("dilations", (1, 1))),
        groups=attributes.get("group", 1),
    )


def _max_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    window = attributes["kernel_shape"]
    images = _padded(inputs[0], window, attributes, value=-torch.inf)
    return F.max_pool2d(
        images, window, attributes.get("strides", (1, 1)), ceil_mode=bool(attributes.get("ceil_mode", 0))
    )


def _average_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    window, strides = attributes["kernel_shape"], attributes.get("strides", (1, 1))
    total = F.avg_pool2d(_padded(inputs[0], window, attributes), window, strides)
    if attributes.get("count_include_pad", 0):
        return total
    return total / F.avg_pool2d(_padded(torch.ones_like(inputs[0][:1, :1]), window, attributes), window, strides)


def _gemm(inputs: Inputs, attributes: Attributes) -> Tensor:
    left, right, *bias = inputs
    left = left.T if attributes.get("transA", 0) else left
    right = right.T if attributes.get("transB", 0) else right
    product = attributes.get("alpha", 1.0) * (left @ right)
    return product + attributes.get("beta", 1.0) * bias[0] if bias else product


def _normalize(inputs: Inputs, attributes: Attributes) -> Tensor:
    images, scale, bias, mean, variance = inputs
    return F.batch_norm(images, mean, variance, scale, bias, eps=attributes.get("epsilon", 1e-5))


def _layer_normalize(inputs: Inputs, attributes: Attributes) -> Tensor:
    axis = attributes.get("axis", -1) % inputs[0].ndim
    return F.layer_norm(inputs[0], inputs[0].shape[axis:], *inputs[1:], eps=attributes.get("epsilon", 1e-5))


def _clip(inputs: Inputs, attributes: Attributes) -> Tensor:
    low, high = (*inputs[1:], None, None)[:2]
    return torch.clamp(inputs[0], attributes.get("min", low), attributes.get("max", high))


def _reshape(inputs: Inputs, _: Attributes) -> Tensor:
    tensor, shape = inputs[0], [int(size) for size in inputs[1]]
    shape = [tensor.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    # folded for a single picture, so what is 1 in front is the number of pictures
    return tensor.reshape([tensor.shape[0], *shape[1:]] if shape[0] == 1 else shape)


def _concat(inputs: Inputs, attributes: Attributes) -> Tensor:
    count = max((each.shape[0] for each in inputs), key=lambda size: size if isinstance(size, int) else torch.inf)
    return torch.cat([each.expand(count, *each.shape[1:]) for each in inputs], attributes["axis"])


def _axes(inputs: Inputs, attributes: Attributes) -> list[int]:
    """Axes that are an attribute in older operator sets and an input in newer ones."""
    given = attributes.get("axes", inputs[1] if len(inputs) > 1 and inputs[1] is not None else ())
    return [int(axis) for axis in given]


def _mean(inputs: Inputs, attributes: Attributes) -> Tensor:
    axes = _axes(inputs, attributes) or list(range(inputs[0].ndim))
    return inputs[0].mean(axes, keepdim=bool(attributes.get("keepdims", 1)))


def _squeeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    return inputs[0].squeeze(tuple(_axes(inputs, attributes)) or tuple(range(1, inputs[0].ndim)))


def _unsqueeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    tensor = inputs[0]
    for axis in sorted(_axes(inputs, attributes)):
        tensor = tensor.unsqueeze(axis)
    return tensor


def _pad(inputs: Inputs, attributes: Attributes) -> Tensor:
    pads = [int(size) for size in attributes.get("pads", inputs[1] if len(inputs) > 1 else ())]
    sides = list(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True))
    mode = {b"constant": "constant", b"reflect": "reflect", b"edge": "replicate"}[attributes.get("mode", b"constant")]
    value = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0
    last = sides if mode == "constant" else sides[2:]  # torch cannot mirror beyond height and width
    return F.pad(inputs[0], [size for pair in reversed(last) for size in pair], mode, value)


def _gather(inputs: Inputs, attributes: Attributes) -> Tensor:
    axis, index = attributes.get("axis", 0), np.asarray(inputs[1])
    if index.ndim == 0:
        return inputs[0].select(axis, int(index))
    return inputs[0].index_select(axis, torch.from_numpy(index.reshape(-1).copy()))


def _slice(inputs: Inputs, _: Attributes) -> Tensor:
    tensor, starts, ends, *rest = inputs
    axes, steps = (*rest, None, None)[:2]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = number if axes is None else int(axes[number])
        if steps is not None and int(steps[number]) < 1:
            raise ValueError("a slice that goes backwards")
        within = slice(int(start), int(end), 1 if steps is None else int(steps[number]))
        tensor = tensor[(slice(None),) * (axis % tensor.ndim) + (within,)]
    return tensor


def _split(inputs: Inputs, attributes: Attributes) -> tuple[Tensor, ...]:
    tensor, axis = inputs[0], attributes.get("axis", 0)
    sizes = attributes.get("split", inputs[1] if len(inputs) > 1 else None)
    if sizes is None:
        return tensor.tensor_split(attributes["num_outputs"], axis)
    return tensor.split([int(size) for size in sizes], axis)


def _softmax(inputs: Inputs, attributes: Attributes) -> Tensor:
    return inputs[0].softmax(attributes.get("axis", -1))


def _gelu(inputs: Inputs, attributes: Attributes) -> Tensor:
    return F.gelu(inputs[0], approximate=attributes.get("approximate", b"none").decode())


OPERATORS: Mapping[str, Callable[[Inputs, Attributes], Tensor | tuple[Tensor, ...]]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _normalize,
    "Cast": lambda inputs, _: inputs[0],  # of the picture, which is float here from the beginning
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": lambda inputs, _: inputs[0] / inputs[1],
    "Erf": lambda inputs, _: torch.erf(inputs[0]),
    "Flatten": lambda inputs, _: inputs[0].flatten(1),
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean((2, 3), keepdim=True),
    "HardSigmoid": lambda inputs, more: (inputs[0] * more.get("alpha", 0.2) + more.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda inputs, _: F.hardswish(inputs[0]),
    "Identity": lambda inputs, _: inputs[0],
    "LayerNormalization": _layer_normalize,
    "LeakyRelu": lambda inputs, more: F.leaky_relu(inputs[0], more.get("alpha", 0.01)),
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "MaxPool": _max_pool,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "PRelu": lambda inputs, _: torch.where(inputs[0] < 0, inputs[0] * inputs[1], inputs[0]),
    "Pad": _pad,
    "Pow": lambda inputs, _: inputs[0] ** inputs[1],
    "ReduceMean": _mean,
    "Relu": lambda inputs, _: inputs[0].relu(),
    "Reshape": _reshape,
    "Sigmoid": lambda inputs, _: inputs[0].sigmoid(),
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Sqrt": lambda inputs, _: inputs[0].sqrt(),
    "Squeeze": _squeeze,
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Tanh": lambda inputs, _: inputs[0].tanh(),
    "Transpose": lambda inputs, more: inputs[0].permute(tuple(more["perm"])),
    "Unsqueeze": _unsqueeze,
}
"""What each operator makes of its inputs and attributes; sizes and axes come as arrays, all else as tensors."""
