"""The log lines of a run: what each function wrote about it, from CloudWatch Logs, in the order of time."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cli import runs
from cli.deployment import Deployment


@dataclass(frozen=True)
class Line:
    """One line: when, which function (without `ics-<environment>-`), and its JSON, or its text as `message`."""

    at: datetime
    function: str
    record: Mapping[str, Any]


def lines(deployment: Deployment, run: str) -> list[Line]:
    """Every line that names the run, oldest first. CloudWatch Logs shows a line some seconds after it was written.

    Raises:
        RunNotFound: there is no such run.
    """
    since = runs.describe(deployment, run)["startDate"] - timedelta(seconds=1)
    prefix = f"/aws/lambda/ics-{deployment.name}-"
    pages = deployment.logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
    groups = [group["logGroupName"] for page in pages for group in page["logGroups"]]

    def read(group: str) -> list[Line]:
        return list(_read(deployment, group, group.removeprefix(prefix), run, int(1000 * since.timestamp())))

    with ThreadPoolExecutor(8) as readers:
        found = [line for group in readers.map(read, groups) for line in group]
    return sorted(found, key=lambda line: line.at)


def _read(deployment: Deployment, group: str, function: str, run: str, since: int) -> Iterator[Line]:
    # A quoted term finds the run also in a traceback, which is no JSON.
    pages = deployment.logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, startTime=since, filterPattern=f'"{run}"'
    )
    for page in pages:
        for event in page["events"]:
            for text in event["message"].splitlines():
                if run in text:
                    yield _line(function, event["timestamp"], text)


def _line(function: str, written: int, text: str) -> Line:
    """A function's own JSON line says when it was written; CloudWatch's time may be that of its arrival."""
    try:
        record = json.loads(text)
        at = datetime.fromisoformat(record["time"])
    except (ValueError, KeyError, TypeError):
        return Line(datetime.fromtimestamp(written / 1000, UTC), function, {"message": text})
    return Line(at, function, record)
