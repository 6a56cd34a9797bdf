"""What came of a run: follow it to its end, then show its images, its counts and its alert."""

from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli import runs, show
from cli.deployment import LOCAL, Deployment
from cli.options import env_option, print_json, state
from ics import digest
from local import outbox
from stacks.config import load_config


def finish(deployment: Deployment, run: str, json_: bool) -> int:
    """Follow the run to its end, show what came of it, and return the exit status."""
    try:
        _follow(deployment, run)
    except KeyboardInterrupt:
        which = f"{run}{env_option(deployment.name)}"
        show.problem(f"The run goes on.\nFollow it: {show.COMMAND} watch {which}\nStop it: {show.COMMAND} stop {which}")
        return 130
    summary = runs.summary(deployment, run)
    if summary is None:
        execution = runs.describe(deployment, run)
        resumed = runs.resumed_by(execution)
        if resumed and execution["status"] == "SUCCEEDED":
            return _nothing_left(deployment, resumed, json_)
        if json_:
            print_json({"run": run, "status": execution["status"], **dict.fromkeys(runs.COUNTS, 0), "seconds": 0.0})
        no_summary(deployment, execution)
        return 1
    if json_:
        print_json({name: summary[name] for name in ("run", "status", *runs.COUNTS, "seconds")})
    else:
        if summary["planned"]:
            show.images(runs.worst_first(runs.rows(deployment, summary)))
            show.counts(summary)
        for one in sent(deployment, run):
            show.alert(one["subject"], one["message"], one["to"])
        show.outcome(summary)
    return 0 if summary["status"] == "SUCCEEDED" else 1


def _nothing_left(deployment: Deployment, run: str, json_: bool) -> int:
    """Say that a resume found nothing to do, and show the run as it is."""
    summary = runs.summary(deployment, run)
    if summary is not None and json_:
        print_json({name: summary[name] for name in ("run", "status", *runs.COUNTS, "seconds")})
    elif summary is not None:
        show.out.print(f"Nothing is left to do in run {summary['run']}: no image failed, and each has its row.")
        show.counts(summary)
    return 0


def _follow(deployment: Deployment, run: str) -> None:
    with progress() as bar:
        task = bar.add_task("Planning", total=None)
        for now in runs.follow(deployment, run, every=every(deployment)):
            name = "Planning" if not now.total else "Classifying" if now.done < now.total else "Summarizing"
            bar.update(task, description=name, completed=now.done, total=now.total or None)


def progress() -> Progress:
    """Progress on stderr, where a terminal is; it leaves nothing behind."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=show.err, transient=True)


def every(deployment: Deployment) -> float:
    """Seconds between two looks at a run: AWS limits how often it may be asked."""
    return 0.25 if deployment.name == LOCAL else 2.0


def sent(deployment: Deployment, run: str | None = None) -> list[dict[str, Any]]:
    """The alerts, of one run or of all: of all locally what was mailed, else what the summaries say was published.

    A mail may be of several alerts, and minutes late; so a run's own is never looked for among them.
    """
    if run is None and deployment.name == LOCAL:
        return [
            {"at": one.at, "to": one.endpoint, "subject": one.subject or "", "message": one.message}
            for one in outbox.read(state())
        ]
    to = ", ".join(load_config(deployment.name).alert_emails) or deployment.alert_topic
    found = [runs.summary(deployment, run)] if run else runs.summaries(deployment)
    return [
        {
            "at": one["finished"],
            "to": to,
            "subject": digest.subject(deployment.name, one),
            "message": digest.text(deployment.name, one),
        }
        for one in found
        if one
    ]


def no_summary(deployment: Deployment, execution: dict[str, Any]) -> None:
    """Say why a run has no summary, and what to do."""
    which = f"{execution['name']}{env_option(deployment.name)}"
    if execution["status"] == "RUNNING":
        show.problem(f"Run {execution['name']} is still running; it has no results yet.")
    elif execution["status"] == "ABORTED":
        show.problem(
            f"Run {execution['name']} was stopped without a summary. "
            f"Account for its images with: {show.COMMAND} stop {which}"
        )
    else:
        show.problem(
            f"Run {execution['name']} {execution['status']} without a summary: "
            f"{execution.get('error', 'no error given')}: {execution.get('cause', '')}\n"
            f"Finish it with: {show.COMMAND} resume {which}"
        )
