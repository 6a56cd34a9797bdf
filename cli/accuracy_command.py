"""`ics accuracy`: how often a model is right, by what people say of its answers."""

from pathlib import Path
from typing import Annotated

import typer

from cli import accuracy as evaluations
from cli import accuracy_report, show
from cli.deployment import LOCAL, connect
from cli.options import Env, Json, Model, app, env_option, print_json, state
from ics import paths
from stacks.config import load_config


@app.command()
def accuracy(
    model: Model = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|S3", help="JSON Lines of truth labels: a file is added to the model's, s3:// is not."
        ),
    ] = None,
    predictions: Annotated[
        str | None, typer.Option(metavar="S3", help="With labels in S3: somebody else's predictions, not the model's.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only runs from 2026-01-31 on, for example.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Only runs up to this date.")] = None,
    version: Annotated[
        str | None, typer.Option("--model-version", metavar="SHA256", help="Not the version that decided last.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Show the latest figures; count nothing.")] = False,
    env: Env = LOCAL,
    json_: Json = False,
) -> None:
    """Count how often a model was right, by class and by confidence, where people have said what is true.

    Images whose labels differ are held out and named. What is counted how: docs/accuracy.md.

    Example: `ics accuracy --labels labels.jsonl`
    """
    deployment = connect(env, state())
    deployment.check_model(model)
    name = model or load_config(env).default_model
    if last:
        key = paths.latest_metrics(name)
    else:
        request: dict[str, str | None] = {"model": name, "since": since, "until": until, "model_version": version}
        if labels is not None and labels.startswith("s3://"):
            own = f"s3://{deployment.results_bucket}/{paths.model_results(name)}"
            request |= {"labels": labels, "predictions": predictions or own}
        elif predictions is not None:
            raise typer.BadParameter("goes with --labels s3://bucket/key", param_hint="--predictions")
        elif labels is not None:
            if not Path(labels).is_file():
                raise typer.BadParameter(f"{labels} is no file", param_hint="--labels")
            uri = evaluations.bring(deployment, name, Path(labels))
            show.err.print(f"Added {uri}", soft_wrap=True, style="dim")
        evaluation = evaluations.start(deployment, {key: value for key, value in request.items() if value})
        with show.err.status(evaluations.STAGES[0]) as progress:
            for stage in evaluations.follow(deployment, evaluation):
                progress.update(stage)
        key = paths.metrics(evaluation)
    found = evaluations.figures(deployment, key)
    if found is None:
        count = f"{show.COMMAND} accuracy --model {name}{env_option(env)}"
        raise evaluations.EvaluationError(f"No figures of {name!r} yet. Count them: {count}")
    if json_:
        print_json(found)
    else:
        accuracy_report.show_figures(found)
