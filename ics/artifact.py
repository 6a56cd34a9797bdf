"""A model artifact: the folder that holds `model.onnx`, `model.json` and `card.md`, and the types of its model.json."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ics.errors import InvalidArtifact

Kind = Literal["classification", "text", "detection"]
Colour = Literal["grey", "rgb"]
Polarity = Literal["light-on-dark", "dark-on-light", "any"]

FILES = ("model.onnx", "model.json", "card.md")
"""What an artifact's folder holds."""

MAX_SIDE = 1024
"""Pixels: the largest picture of which even pure noise, as JPEG in base64, fits one request to an endpoint (6 MiB)."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The tensor a model takes: uint8, NHWC, one channel for grey and three for RGB.

    `polarity` says what the model was trained on, for drawings and writing: light ink on dark, dark on light, or any.
    """

    tensor: str
    width: int
    height: int
    colour: Colour
    polarity: Polarity = "any"
    layout: str = "NHWC"
    dtype: str = "uint8"

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return 1 if self.colour == "grey" else 3


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model.json. `version` is the SHA-256 of model.onnx; `temperature` divides the logits before the softmax.

    The graph takes uint8 [N, height, width, channels] and answers float logits by kind: *classification* [N, labels];
    *text* [N, frames, 1 + labels], where the labels are the characters that it reads and index 0 is the blank of
    connectionist temporal classification (so index k is `labels[k - 1]`).
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    input: InputSpec
    output: str
    temperature: float
    version: str
    metrics: Mapping[str, Any]

    @property
    def classes(self) -> int:
        """How many logits the graph answers for an image, or for each frame of a line."""
        return len(self.labels) + (self.kind == "text")


def input_from_json(fields: Mapping[str, Any]) -> InputSpec:
    """The `input` object of a model.json.

    Raises:
        InvalidArtifact: names the field that is missing, unknown or wrong.
    """
    try:
        spec = InputSpec(**fields)
    except TypeError as error:
        raise InvalidArtifact(f"input: {error}") from error
    if not isinstance(spec.tensor, str):
        raise InvalidArtifact(f"input.tensor is {spec.tensor!r}; it must be a tensor's name")
    for name, value, allowed in (
        ("layout", spec.layout, ("NHWC",)),
        ("dtype", spec.dtype, ("uint8",)),
        ("colour", spec.colour, get_args(Colour)),
        ("polarity", spec.polarity, get_args(Polarity)),
    ):
        if value not in allowed:
            raise InvalidArtifact(f"input.{name} is {value!r}; it must be one of: {', '.join(allowed)}")
    for name, size in (("width", spec.width), ("height", spec.height)):
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_SIDE:
            raise InvalidArtifact(f"input.{name} is {size!r}; it must be a whole number of pixels from 1 to {MAX_SIDE}")
    return spec


def spec_from_json(fields: Mapping[str, Any]) -> ModelSpec:
    """A parsed model.json.

    Raises:
        InvalidArtifact: names the field that is missing or wrong.
    """
    try:
        spec = ModelSpec(
            name=fields["name"],
            kind=fields["kind"],
            labels=_labels(fields["labels"], fields["kind"]),
            input=input_from_json(fields["input"]),
            output=fields["output"]["tensor"],
            temperature=fields["temperature"],
            version=fields["version"],
            metrics=fields.get("metrics", {}),
        )
    except KeyError as error:
        raise InvalidArtifact(f"model.json lacks {error}") from error
    except TypeError as error:
        raise InvalidArtifact(f"model.json: {error}") from error
    if spec.kind not in get_args(Kind):
        raise InvalidArtifact(f"kind is {spec.kind!r}; it must be one of: {', '.join(get_args(Kind))}")
    for name, value in (("name", spec.name), ("output.tensor", spec.output), ("version", spec.version)):
        if not isinstance(value, str):
            raise InvalidArtifact(f"{name} is {value!r}; it must be a string")
    if not isinstance(spec.metrics, Mapping):
        raise InvalidArtifact(f"metrics is {str(spec.metrics)[:80]!r}; it must be an object of figures and their names")
    temperature = spec.temperature
    if not isinstance(temperature, int | float) or isinstance(temperature, bool) or not 0 < temperature < math.inf:
        raise InvalidArtifact(f"temperature is {temperature!r}; it must be a number above 0")
    return spec


def _labels(labels: object, kind: object) -> tuple[str, ...]:
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise InvalidArtifact("labels must be a list of strings, at least one")
    if len(set(labels)) != len(labels):
        raise InvalidArtifact("labels must be different from each other")
    for label in labels:
        if not label or not label.isprintable():  # people read them, in tables and alerts
            raise InvalidArtifact(f"label {label!r} must be printable text, and not empty")
        if kind == "text" and len(label) != 1:
            raise InvalidArtifact(f"label {label[:40]!r} must be a single character, for a text model reads characters")
    return tuple(labels)


def spec_to_json(spec: ModelSpec) -> dict[str, Any]:
    """What model.json holds for this spec."""
    return {**asdict(spec), "labels": list(spec.labels), "output": {"tensor": spec.output}}


def read_spec(folder: Path) -> ModelSpec:
    """Read and check a folder's model.json.

    Raises:
        InvalidArtifact: it is missing, not JSON, or wrong.
    """
    description = _file(folder, "model.json")
    try:
        fields = cast("dict[str, Any]", json.loads(description.read_text("utf-8")))
    except (ValueError, RecursionError) as error:
        raise InvalidArtifact(f"{description} is not JSON: {error}") from error
    return spec_from_json(fields)


def load_spec(folder: Path) -> ModelSpec:
    """Read and check a folder's model.json, and that model.onnx is the graph it describes.

    Raises:
        InvalidArtifact: a file is missing, unreadable, or the graph's SHA-256 is not `version`.
    """
    spec, graph = read_spec(folder), _file(folder, "model.onnx")
    version = graph_version(graph)
    if spec.version != version:
        raise InvalidArtifact(f"{graph} has SHA-256 {version}, but model.json describes version {spec.version}")
    return spec


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InvalidArtifact(f"{path} does not exist; an artifact holds {', '.join(FILES)}")
    return path


def graph_version(graph: Path) -> str:
    """The version of a model: the SHA-256 of its ONNX file, in hex."""
    return hashlib.sha256(graph.read_bytes()).hexdigest()
