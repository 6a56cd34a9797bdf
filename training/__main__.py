"""`python -m training RECIPE --data PATH`, as `ics train`; also the entry point of a SageMaker training job.

In a job, recognised by SM_MODEL_DIR, SageMaker's training toolkit says by the environment where things are: --data is
the channel `training`, or else the only one; --backbone is the channel `backbone`, where there is one; --out is
SM_MODEL_DIR; checkpoints lie in /opt/ml/checkpoints, which SageMaker keeps in S3, and a job that finds one there,
because it was interrupted, goes on from it. Hyperparameters come as options, the recipe too.
"""

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training import command
from training.command import Order

CHECKPOINTS = Path("/opt/ml/checkpoints")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(metavar="RECIPE", help="As of `ics train`.")] = None,
    recipe_: Annotated[str | None, typer.Option("--recipe", help="The same, as a job's hyperparameter.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="PATH", help="As of `ics train`.")] = None,
    out: command.Out = None,
    name: command.Name = None,
    epochs: command.Epochs = None,
    seed: command.Seed = None,
    threads: command.Threads = None,
    checkpoint: command.Checkpoint = None,
    backbone: command.Backbone = None,
    resume: command.Resume = False,
) -> None:
    """Make an artifact from a data set, as `ics train` does."""
    asked = recipe or recipe_
    if asked is None:
        raise typer.BadParameter("give a recipe", param_hint="RECIPE")
    try:
        found = channel("TRAINING", os.environ) if data is None else data
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    order = Order(
        recipe=asked,
        data=found,
        out=out,
        name=name,
        epochs=epochs,
        seed=seed,
        threads=threads,
        checkpoint=checkpoint,
        backbone=backbone,
        resume=resume,
    )
    raise typer.Exit(command.train(as_job(order, os.environ), Console(), ("python", "-m", "training")))


def channel(name: str, environ: Mapping[str, str]) -> Path:
    """Where a job's channel of this name lies, or its only one; a channel that is one file is that file.

    Raises:
        ValueError: there is none, or there are others and none of this name.
    """
    channels = {
        key.removeprefix("SM_CHANNEL_"): Path(path) for key, path in environ.items() if key.startswith("SM_CHANNEL_")
    }
    others = [path for key, path in channels.items() if key != "BACKBONE"]
    found = channels.get(name) or (others[0] if len(others) == 1 else None)
    if found is None:
        known = ", ".join(sorted(channels)) or "none"
        raise ValueError(f"is missing, and there is no SM_CHANNEL_{name}; channels: {known}")
    inside = [path for path in found.iterdir() if not path.name.startswith(".")] if found.is_dir() else []
    return inside[0] if len(inside) == 1 and inside[0].is_file() else found


def as_job(order: Order, environ: Mapping[str, str]) -> Order:
    """The order with a job's own defaults, where this is one."""
    if "SM_MODEL_DIR" not in environ:
        return order
    checkpoint = order.checkpoint or CHECKPOINTS / "training.pt"
    return dataclasses.replace(
        order,
        out=order.out or Path(environ["SM_MODEL_DIR"]),
        checkpoint=checkpoint,
        backbone=order.backbone or (channel("BACKBONE", environ) if "SM_CHANNEL_BACKBONE" in environ else None),
        resume=order.resume or checkpoint.exists(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    try:
        app(arguments if arguments is None else list(arguments), prog_name="python -m training")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
