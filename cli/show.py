"""What people see in the terminal: tables, counts, alerts. Progress and messages go to stderr, results to stdout."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from rich import box
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from cli.runs import COUNTS
from ics import digest
from ics.forecast import Forecast
from ics.prices import Prices
from ics.work import Times

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

SHOWN = 20
"""Images of a run that a table shows; the command `results` shows all."""

COMMAND = os.environ.get("ICS_COMMAND", "ics")
"""How this very command is called; `make demo` says where it is, because a newcomer's shell cannot find it yet."""

_STATUS = {"SUCCEEDED": "green", "RUNNING": "cyan"}
_COLOURS = {"accepted": "green", "uncertain": "yellow", "flagged": "magenta", "failed": "red"}


def images(rows: Sequence[Mapping[str, Any]], limit: int | None = SHOWN) -> None:
    """A table of images, in the order given."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("decision")
    table.add_column("label", overflow="fold")
    table.add_column("confidence", justify="right")
    table.add_column("why")
    for row in rows[:limit]:
        said = row["confidence"] is not None
        table.add_row(
            Text(_short(row["s3_uri"])),
            Text(row["decision"], style=_COLOURS[row["decision"]]),
            Text(row["label"] or "(nothing)") if said else "-",
            digest.shown(row["confidence"]) if said else "-",
            Text(row["reason"] or ""),
        )
    out.print(table)
    if limit is not None and len(rows) > limit:
        out.print(f"… and {len(rows) - limit:,} more: {COMMAND} results {rows[0]['run']}", style="dim")


def counts(summary: Mapping[str, Any]) -> None:
    """One line: planned = accepted + uncertain + flagged + failed."""
    planned, *decided = (
        Text(f"{summary[name]:,} {name}", style=_COLOURS.get(name, "bold") if summary[name] else "dim")
        for name in COUNTS
    )
    out.print(Text(" = ").join([planned, Text(" + ").join(decided)]), Text(f"   {summary['seconds']:.1f} s", "dim"))


def outcome(summary: Mapping[str, Any]) -> None:
    """How the run ended, and why."""
    good = summary["status"] == "SUCCEEDED"
    out.print(Text(f"Run {summary['run']} {summary['status']}", style="bold green" if good else "bold red"))
    if summary["error"]:
        out.print(Text(f"{summary['error']}: {summary['cause']}"), soft_wrap=True)


def alert(subject: str, text: str, to: str) -> None:
    """An alert as its reader gets it; long lines stay whole, so that they can be copied."""
    out.print(Rule(Text(f"alert to {to}"), align="left", style="dim"))
    out.print(Text(f"Subject: {subject}\n\n{text.rstrip()}"), soft_wrap=True)
    out.print(Rule(style="dim"))


def facts(named: Mapping[str, Sequence[str]]) -> None:
    """Names and their values, aligned; a value a line."""
    for name, values in named.items():
        for number, value in enumerate(values):
            out.print(Text(f"{'' if number else name:<14} {value}"), soft_wrap=True)


def runs(found: Sequence[Mapping[str, Any]]) -> None:
    """A table of runs, in the order given; narrow, so that 80 columns hold the longest name that ICS gives one."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("run", overflow="fold", ratio=1)
    table.add_column("source", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("people", justify="right", no_wrap=True)
    for run in found:
        table.add_row(
            Text(run["run"]),
            Text(run["source"]),
            Text(run["status"], style=_STATUS.get(run["status"], "red")),
            Text(f"{run['started'][5:10]} {run['started'][11:16]}"),
            "-" if run["planned"] is None else f"{_brief(run['planned'] - run['accepted'])}/{_brief(run['planned'])}",
        )
    out.print(table)
    out.print("started: in UTC; people: how many images need one, of all", style="dim")


def _brief(count: int) -> str:
    """A number in at most six characters, rounded down."""
    if count < 100_000:
        return f"{count:,}"
    return f"{count // 1000}k" if count < 1_000_000 else f"{count // 100_000 / 10:g}M"


def check(name: str, level: str, found: str, do: str) -> None:
    """One finding, of an environment or of a model, and below it what to do."""
    mark, colour = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "bold red")}[level]
    out.print(Text(f"{mark} {level:<8}", style=colour), Text(f"{name}: {found}"), soft_wrap=True)
    if do:
        out.print(Text(f"           -> {do}"), soft_wrap=True)


