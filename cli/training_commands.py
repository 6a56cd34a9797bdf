"""The commands that make models and measure them; they need no environment."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import show
from cli.deployment import LOCAL, ROOT
from cli.options import Env, Json, app, print_json
from cli.outcome import progress
from ics.routing import DEFAULT_THRESHOLD
from stacks.config import load_config
from training import command
from training.command import Order
from training.data import DataError
from training.recipe import RecipeError, recipe_names


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


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An artifact's folder, or the name of a model.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="PATH", help="Folders named after classes; a TSV of texts; a data set.")
    ],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME", help=f"Read PATH as this recipe does: {', '.join(recipe_names())}."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Confidence from which answers are accepted.")
    ] = DEFAULT_THRESHOLD,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write metrics.json and pictures there.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    env: Env = LOCAL,
    json_: Json = False,
) -> None:
    """Measure a model on labelled pictures, exactly as it answers when it is served. Needs no torch.

    PATH is read as folders named after classes, `PATH/cat/1.jpg`; for a text model as a TSV of file names and texts;
    or, where a recipe learns from it, as that recipe reads it, and its test part is taken.

    Example: `ics evaluate digits --data mnist.npz --out /tmp/digits`
    """
    if out is not None and importlib.util.find_spec("matplotlib") is None:
        raise typer.BadParameter("pictures need matplotlib: pip install -r requirements-train.txt", param_hint="--out")
    from cli import evaluation  # noqa: PLC0415 - the runtime and scikit-learn take a second to import
    from serving.model import load_model  # noqa: PLC0415
    from training.evaluate import evaluate as answer  # noqa: PLC0415
    from training.measures import figures  # noqa: PLC0415
    from training.samples import find_samples  # noqa: PLC0415

    loaded = load_model(_artifact(model, env))
    try:
        with show.err.status("Looking for pictures"):
            samples = find_samples(data, loaded.spec, recipe)
    except (DataError, RecipeError) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    with progress() as bar:
        task = bar.add_task("Classifying", total=len(samples.samples))
        evaluated = answer(loaded, samples.samples, lambda: bar.advance(task))
    if not evaluated.samples:
        reason = evaluated.skipped[0]
        problem = f"none of {len(evaluated.skipped)} pictures can be used; {reason.source}: {reason.reason}"
        raise typer.BadParameter(problem, param_hint="--data")
    spec = loaded.spec
    found = {
        "model": spec.name,
        "version": spec.version,
        "kind": spec.kind,
        "data": samples.described,
        **figures(evaluated.answers, spec.kind, spec.labels, threshold=threshold, seed=seed),
        "unknown": dict(samples.unknown),
        "skipped": [{"source": one.source, "reason": one.reason} for one in (*samples.skipped, *evaluated.skipped)],
    }
    if json_:
        print_json(found)
    else:
        evaluation.evaluation(found, evaluated, samples)
    if out is not None:
        evaluation.write(out, found, evaluated, spec)


def _artifact(model: str, env: str) -> Path:
    """The artifact that is meant: a folder, a model of `models/`, or one of the environment's."""
    shipped = sorted(path.parent.name for path in ROOT.glob("models/*/model.json"))
    if Path(model).is_dir():
        return Path(model)
    if model in shipped:
        return ROOT / "models" / model
    served = load_config(env).models
    if model in served:
        return ROOT / served[model].artifact
    raise typer.BadParameter(
        f"no folder or model {model!r}; models: {', '.join(shipped)}; of {env}: {', '.join(served)}", param_hint="MODEL"
    )
