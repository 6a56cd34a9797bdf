"""What a model is made from: a recipe, `training/recipes/<name>.toml` or anyone's file, read strictly into `Recipe`."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ics.artifact import MAX_SIDE, InputSpec, input_from_json
from ics.errors import InvalidArtifact

RECIPES = Path(__file__).parent / "recipes"

_STRICT = ConfigDict(extra="forbid", strict=True)


class RecipeError(ValueError):
    """A recipe that does not exist or cannot be followed as it is written."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataConfig:
    """Where labelled images come from: a loader of `training.loaders`, by name, and what is told to it.

    `validation` and `test` are the shares of images kept aside where the data set does not name those parts itself.
    """

    loader: str
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    options: Mapping[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class NetConfig:
    """A network of `training.nets`, by name, and its sizes."""

    name: str
    options: Mapping[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Augmentation:
    """One random change of `training.augment`, by name; `share` is the part of every batch that it is done to."""

    name: str
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    options: Mapping[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Schedule:
    """How long and how fast to learn.

    AdamW under one learning-rate cycle (Smith 2018) that peaks at `peak_rate`. Validation looks at an exponential
    moving average of the weights, decaying by `ema_decay` a step, and training stops `patience` epochs after its best.
    `smoothing` is label smoothing (Szegedy et al. 2016). `sizes` are shares of the full width and height at which
    pictures are learned from, each for as many epochs, one after the other: small ones are quick to learn much from.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    batch: Annotated[int, Field(ge=2)] = 256
    peak_rate: Annotated[float, Field(ge=0)] = 4e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    patience: Annotated[int, Field(ge=1)] = 6
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    sizes: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (1.0,)
    seed: int = 0


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BackboneConfig:
    """How to learn from a net that the user brings (`training.backbone`); `mean` and `std` are ImageNet's.

    `side` is the width and height in pixels of its pictures where the net leaves that open; pixels of 0..1 become
    (pixel - `mean`) / `std`, of all channels or each. The new last layer is learned from every picture and `views`
    changed copies of it, then all layers for so many `epochs`; 0 leaves them as they are.
    """

    side: Annotated[int, Field(ge=1, le=MAX_SIDE)] = 128
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[Annotated[float, Field(gt=0)], ...] = (0.229, 0.224, 0.225)
    views: Annotated[int, Field(ge=0)] = 2
    epochs: Annotated[int, Field(ge=0)] = 6
    batch: Annotated[int, Field(ge=2)] = 32
    peak_rate: Annotated[float, Field(gt=0)] = 2e-4


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CardText:
    """What a person must say in the model card: what the model reads, where the data came from, use and limits."""

    reads: str
    data: str
    limits: str


def _input(fields: Mapping[str, Any] | InputSpec) -> InputSpec:
    return fields if isinstance(fields, InputSpec) else input_from_json({"tensor": "image", **fields})


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Recipe:
    """How one model is made.

    `labels` is for loaders that cannot find them in the data: a text model's characters. `caution` is how far the mean
    confidence is set below what it honestly would be, so that more of the wrong answers are sent to people.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9](-?[a-z0-9])*$", max_length=40)]
    kind: Literal["classification", "text"]
    input: Annotated[InputSpec, PlainValidator(_input)]
    data: DataConfig
    net: NetConfig
    schedule: Schedule
    card: CardText
    augment: tuple[Augmentation, ...] = ()
    backbone: BackboneConfig = Field(default_factory=BackboneConfig)
    labels: str = ""
    caution: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


def recipe_names() -> list[str]:
    """The recipes that come with ICS."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by its name or from a file that ends in .toml.

    Raises:
        RecipeError: there is none of this name, or the file is not a recipe; names each key that is wrong.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else RECIPES / f"{name_or_path}.toml"
    if not path.is_file():
        raise RecipeError(f"no recipe {name_or_path!r}; give a .toml file, or one of: {', '.join(recipe_names())}")
    try:
        return TypeAdapter(Recipe).validate_json(json.dumps(tomllib.loads(path.read_text("utf-8"))))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise RecipeError(f"{path.name}: {problems}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, InvalidArtifact) as error:
        raise RecipeError(f"{path.name}: {error}") from error
