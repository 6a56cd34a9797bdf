"""The commands that make models and measure them: on this machine, or as a training job on AWS."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import show, training_jobs
from cli.deployment import LOCAL, ROOT, connect
from cli.options import Env, Json, app, print_json, state
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
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="PATH",
            help="The data set, as the recipe's loader reads it; with --env s3://bucket/prefix.",
        ),
    ],
    out: command.Out = None,
    name: command.Name = None,
    epochs: command.Epochs = None,
    seed: command.Seed = None,
    threads: command.Threads = None,
    checkpoint: command.Checkpoint = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            metavar="FILE",
            help="Learn on from this trained net: .onnx, or .safetensors of the recipe's; with --env s3://bucket/key.",
        ),
    ] = None,
    resume: command.Resume = False,
    env: Env = LOCAL,
    instance_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="A job's machine. [default: ml.c7i.2xlarge]")
    ] = None,
    max_hours: Annotated[
        float | None, typer.Option(min=0.1, max=120, help="A job is stopped after so many. [default: 4]")
    ] = None,
    spot: Annotated[
        bool, typer.Option("--spot", help="A job on spare machines: cheaper; goes on after an interruption.")
    ] = False,
    image: Annotated[
        str | None, typer.Option(metavar="URI", help="A job's image. [default: AWS's own with PyTorch]")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow a job to its end.")] = True,
    json_: Json = False,
) -> None:
    """Make a model from labelled pictures: learned, calibrated, measured, with its card and pictures of its figures.

    Needs `pip install -r requirements-train.txt`. Every epoch is saved: Ctrl-C stops, --resume goes on.

    With --env NAME the training runs as a SageMaker job in that environment's account, and its model lies in S3.

    Example: `ics train digits --data mnist.npz --epochs 2 --out /tmp/digits`

    Example: `ics train digits --data s3://my-bucket/mnist.npz --env dev --spot`
    """
    if env != LOCAL:
        here = {
            "out": out,
            "threads": threads,
            "checkpoint": checkpoint,
            "resume": resume or None,
        }
        _refuse(here, "is for a training on this machine: a job writes to S3 and goes on by itself")
        asked = {"instance_type": instance_type, "max_hours": max_hours}
        job = training_jobs.Job(
            recipe=recipe,
            data=data,
            backbone=backbone,
            spot=spot,
            image=image,
            options={"name": name, "epochs": epochs, "seed": seed},
            **{key: value for key, value in asked.items() if value is not None},  # type: ignore[arg-type]
        )
        raise typer.Exit(_job(job, env, wait=wait, json_=json_))
    there = {"instance-type": instance_type, "max-hours": max_hours, "spot": spot or None, "image": image}
    _refuse(there | {"json": json_ or None}, "is for a training job: it wants --env NAME")
    if data.startswith("s3://"):
        raise typer.BadParameter("is in S3, which only a training job reads: --env NAME", param_hint="--data")
    order = Order(
        recipe=recipe,
        data=Path(data),
        out=out,
        name=name,
        epochs=epochs,
        seed=seed,
        threads=threads,
        checkpoint=checkpoint,
        backbone=None if backbone is None else Path(backbone),
        resume=resume,
    )
    raise typer.Exit(command.train(order, Console()))


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(why, param_hint=f"--{name}")


def _job(job: training_jobs.Job, env: str, *, wait: bool, json_: bool) -> int:
    """Start a job, and follow it where `wait`: 0 started or done, 1 failed, 2 not startable, 130 no longer followed."""
    try:
        deployment = connect(env, state())
        started = training_jobs.start(job, deployment, load_config(env))
    except RecipeError as error:
        show.problem(str(error))
        return 2
    fetch = f"aws s3 cp {started.model} - | tar -xz -C models/NAME"
    status = "InProgress"
    show.err.print(f"{started.name} runs on {job.instance_type}", soft_wrap=True)
    if wait:
        try:
            training_jobs.follow(started, deployment, lambda line: show.err.print(line, markup=False, soft_wrap=True))
        except training_jobs.JobFailed as error:
            show.problem(str(error))
            return 1
        except KeyboardInterrupt:
            stop = f"aws sagemaker stop-training-job --training-job-name {started.name}"
            show.problem(f"The job goes on; its model will be {started.model}. Stop it with: {stop}")
            return 130
        status = "Completed"
    if json_:
        print_json({"job": started.name, "status": status, "model": started.model})
    else:
        show.out.print(f"{'The model is' if wait else 'Its model will be'} {started.model}", soft_wrap=True)
        show.out.print(f"Fetch it with: {fetch}", soft_wrap=True, style="dim")
    return 0


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
    seed: Annotated[
        int | None,
        typer.Option(help="Of a test part that a recipe draws, and of intervals. [default: the recipe's]"),
    ] = None,
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

    loaded = load_model(artifact(model, env))
    try:
        with show.err.status("Looking for pictures"):
            samples = find_samples(data, loaded.spec, recipe, seed)
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
        **figures(evaluated.answers, spec.kind, spec.labels, threshold=threshold, seed=seed or 0),
        "unknown": dict(samples.unknown),
        "skipped": [{"source": one.source, "reason": one.reason} for one in (*samples.skipped, *evaluated.skipped)],
    }
    if json_:
        print_json(found)
    else:
        evaluation.evaluation(found, evaluated, samples)
    if out is not None:
        evaluation.write(out, found, evaluated, spec)


def artifact(model: str, env: str) -> Path:
    """The artifact that is meant: a folder, a model of `models/`, or one of the environment's."""
    shipped = sorted(path.parent.name for path in ROOT.glob("models/*/model.json"))
    if Path(model).is_dir():
        return Path(model)
    if model in shipped:
        return ROOT / "models" / model
    served = load_config(env).artifacts
    if model in served:
        return served[model]
    raise typer.BadParameter(
        f"no folder or model {model!r}; models: {', '.join(shipped)}; of {env}: {', '.join(served)}", param_hint="MODEL"
    )
