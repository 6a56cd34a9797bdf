"""`ics train` and `python -m training`: the options of both, and what they do. Needs torch only to do it."""

import dataclasses
import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from training.data import DataError
from training.recipe import Recipe, RecipeError, load_recipe, recipe_names

if TYPE_CHECKING:
    from ics.artifact import ModelSpec

RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help=f"One of {', '.join(recipe_names())}; or a file ending in .toml.",
        autocompletion=lambda incomplete: [name for name in recipe_names() if name.startswith(incomplete)],
    ),
]
Data = Annotated[Path, typer.Option("--data", metavar="PATH", help="The data set, as the recipe's loader reads it.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The artifact's folder. [default: models/NAME]")]
Name = Annotated[str | None, typer.Option("--name", help="The model's name. [default: the recipe's]")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="At most so many. [default: the recipe's]")]
Seed = Annotated[int | None, typer.Option("--seed", help="Of split, weights and augmentation. [default: the recipe's]")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, help="CPU threads; another number gives other last bits, so another model. [default: all]"
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="FILE", help="Written after every epoch. [default: runs/training/NAME.pt]"),
]
Backbone = Annotated[
    Path | None,
    typer.Option(
        "--backbone", metavar="FILE", help="Learn on from this trained net: .onnx, or .safetensors of the recipe's."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")]


@dataclass(frozen=True, kw_only=True)
class Order:
    """A training as it was asked for; what is None is as the recipe says, or has its default."""

    recipe: str
    data: Path
    out: Path | None = None
    name: str | None = None
    epochs: int | None = None
    seed: int | None = None
    threads: int | None = None
    checkpoint: Path | None = None
    backbone: Path | None = None
    resume: bool = False


def train(order: Order, console: Console, command: Sequence[str] = ("ics", "train")) -> int:
    """Make the model, or say why not: 0 done, 2 unusable data, recipe or checkpoint, or no torch, 130 interrupted.

    `command` is how this was called, for the message on how to go on.
    """
    try:
        # torch takes seconds to import, and most who evaluate do without
        import torch  # noqa: PLC0415

        from training import make  # noqa: PLC0415
        from training.train import ResumeError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        _say(console, f"error: training needs {error.name}: pip install -r requirements-train.txt")
        return 2
    torch.set_num_threads(order.threads or torch.get_num_threads())
    # it warns that torchvision is absent; nothing here needs it
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        recipe = _recipe(order)
        out = order.out or Path("models") / recipe.name
        checkpoint = order.checkpoint or Path("runs/training") / f"{recipe.name}.pt"
        before = _written(checkpoint)
    except RecipeError as error:
        _say(console, f"error: {error}")
        return 2
    try:
        origin = None if order.name is None else Path(order.recipe).name
        spec = make.make(
            recipe,
            order.data,
            out,
            checkpoint,
            console,
            backbone=order.backbone,
            origin=origin,
            resume=order.resume,
        )
    except (DataError, RecipeError, ResumeError) as error:
        _say(console, f"error: {error}")
        return 2
    except KeyboardInterrupt:
        if order.resume or _written(checkpoint) != before:
            _say(console, f"stopped; go on with: {again(order, command)}")
        else:
            _say(console, "stopped before the first epoch was done: there is nothing to resume")
        return 130
    _done(console, spec, out)
    return 0


def again(order: Order, command: Sequence[str]) -> str:
    """The command that resumes this training."""
    words = [*command, order.recipe]
    for field in dataclasses.fields(order):
        value = getattr(order, field.name)
        if field.name not in ("recipe", "resume") and value is not None:
            words += [f"--{field.name}", str(value)]
    return shlex.join([*words, "--resume"])


def _recipe(order: Order) -> Recipe:
    recipe = load_recipe(order.recipe)
    changed = {name: getattr(order, name) for name in ("epochs", "seed") if getattr(order, name) is not None}
    recipe = dataclasses.replace(recipe, schedule=dataclasses.replace(recipe.schedule, **changed))
    if order.epochs is not None:
        recipe = dataclasses.replace(recipe, backbone=dataclasses.replace(recipe.backbone, epochs=order.epochs))
    try:
        return recipe if order.name is None else dataclasses.replace(recipe, name=order.name)
    except ValueError as error:  # pydantic's
        raise RecipeError(f"--name {order.name}: lowercase letters, digits and inner hyphens, 40 at most") from error


def _written(checkpoint: Path) -> int | None:
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else None


def _done(console: Console, spec: "ModelSpec", out: Path) -> None:
    console.print_json(json.dumps(spec.metrics))
    _say(console, f"wrote {out}, version {spec.version}")
    _say(console, f"look at {out / 'card.md'} and the pictures in {out / 'report'}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
