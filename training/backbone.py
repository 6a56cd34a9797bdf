"""Transfer: a net that was trained on other pictures learns to tell these classes, from few of them.

The net, a *backbone*, is the user's: an ONNX file of an image net, or a safetensors file with weights of one of `nets`.
Its last layer goes. A logistic regression on what it sees of the pictures takes its place; then all of it learns on for
a few epochs, at a low rate. Whichever is better on the validation part is kept.
"""

import copy
import dataclasses
import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import safetensors
import torch
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import load_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional as F

from ics.artifact import InputSpec
from training import classification
from training.augment import CHANGES, augmented
from training.calibrate import negative_log_likelihood
from training.data import Dataset
from training.from_onnx import UnsupportedGraph, features_of, fold, to_torch
from training.recipe import Recipe, RecipeError
from training.train import Fitted, as_input, fit, outputs

STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
"""Of logistic regression, the inverse of its regularisation, until the loss on the validation part rises."""

HEAD = "head."
"""How the tensors of a net's last layers are named, which other classes make useless."""


class BackboneError(RecipeError):
    """A backbone that cannot be read, or does not fit the recipe."""


@dataclass(frozen=True)
class Backbone:
    """A net without its last layer: `body()` is a new one, from images in 0..1 to features [N, features].

    `input` is what its pictures must be like, `described` what the card says of it, `digest` tells it apart.
    """

    body: Callable[[], nn.Module]
    input: InputSpec
    described: str
    digest: str


class Transfer(nn.Module):
    """A backbone's body and a linear head, which is a 1 x 1 convolution: see `nets.SmallResidualNet`."""

    def __init__(self, body: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Conv2d(features, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, channels, height, width] in 0..1."""
        return self.head(self.body(images)[:, :, None, None]).flatten(1)


class _Seen(nn.Module):
    """An ONNX net's features, pooled, of images in 0..1 as it wants them: its layout, range and channels."""

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor, *, bytes_: bool, last: bool, channels: int) -> None:
        super().__init__()
        self.net, self.bytes, self.last, self.channels = net, bytes_, last, channels
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images: Tensor) -> Tensor:
        images = images.expand(-1, self.channels, -1, -1)
        images = images * 255 if self.bytes else (images - self.mean) / self.std
        features = self.net(images.permute(0, 2, 3, 1) if self.last else images)
        if features.ndim not in (2, 4):
            raise UnsupportedGraph(
                f"has features of shape {list(features.shape)}, neither [N, features] nor [N, features, height, width]"
            )
        return features if features.ndim == 2 else features.mean((2, 3))


