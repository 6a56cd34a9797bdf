"""The commands of `ics` and their options. Exit status: 0 done, 1 the run ended failed, 2 usage or environment."""

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli import runs, show
from cli.deployment import LOCAL, ROOT, Deployment, EnvironmentUnavailable, connect
from ics import digest
from local import control, deploy, outbox

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Classify the images in S3, with answers you can trust. Everything also runs on this machine: start with "
    "`ics up`, then `ics classify my-pictures/`.",
)

Env = Annotated[
    str, typer.Option("--env", envvar="ICS_ENV", metavar="NAME", help="The environment: local, or one deployed on AWS.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]


class Mode(StrEnum):
    """What ends a run as failed."""

    strict = "strict"
    tolerant = "tolerant"


def state() -> Path:
    """The folder that holds everything local; tests use one of their own."""
    return Path(os.environ.get("ICS_STATE") or ROOT / ".ics")


@app.command()
def up() -> None:
    """Start the local AWS and deploy ICS into it. Quick when nothing changed.

    Example: `ics up`
    """
    show.out.print(f"ICS is up at {_up().endpoint_url}")
    show.out.print(f"Next: {show.COMMAND} classify PATH...   or   {show.COMMAND} demo", style="dim")


@app.command()
def down() -> None:
    """Stop the local AWS and everything it started. Its data goes with it.

    Example: `ics down`
    """
    show.out.print("ICS is down." if control.stop(state()) else "ICS was not running.")


@app.command()
def status(env: Env = LOCAL, json_: Json = False) -> None:
    """Show what is deployed: buckets, models and their endpoints, the latest runs.

    Example: `ics status --env dev`
    """
    deployment = connect(env, state())
    endpoints = {
        model: deployment.sagemaker.describe_endpoint(EndpointName=f"ics-{env}-{model}")["EndpointStatus"]
        for model in deployment.models
    }
    latest = deployment.states.list_executions(stateMachineArn=deployment.state_machine, maxResults=5)["executions"]
    found = {
        "environment": env,
        "endpoint_url": deployment.endpoint_url,
        "images": f"s3://{deployment.images_bucket}",
        "results": f"s3://{deployment.results_bucket}",
        "state_machine": deployment.state_machine,
        "models": endpoints,
        "runs": [{"run": one["name"], "status": one["status"]} for one in latest],
    }
    if json_:
        _print_json(found)
        return
    show.facts(
        {
            "environment": [env],
            "endpoint": [deployment.endpoint_url or "AWS"],
            "images": [f"s3://{deployment.images_bucket}"],
            "results": [f"s3://{deployment.results_bucket}"],
            "models": [f"{model} {endpoint}" for model, endpoint in endpoints.items()],
            "latest runs": [f"{one['name']} {one['status']}" for one in latest] or ["none yet"],
        }
    )


@app.command()
def classify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, or folders of pictures.")],
    model: Annotated[str | None, typer.Option(help="One of the environment's models.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Confidence from which to accept.")] = None,
    mode: Annotated[
        Mode, typer.Option(help="strict: any image that needs a person fails the run. tolerant: it does not.")
    ] = Mode.strict,
    tolerated_percent: Annotated[
        float | None, typer.Option(min=0, max=100, help="In tolerant mode: more than this share fails the run.")
    ] = None,
    env: Env = LOCAL,
    json_: Json = False,
) -> None:
    """Upload pictures, classify them, show what came of each and the alert that was sent.

    Example: `ics classify photos/ scan.png --threshold 0.9 --mode tolerant`
    """
    options = {"model": model, "threshold": threshold, "mode": mode.value, "tolerated_percent": tolerated_percent}
    raise typer.Exit(_classify(paths, {name: v for name, v in options.items() if v is not None}, env, json_))


@app.command()
def start(
    prefix: Annotated[str | None, typer.Option(metavar="URI", help="All images under s3://bucket/prefix.")] = None,
    manifest: Annotated[str | None, typer.Option(metavar="URI", help="A .csv, .jsonl or .json list in S3.")] = None,
    input_: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="The execution's input as JSON; - for stdin.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="One of the environment's models.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Confidence from which to accept.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="strict or tolerant.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end, as classify does.")] = False,
    env: Env = LOCAL,
    json_: Json = False,
) -> None:
    """Start a run over images that are in S3 already.

    Example: `ics start --prefix s3://my-bucket/incoming/2026/ --env dev --wait`
    """
    if sum(source is not None for source in (prefix, manifest, input_)) != 1:
        raise typer.BadParameter("give exactly one of --prefix, --manifest or --input")
    options = {"model": model, "threshold": threshold, "mode": mode.value if mode else None}
    given = {name: value for name, value in options.items() if value is not None}
    if input_ is not None:
        try:
            request = json.loads(sys.stdin.read() if str(input_) == "-" else input_.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"{input_}: {error}", param_hint="--input") from error
        if given and isinstance(request, dict):
            request |= given
    else:
        request = {"prefix": prefix} if prefix is not None else {"manifest": manifest}
        request |= given
    deployment = connect(env, state())
    run = runs.new_run("start")
    runs.start(deployment, run, request)
    if wait:
        raise typer.Exit(_finish(deployment, run, json_))
    if json_:
        _print_json({"run": run})
    else:
        show.out.print(f"Started {run}")
        show.out.print(f"Next: {show.COMMAND} results {run}{_env_option(env)}", style="dim")


@app.command()
def results(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as classify and start print it.")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print the rows as JSON Lines, nothing else.")] = False,
    env: Env = LOCAL,
) -> None:
    """Show a run's images, those that need a person first.

    Example: `ics results classify-20260721-101500-3f9a1c --jsonl > rows.jsonl`
    """
    deployment = connect(env, state())
    execution = runs.describe(deployment, run)
    summary = runs.summary(deployment, run)
    if summary is None:
        _no_summary(execution)
        raise typer.Exit(2 if execution["status"] == "RUNNING" else 1)
    if jsonl:
        for row in runs.rows(deployment, summary):
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
        return
    if summary["planned"]:
        show.images(runs.worst_first(runs.rows(deployment, summary)), limit=None)
        show.counts(summary)
    show.outcome(summary)


