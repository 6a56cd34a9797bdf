"""The commands that make a run happen: classify, start, watch, stop, resume, demo; each may follow it to its end."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import resuming, runs, show, stopping, web
from cli.deployment import LOCAL, connect
from cli.environment_commands import bring_up, has_page
from cli.options import Env, Json, Model, Run, SkipClassified, app, env_option, print_json, state
from cli.outcome import every, finish, progress


class Mode(StrEnum):
    """What ends a run as failed."""

    strict = "strict"
    tolerant = "tolerant"


@app.command()
def classify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, or folders of pictures.")],
    model: Model = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Confidence from which to accept.")] = None,
    mode: Annotated[
        Mode, typer.Option(help="strict: any image that needs a person fails the run. tolerant: it does not.")
    ] = Mode.strict,
    tolerated_percent: Annotated[
        float | None, typer.Option(min=0, max=100, help="In tolerant mode: more than this share fails the run.")
    ] = None,
    skip_classified: SkipClassified = None,
    env: Env = LOCAL,
    json_: Json = False,
) -> None:
    """Upload pictures, classify them, show what came of each and the alert that was sent.

    Example: `ics classify photos/ scan.png --threshold 0.9 --mode tolerant`
    """
    options = {"model": model, "threshold": threshold, "mode": mode.value, "tolerated_percent": tolerated_percent}
    options |= {"skip_classified": skip_classified}
    raise typer.Exit(classify_paths(paths, {name: v for name, v in options.items() if v is not None}, env, json_))


@app.command()
def start(
    prefix: Annotated[
        str | None, typer.Option(metavar="URI", help="All images under s3://bucket/prefix, in .tar shards, too.")
    ] = None,
    manifest: Annotated[
        str | None, typer.Option(metavar="URI", help="A list in S3: .csv, .jsonl (or .gz of them) or .json.")
    ] = None,
    input_: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="The execution's input as JSON; - for stdin.")
    ] = None,
    model: Model = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Confidence from which to accept.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="strict or tolerant.")] = None,
    skip_classified: SkipClassified = None,
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
    options |= {"skip_classified": skip_classified}
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
    deployment.check_model(model)
    run = runs.new_run("start")
    runs.start(deployment, run, request)
    if wait:
        raise typer.Exit(finish(deployment, run, json_))
    if json_:
        print_json({"run": run})
    else:
        show.out.print(f"Started {run}")
        show.out.print(f"Next: {show.COMMAND} results {run}{env_option(env)}", style="dim")


@app.command()
def watch(run: Run, env: Env = LOCAL, json_: Json = False) -> None:
    """Follow a run that was started elsewhere to its end, then show what came of it, as classify does.

    Example: `ics watch classify-20260721-101500-3f9a1c --env dev`
    """
    raise typer.Exit(finish(connect(env, state()), run, json_))


@app.command()
def stop(run: Run, env: Env = LOCAL, json_: Json = False) -> None:
    """Stop a run; images of batches that had not finished become failed as BatchLost, and people are told once.

    Example: `ics stop classify-20260721-101500-3f9a1c`
    """
    deployment = connect(env, state())
    with show.err.status("Stopping the run, and waiting for what is in flight"):
        stopped = stopping.stop(deployment, run, every=every(deployment))
    if not stopped and not json_:
        show.err.print("There was nothing left to stop.", style="dim")
    raise typer.Exit(finish(deployment, run, json_))


@app.command()
def resume(run: Run, env: Env = LOCAL, json_: Json = False) -> None:
    """Finish a run that has ended: classify what of it has no row or failed, keep all other rows, then show the run.

    Example: `ics resume classify-20260721-101500-3f9a1c`
    """
    deployment = connect(env, state())
    resumed = resuming.resume(deployment, run)
    if not json_:
        show.err.print(f"Started {resumed.execution}, which goes on with {resumed.run}", style="dim")
    raise typer.Exit(finish(deployment, resumed.execution, json_))


@app.command()
def demo() -> None:
    """Classify real handwritten digits and some that are none, and say what happens.

    Example: `ics demo`
    """
    from cli.demo import run_demo  # noqa: PLC0415 - scikit-learn takes a second to import

    bring_up()
    status = run_demo(state() / "demo", lambda folder: classify_paths([folder], {}, LOCAL, json_=False))
    if has_page():
        page = web.find(connect(LOCAL, state()), state()).page
        show.out.print(f"\n[cyan]{show.COMMAND} open --role operator[/] opens the page, signed in", soft_wrap=True)
        show.out.print(f"\n[bold]The page[/]: {page}", soft_wrap=True)
    raise typer.Exit(status)


def classify_paths(paths: list[Path], options: dict[str, Any], env: str, json_: bool) -> int:
    """Upload pictures, classify them, show what came of it, and return the exit status."""
    try:
        pictures, skipped = runs.find_pictures(paths)
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint="PATH") from error
    if not pictures:
        raise typer.BadParameter(f"no picture in {', '.join(map(str, paths))}", param_hint="PATH")
    if skipped and not json_:
        show.err.print(f"Left out {skipped:,} files that are no pictures by their names.", style="dim")
    deployment = connect(env, state())
    deployment.check_model(options.get("model"))
    run = runs.new_run("classify")
    with progress() as bar:
        task = bar.add_task("Uploading", total=len(pictures))
        prefix = runs.upload(deployment, run, pictures, lambda: bar.advance(task))
    runs.start(deployment, run, {"prefix": prefix, **options})
    return finish(deployment, run, json_)
