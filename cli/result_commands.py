"""The commands that look at runs: which there are, their results, their alerts, their logs."""

import json
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from cli import logs as log_lines
from cli import runs as all_runs
from cli import show
from cli.deployment import LOCAL, Deployment, connect
from cli.options import Env, Json, Run, app, print_json, state
from cli.outcome import no_summary, sent
from cli.pictures import content_of, with_boxes


@app.command()
def runs(
    most: Annotated[int, typer.Option("--most", min=1, help="How many.")] = 20, env: Env = LOCAL, json_: Json = False
) -> None:
    """List the latest runs, the latest first: running ones too.

    Example: `ics runs --most 50 --env dev`
    """
    found = all_runs.listed(connect(env, state()), most)
    if json_:
        print_json(found)
    elif not found:
        show.out.print("There was no run yet.")
    else:
        show.runs(found)


@app.command()
def results(
    run: Run,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print the rows as JSON Lines, nothing else.")] = False,
    boxes: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write each picture that has boxes there, with them drawn.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the contact sheet, the worst images as one JPEG, there.")
    ] = None,
    env: Env = LOCAL,
) -> None:
    """Show a run's images, those that need a person first, or save them as a picture.

    Example: `ics results classify-20260721-101500-3f9a1c --jsonl > rows.jsonl`
    """
    deployment = connect(env, state())
    execution = all_runs.describe(deployment, run)
    summary = all_runs.summary(deployment, run)
    if summary is None:
        no_summary(deployment, execution)
        raise typer.Exit(2 if execution["status"] == "RUNNING" else 1)
    if boxes is not None:
        _draw_boxes(deployment, all_runs.rows(deployment, summary), boxes)
    if sheet is not None:
        _save_sheet(deployment, run, sheet)
    if jsonl:
        for row in all_runs.rows(deployment, summary):
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
        return
    if summary["planned"]:
        show.images(all_runs.worst_first(all_runs.rows(deployment, summary)), limit=None)
        show.counts(summary)
    show.outcome(summary)


def _draw_boxes(deployment: Deployment, rows: Iterable[dict[str, Any]], folder: Path) -> None:
    """Write the pictures of the rows that have boxes; equal names are numbered, what cannot be read is said."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: set[str] = set()
    for row in (row for row in rows if row["boxes"]):
        try:
            picture = with_boxes(content_of(deployment, row), row["boxes"])
        except (ClientError, OSError) as error:
            show.problem(f"{row['s3_uri']} cannot be drawn: {error}")
            continue
        stem = PurePosixPath(row["s3_uri"]).stem
        name = next(name for name in (stem, *(f"{stem}-{n}" for n in count(2))) if name not in drawn)
        drawn.add(name)
        (folder / f"{name}.jpg").write_bytes(picture)
    show.err.print(f"{len(drawn):,} pictures with boxes are in {folder}", soft_wrap=True)


def _save_sheet(deployment: Deployment, run: str, file: Path) -> None:
    content = all_runs.contact_sheet(deployment, run)
    if content is None:
        show.problem(f"Run {run} has no contact sheet: no image needs a person, or it could not be made.")
        raise typer.Exit(1)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--sheet") from error
    show.err.print(f"Saved {file}", style="dim", markup=False)


@app.command()
def alerts(env: Env = LOCAL, json_: Json = False) -> None:
    """Show the alerts that were sent, oldest first, as their readers got them.

    Locally these are the e-mails that were delivered; on AWS they are rendered from the runs' summaries.

    Example: `ics alerts --json`
    """
    deployment = connect(env, state())
    found = sent(deployment)
    if json_:
        print_json(found)
    elif not found:
        show.out.print("No alert was sent yet.")
    else:
        for one in found:
            show.alert(one["subject"], one["message"], one["to"])


@app.command()
def logs(
    run: Run,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print the lines as JSON Lines, nothing else.")] = False,
    env: Env = LOCAL,
) -> None:
    """Show what the functions logged about a run, in the order of time.

    Example: `ics logs classify-20260721-101500-3f9a1c --env dev`
    """
    found = log_lines.lines(connect(env, state()), run)
    if jsonl:
        for line in found:
            print_json({"time": line.at.isoformat(), "function": line.function, **line.record})
        return
    for line in found:
        show.log_line(line.at, line.function, line.record)
    if not found:
        show.err.print("Nothing was logged yet: CloudWatch Logs shows a line after some seconds.", style="dim")
