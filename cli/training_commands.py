"""The commands that make models and measure them; they need no environment."""

import typer
from rich.console import Console

from cli.options import app
from training import command
from training.command import Order


@app.command()
def train(
    recipe: command.RecipeArgument,
    data: command.Data,
    out: command.Out = None,
    name: command.Name = None,
    epochs: command.Epochs = None,
    seed: command.Seed = None,
    threads: command.Threads = None,
    checkpoint: command.Checkpoint = None,
    resume: command.Resume = False,
) -> None:
    """Make a model from labelled pictures: learned, calibrated, measured, with its card and pictures of its figures.

    Needs `pip install -r requirements-train.txt`. Every epoch is saved: Ctrl-C stops, --resume goes on.

    Example: `ics train digits --data mnist.npz --epochs 2 --out /tmp/digits`
    """
    order = Order(
        recipe=recipe,
        data=data,
        out=out,
        name=name,
        epochs=epochs,
        seed=seed,
        threads=threads,
        checkpoint=checkpoint,
        resume=resume,
    )
    raise typer.Exit(command.train(order, Console()))