def load_backbone(path: Path, recipe: Recipe) -> Backbone:
    """Read a backbone for a recipe.

    Raises:
        BackboneError: it is neither ONNX nor safetensors, is damaged, or is not a net that can learn what the recipe
            reads; says what is wrong, a tensor by its name with the shape that it has and the one it should have.
        RecipeError: the recipe's own net, whose weights a safetensors file holds, cannot be made.
    """
    if recipe.kind != "classification":
        raise BackboneError(f"recipe {recipe.name} makes a {recipe.kind} model; backbones are for classifiers")
    if not path.is_file():
        raise BackboneError(f"no such file: {path}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        if path.suffix == ".onnx":
            return _of_onnx(content, path.name, digest, recipe)
        if path.suffix == ".safetensors":
            return _of_weights(path, digest, recipe)
    except UnsupportedGraph as error:
        raise BackboneError(f"{path.name} {error}") from error
    raise BackboneError(f"{path.name}: a backbone is an .onnx or a .safetensors file")


def _of_onnx(content: bytes, name: str, digest: str, recipe: Recipe) -> Backbone:
    try:
        graph = onnx.load_from_string(content).graph
    except Exception as error:  # protobuf's own, which differ by its implementation
        raise UnsupportedGraph("is no ONNX file, or is damaged") from error
    given = {initializer.name for initializer in graph.initializer}
    inputs = [each for each in graph.input if each.name not in given]
    if len(inputs) != 1 or not graph.output:
        raise UnsupportedGraph(
            f"takes {len(inputs)} inputs and gives {len(graph.output)} outputs; one picture is wanted"
        )
    taken = inputs[0].type.tensor_type
    if taken.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8):
        raise UnsupportedGraph(f"takes {onnx.TensorProto.DataType.Name(taken.elem_type)}; FLOAT or UINT8 is wanted")
    sizes = [dim.dim_value for dim in taken.shape.dim]
    shown = [dim.dim_param or dim.dim_value or "?" for dim in taken.shape.dim]
    last = len(sizes) == 4 and sizes[3] in (1, 3) and sizes[1] not in (1, 3)
    if len(sizes) != 4 or (not last and sizes[1] not in (1, 3)):
        raise UnsupportedGraph(f"takes {shown}; pictures are [N, 1 or 3, height, width] or [N, height, width, 1 or 3]")
    channels, height, width = (sizes[3], sizes[1], sizes[2]) if last else sizes[1:]
    if channels < recipe.input.channels:
        raise UnsupportedGraph(f"takes grey pictures, but recipe {recipe.name} reads colours")
    told = recipe.backbone
    if len(told.mean) not in (1, channels) or len(told.std) not in (1, channels):
        raise UnsupportedGraph(f"takes {channels} channels, but the recipe's backbone.mean has {len(told.mean)}")
    height, width = height or told.side, width or told.side
    folded = fold(content, (1, height, width, channels) if last else (1, channels, height, width))
    until = features_of(folded)

    def body() -> nn.Module:
        net = to_torch(folded, until)
        mean, std = (torch.tensor(each).reshape(1, -1, 1, 1) for each in (told.mean, told.std))
        bytes_ = taken.elem_type == onnx.TensorProto.UINT8
        return _Seen(net, mean, std, bytes_=bytes_, last=last, channels=channels)

    features(body(), torch.zeros(1, height, width, recipe.input.channels, dtype=torch.uint8))
    spec = dataclasses.replace(recipe.input, width=width, height=height)
    return Backbone(body, spec, f"{name}, SHA-256 {digest}, without its last layer", digest)


def _of_weights(path: Path, digest: str, recipe: Recipe) -> Backbone:
    try:
        tensors = load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise BackboneError(f"{path.name} is no safetensors file, or is damaged: {error}") from error
    body_of = classification.untrained(recipe, classes=2)
    wanted = {name: value.shape for name, value in body_of.state_dict().items() if not name.startswith(HEAD)}
    found = {name: value.shape for name, value in tensors.items() if not name.startswith(HEAD)}
    for name in sorted(wanted.keys() | found.keys()):
        shapes = [list(shape[name]) if name in shape else None for shape in (found, wanted)]
        if shapes[0] != shapes[1]:
            has, wants = ("nothing" if shape is None else f"shape {shape}" for shape in shapes)
            raise BackboneError(
                f"{path.name}: {name} has {has}; the net {recipe.net.name} of recipe {recipe.name} wants {wants}"
            )

    def body() -> nn.Module:
        net = classification.untrained(recipe, classes=2)
        net.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
        net.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return net

    return Backbone(body, recipe.input, f"{recipe.net.name} with the weights of {path.name}, SHA-256 {digest}", digest)


def features(body: nn.Module, images: Tensor) -> NDArray[np.float32]:
    """What a backbone's body sees of uint8 pictures [N, height, width, channels]: [N, features].

    Raises:
        BackboneError: something that is no finite number.
    """
    seen = outputs(body, images, batch=50).numpy()
    if wrong := int((~np.isfinite(seen).all(axis=1)).sum()):
        raise BackboneError(f"the backbone sees what is no finite number in {wrong} of {len(seen)} pictures")
    return seen