@app.command()
def alerts(env: Env = LOCAL, json_: Json = False) -> None:
    """Show the alerts that were sent, oldest first, as their readers got them.

    Locally these are the e-mails that were delivered; on AWS they are rendered from the runs' summaries.

    Example: `ics alerts --json`
    """
    deployment = connect(env, state())
    found = _sent(deployment)
    if json_:
        _print_json(found)
    elif not found:
        show.out.print("No alert was sent yet.")
    else:
        for one in found:
            show.alert(one["subject"], one["message"], one["to"])


@app.command()
def demo() -> None:
    """Classify real handwritten digits and some that are none, and say what happens.

    Example: `ics demo`
    """
    from cli.demo import run_demo  # noqa: PLC0415 - scikit-learn takes a second to import

    _up()
    raise typer.Exit(run_demo(state() / "demo", _classify_folder))


def main() -> None:
    """Run the command; every expected error becomes one readable line and exit status 2."""
    try:
        app()
    except (EnvironmentUnavailable, runs.RunNotFound, control.LocalAwsError, deploy.DeployError) as error:
        show.problem(str(error))
    except (BotoCoreError, ClientError) as error:
        show.problem(f"AWS: {error}")
    else:
        return
    raise SystemExit(2)


def _up() -> control.LocalAws:
    with show.err.status("Starting the local AWS") as spinner:
        aws = control.start(state())
        deploy.deploy(aws, ROOT, spinner.update)
    return aws


def _classify(paths: list[Path], options: dict[str, Any], env: str, json_: bool) -> int:
    try:
        pictures, skipped = runs.find_pictures(paths)
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint="PATH") from error
    if not pictures:
        raise typer.BadParameter(f"no picture in {', '.join(map(str, paths))}", param_hint="PATH")
    if skipped and not json_:
        show.err.print(f"Left out {skipped:,} files that are no pictures by their names.", style="dim")
    deployment = connect(env, state())
    run = runs.new_run("classify")
    with _progress() as progress:
        task = progress.add_task("Uploading", total=len(pictures))
        prefix = runs.upload(deployment, run, pictures, lambda: progress.advance(task))
    runs.start(deployment, run, {"prefix": prefix, **options})
    return _finish(deployment, run, json_)


def _classify_folder(folder: Path) -> int:
    return _classify([folder], {}, LOCAL, json_=False)


def _finish(deployment: Deployment, run: str, json_: bool) -> int:
    """Follow the run to its end, show what came of it, and return the exit status."""
    try:
        _follow(deployment, run)
    except KeyboardInterrupt:
        show.problem(f"The run goes on. Look at it with: {show.COMMAND} results {run}{_env_option(deployment.name)}")
        return 130
    summary = runs.summary(deployment, run)
    if summary is None:
        execution = runs.describe(deployment, run)
        if json_:
            _print_json({"run": run, "status": execution["status"], **dict.fromkeys(runs.COUNTS, 0), "seconds": 0.0})
        _no_summary(execution)
        return 1
    if json_:
        _print_json({name: summary[name] for name in ("run", "status", *runs.COUNTS, "seconds")})
    else:
        if summary["planned"]:
            show.images(runs.worst_first(runs.rows(deployment, summary)))
            show.counts(summary)
        for one in _sent(deployment, run):
            show.alert(one["subject"], one["message"], one["to"])
        show.outcome(summary)
    return 0 if summary["status"] == "SUCCEEDED" else 1


def _follow(deployment: Deployment, run: str) -> None:
    with _progress() as progress:
        task = progress.add_task("Planning", total=None)
        for now in runs.follow(deployment, run, every=0.25 if deployment.name == LOCAL else 2.0):
            name = "Planning" if not now.total else "Classifying" if now.done < now.total else "Summarizing"
            progress.update(task, description=name, completed=now.done, total=now.total or None)


def _progress() -> Progress:
    """Progress on stderr, where a terminal is; it leaves nothing behind."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=show.err, transient=True)


def _sent(deployment: Deployment, run: str | None = None) -> list[dict[str, Any]]:
    """The alerts, of one run or of all: locally what was delivered, on AWS what the summaries say was."""
    wanted: Callable[[str], bool] = lambda text: run is None or run in text  # noqa: E731
    if deployment.name == LOCAL:
        return [
            {"at": one.at, "to": one.endpoint, "subject": one.subject or "", "message": one.message}
            for one in outbox.read(state())
            if wanted(one.message)
        ]
    found = [runs.summary(deployment, run)] if run else runs.summaries(deployment)
    return [
        {
            "at": one["finished"],
            "to": deployment.alert_topic,
            "subject": digest.subject(deployment.name, one),
            "message": digest.text(deployment.name, one),
        }
        for one in found
        if one
    ]


def _no_summary(execution: dict[str, Any]) -> None:
    if execution["status"] == "RUNNING":
        show.problem(f"Run {execution['name']} is still running; it has no results yet.")
    else:
        show.problem(
            f"Run {execution['name']} {execution['status']} without a summary: "
            f"{execution.get('error', 'no error given')}: {execution.get('cause', '')}"
        )


def _env_option(env: str) -> str:
    return "" if env == LOCAL else f" --env {env}"


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