def figures(metrics: Mapping[str, Any]) -> str:
    """A model's figures in a line: the first five numbers of its metrics, as they are named there."""
    numbers = ((name, value) for name, value in metrics.items() if type(value) in (int, float))
    return ", ".join(f"{name} {value:,.4g}" for name, value in islice(numbers, 5)) or "none"


def log_line(at: datetime, function: str, record: Mapping[str, Any]) -> None:
    """One line of a function's log; long lines stay whole, so that they can be searched."""
    level, message = record.get("level", ""), record.get("message", "")
    rest = " ".join(
        f"{name}={value}" for name, value in record.items() if name not in ("level", "message", "time", "run", "_aws")
    )
    line = Text(f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} ", "dim") + Text(f"{function} ", "cyan")
    line.append(f"{level} " if level else "", "red" if level == "ERROR" else "dim")
    out.print(line.append(f"{message} {rest}".rstrip()), soft_wrap=True)


def problem(message: str) -> None:
    """An error: what is wrong and what to do next."""
    err.print(Text(message, style="red"))


def _short(uri: str) -> str:
    """The URI without what is the same for every image of an upload."""
    _, found, rest = uri.partition("/uploads/")
    return rest.partition("/")[2] if found else uri


def forecast(
    found: Forecast, model: str, prices: Prices, times: Times, other: float | None, doubted_percent: float
) -> None:
    """What a run will need and cost: the total first, then what it is made of."""
    million = found.cost_usd / found.images * 1e6
    total = f"${found.cost_usd:,.4g} for {found.images:,} images with {model}, ${million:,.2f} a million"
    out.print(Text(total, style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("service")
    table.add_column("USD", justify="right")
    table.add_column("for")
    s3 = found.s3
    table.add_row(
        "Step Functions",
        f"{found.cost['step_functions']:,.4f}",
        f"{found.transitions:,} transitions, {found.express_requests:,} Express executions",
    )
    table.add_row(
        "Lambda",
        f"{found.cost['lambda']:,.4f}",
        f"{found.lambda_requests:,} requests, {found.lambda_gb_seconds:,.0f} GB-s",
    )
    table.add_row("S3", f"{found.cost['s3']:,.4f}", f"{s3['get']:,} GET, {s3['put']:,} PUT, {s3['list']:,} LIST")
    units = found.table
    table.add_row(
        "DynamoDB", f"{found.cost['dynamodb']:,.4f}", f"{units['writes']:,} write and {units['reads']:,} read units"
    )
    table.add_row("SNS, logs", f"{found.cost['sns'] + found.cost['logs']:,.4f}", "the alert, three log lines a batch")
    if "rekognition" in found.cost:
        table.add_row("Rekognition", f"{found.cost['rekognition']:,.4f}", f"{found.images:,} images")
    endpoint = "price unknown" if found.endpoint_cost is None else f"{found.endpoint_cost:,.4f}"
    table.add_row("endpoint, apart", endpoint, f"{found.endpoint_hours:,.2f} instance-hours while the run lasts")
    out.print(table)
    facts(
        {
            "batches": [f"{found.batches:,} of up to {found.batch_images:,} images"],
            "time": [_duration(found.seconds)],
            "history": [f"{found.history_events:,} events of 25,000"],
            "largest state": [f"{found.largest_state_bytes:,} bytes of 262,144"],
            "assumed": [
                f"{times.decode:g} ms to decode an image, {times.infer:g} ms to infer;",
                f"{doubted_percent:g} of 100 images need a person;",
                f"prices of {prices.region}, {prices.date}; no storage, no transfer",
            ],
        }
    )
    if other is not None:
        facts({"usual design": [f"${other:,.2f}, {other / found.cost_usd:,.0f} times as much"]})
    for warning in found.warnings:
        out.print(Text(f"! {warning}", style="yellow"), soft_wrap=True)


def _duration(seconds: float) -> str:
    """About how long, for people."""
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