def transfer(
    recipe: Recipe, dataset: Dataset, backbone: Backbone, checkpoint: Path, console: Console, *, resume: bool = False
) -> Fitted:
    """A net of this backbone that knows the data set's classes: its head alone learned, or all of it, as is better.

    The recipe's pictures are the backbone's, and its schedule is that of `recipe.backbone`.

    Raises:
        BackboneError: as `features` does.
        ResumeError: as `train.fit` does.
    """
    told = recipe.backbone
    schedule = dataclasses.replace(
        recipe.schedule, epochs=max(1, told.epochs), batch=told.batch, peak_rate=told.peak_rate, sizes=(1.0,)
    )
    task = classification.task(dataclasses.replace(recipe, schedule=schedule), dataset)
    frozen = _with_head(recipe, dataset, backbone)
    loss, accuracy = task.validate(frozen)
    console.print(f"last layer alone: validation loss {loss:.4f}, accuracy {accuracy:.4f}", highlight=False)
    learned = F.cross_entropy(
        outputs(frozen, torch.from_numpy(dataset.train.images), batch=50), torch.from_numpy(dataset.train.labels)
    )
    history = [{"epoch": 0, "loss": learned.item(), "validation loss": loss, "accuracy": accuracy}]
    if not told.epochs:
        return Fitted(frozen, history)
    identity = {**task.identity, "backbone": backbone.digest}
    whole = dataclasses.replace(task, net=lambda: copy.deepcopy(frozen), identity=identity)
    try:
        tuned = fit(whole, schedule, checkpoint, console, resume=resume)
    except FloatingPointError as error:
        console.print(f"{error}; the last layer alone is kept", highlight=False)
        return Fitted(frozen, history)
    better = min(epoch["validation loss"] for epoch in tuned.history) < loss
    if not better:
        console.print("learning all layers made it no better: the last layer alone is kept")
    return Fitted(tuned.net if better else frozen, history + tuned.history)


def _with_head(recipe: Recipe, dataset: Dataset, backbone: Backbone) -> Transfer:
    """The backbone with the logistic regression, of those of STRENGTHS, that is best on the validation part.

    It learns from the pictures as they are and from `views` of each as the recipe changes them, less changes that mix
    classes. Features are brought to one scale for it, which then goes into the head's weights.
    """
    body = backbone.body().eval()
    images, labels = torch.from_numpy(dataset.train.images), dataset.train.labels
    generator = torch.Generator().manual_seed(recipe.schedule.seed)
    changes = [change for change in recipe.augment if change.name in CHANGES]
    seen = [features(body, images)]
    for _ in range(recipe.backbone.views):
        changed = [augmented(as_input(part), torch.empty(0), changes, generator)[0] for part in images.split(500)]
        seen.append(features(body, (torch.cat(changed) * 255).round().byte().permute(0, 2, 3, 1)))
    every = np.concatenate(seen)
    mean, spread = every.mean(0), every.std(0)
    spread[spread < 1e-6] = 1.0  # what never differs says nothing
    known, held = (every - mean) / spread, (features(body, torch.from_numpy(dataset.validation.images)) - mean) / spread
    model = LogisticRegression(max_iter=300, warm_start=True)
    least, weight, bias = np.inf, np.empty(0), np.empty(0)
    with threadpool_limits(torch.get_num_threads()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)  # validation judges those as all others
        for strength in STRENGTHS:
            model.set_params(C=strength).fit(known, np.tile(labels, len(seen)))
            tried, offset = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
            if len(tried) == 1:  # of two classes scikit-learn weighs only the second
                tried, offset = np.concatenate([0 * tried, tried]), np.concatenate([0 * offset, offset])
            loss = negative_log_likelihood(held @ tried.T + offset, dataset.validation.labels)
            if loss > least:
                break  # weaker ones fit the training pictures only closer
            least, weight, bias = loss, tried, offset
    net = Transfer(body, len(mean), len(dataset.labels))
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(weight / spread)[:, :, None, None])
        net.head.bias.copy_(torch.from_numpy(bias - (weight / spread) @ mean))
    return net.eval()
