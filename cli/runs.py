"""Runs: upload pictures, start an execution, follow it, read what it left behind."""

import difflib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from botocore.exceptions import ClientError

from cli.deployment import Deployment
from ics import paths
from ics.errors import InvalidRequest
from ics.request import split_uri
from ics.shards import PICTURE_ENDINGS

PICTURES = frozenset(PICTURE_ENDINGS)
"""Endings that `classify FOLDER` takes; a file that is named itself is taken whatever its ending."""

MAX_INPUT = 262_144 - 1_024
"""Bytes of a request: 256 KiB, which AWS allows in a state, less what the state machine puts around it."""

COUNTS = ("planned", "accepted", "uncertain", "flagged", "failed")

_MADE_AT = r"\d{8}-\d{6}-"
_NAMED_BY = {
    "event": re.compile(rf"event-{_MADE_AT}[0-9a-f]{{12}}"),
    "api": re.compile(rf"api-{_MADE_AT}[0-9a-f]{{6}}"),
    "command": re.compile(rf"(classify|start)-{_MADE_AT}[0-9a-f]{{6}}"),
}
"""The names that StartRun, the HTTP API and this command give to runs, by the source of such a run."""


class RunNotFound(Exception):
    """There is no run of this name in the environment."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: children of the Map done of all; both are 0 while it is being planned."""

    status: str
    done: int
    total: int


def new_run(kind: str) -> str:
    """A name for a run: what it is, when, and six hex digits. Step Functions keeps names for 90 days."""
    return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def find_pictures(given: Sequence[Path]) -> tuple[dict[str, Path], int]:
    """The pictures to upload by the key they get, and how many other files the folders held.

    Files keep their names, folders their structure; equal keys are numbered, so that none overwrites another.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    pictures: dict[str, Path] = {}
    skipped = 0
    for path in given:
        if path.is_file():
            pictures[_free(path.name, pictures)] = path
            continue
        if not path.is_dir():
            raise FileNotFoundError(f"{path} does not exist")
        for file in sorted(path.rglob("*")):
            if not file.is_file():
                continue
            if file.suffix.lower() in PICTURES:
                pictures[_free(f"{path.resolve().name}/{file.relative_to(path).as_posix()}", pictures)] = file
            else:
                skipped += 1
    return pictures, skipped


def upload(deployment: Deployment, run: str, pictures: dict[str, Path], done: Callable[[], None]) -> str:
    """Upload pictures to the images bucket; `done` is called for each. Returns the prefix they are under, as a URI."""
    prefix = f"uploads/{run}/"

    def put(item: tuple[str, Path]) -> None:
        key, path = item
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=prefix + key, Body=path.read_bytes())
        done()

    with ThreadPoolExecutor(8) as uploads:
        list(uploads.map(put, pictures.items()))
    return f"s3://{deployment.images_bucket}/{prefix}"


def start(deployment: Deployment, run: str, request: object) -> None:
    """Start the run's execution.

    Raises:
        InvalidRequest: the request is larger than AWS hands on; Step Functions would end the run without an alert.
    """
    text = json.dumps(request, ensure_ascii=False)
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_INPUT:
        raise InvalidRequest(
            f"the request has {size:,} bytes; the limit is {MAX_INPUT:,}: write the images to a manifest (.jsonl, .csv "
            "or .json in S3) and give its URI as manifest"
        )
    deployment.states.start_execution(stateMachineArn=deployment.state_machine, name=run, input=text)


def describe(deployment: Deployment, run: str) -> dict[str, Any]:
    """The run's execution, as DescribeExecution answers.

    Raises:
        RunNotFound: there is none.
    """
    try:
        return cast("dict[str, Any]", deployment.states.describe_execution(executionArn=execution_arn(deployment, run)))
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ExecutionDoesNotExist", "InvalidArn"):
            raise
        close = difflib.get_close_matches(run, names(deployment), n=3)
        meant = f" Did you mean {' or '.join(close)}?" if close else " All runs: ics runs"
        raise RunNotFound(f"There is no run {run!r} in environment {deployment.name!r}.{meant}") from error


def resumed_by(execution: Mapping[str, Any]) -> str | None:
    """The run that an execution, as DescribeExecution answers, resumes; None where it is a run of its own."""
    try:
        request = json.loads(execution.get("input") or "")
    except ValueError:
        return None
    resumed = request.get("resume") if isinstance(request, dict) else None
    return resumed if isinstance(resumed, str) else None


def source_of(name: str, described: Callable[[], Mapping[str, Any]]) -> str:
    """What started a run: `event` (an upload), `api`, `command` (ics classify, ics start), `resume`, or `console`.

    `resume` is said of whatever resumes another run, whoever started it, `console` of all that was started in Step
    Functions itself, under a name that a person or a program chose. Events never resume: of their runs, which may be
    the most, nothing more is asked; `described` gives any other's execution, as DescribeExecution answers.
    """
    source = next((source for source, form in _NAMED_BY.items() if form.fullmatch(name)), "console")
    return "resume" if source != "event" and resumed_by(described()) else source


def names(deployment: Deployment, most: int = 100) -> list[str]:
    """The names of the latest runs, at most so many, the latest first."""
    return [execution["name"] for execution in _latest(deployment, most)]


def listed(deployment: Deployment, most: int) -> list[dict[str, Any]]:
    """The latest runs, the latest first: name, source, status, times, the counts of those that have a summary."""

    def one(execution: dict[str, Any]) -> dict[str, Any]:
        name = execution["name"]
        found = summary(deployment, name) or {}
        stopped = execution.get("stopDate")
        return {
            "run": name,
            "source": source_of(name, lambda: describe(deployment, name)),
            "status": execution["status"],
            "started": execution["startDate"].astimezone(UTC).isoformat(timespec="seconds"),
            "ended": stopped and stopped.astimezone(UTC).isoformat(timespec="seconds"),
            **{name: found.get(name) for name in COUNTS},
        }

    with ThreadPoolExecutor(8) as readers:
        return list(readers.map(one, _latest(deployment, most)))


def map_run(deployment: Deployment, run: str) -> dict[str, Any] | None:
    """The run's Map run, as DescribeMapRun answers, or None where its images are not being processed yet."""
    found = deployment.states.list_map_runs(executionArn=execution_arn(deployment, run))["mapRuns"]
    if not found:
        return None
    return cast("dict[str, Any]", deployment.states.describe_map_run(mapRunArn=found[0]["mapRunArn"]))


def follow(deployment: Deployment, run: str, every: float) -> Iterator[Progress]:
    """How far the run is, every so many seconds, until it has ended."""
    while True:
        status = describe(deployment, run)["status"]
        found = map_run(deployment, run)
        done = total = 0
        if found:
            counts = found["itemCounts"]
            total = counts["total"]
            done = total - counts["pending"] - counts["running"]
        yield Progress(status, done, total)
        if status != "RUNNING":
            return
        time.sleep(every)


def summary(deployment: Deployment, run: str) -> dict[str, Any] | None:
    """The run's summary, or None where it has none (yet)."""
    try:
        answer = deployment.s3.get_object(Bucket=deployment.results_bucket, Key=paths.summary(run))
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    return cast("dict[str, Any]", json.loads(answer["Body"].read()))


def contact_sheet(deployment: Deployment, run: str) -> bytes | None:
    """The run's contact sheet, a JPEG, or None where it has none."""
    try:
        answer = deployment.s3.get_object(Bucket=deployment.results_bucket, Key=paths.contact_sheet(run))
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    content: bytes = answer["Body"].read()
    return content


def summaries(deployment: Deployment) -> list[dict[str, Any]]:
    """The summaries of all runs, oldest first."""
    keys = (key for key in _list(deployment, deployment.results_bucket, "runs/") if key.endswith("/summary.json"))
    found = (summary(deployment, key.split("/")[1]) for key in keys)
    # That of a run which was resumed also lies under the name of the execution that resumed it.
    distinct = {one["links"]["execution"]: one for one in found if one}
    return sorted(distinct.values(), key=lambda one: str(one["finished"]))


def rows(deployment: Deployment, summary_: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A run's rows, batch by batch."""
    if "rows" not in summary_["links"]:
        return
    bucket, prefix = split_uri(summary_["links"]["rows"])
    keys = sorted(_list(deployment, bucket, prefix), key=lambda key: int(key.rpartition("-")[2].partition(".")[0]))
    for key in keys:
        for line in deployment.s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines():
            yield json.loads(line)


def worst_first(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with those a person should see first on top: flagged, failed, uncertain, accepted; least sure first."""
    order = {"flagged": 0, "failed": 1, "uncertain": 2, "accepted": 3}
    return sorted(found, key=lambda row: (order[row["decision"]], row["confidence"] or 0.0, row["s3_uri"]))


def _list(deployment: Deployment, bucket: str, prefix: str) -> Iterator[str]:
    for page in deployment.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (item["Key"] for item in page.get("Contents", ()))


def _latest(deployment: Deployment, most: int) -> list[dict[str, Any]]:
    pages = deployment.states.get_paginator("list_executions").paginate(
        stateMachineArn=deployment.state_machine, PaginationConfig={"MaxItems": most}
    )
    found = [execution for page in pages for execution in page["executions"]]
    return sorted(found, key=lambda execution: execution["startDate"], reverse=True)


def execution_arn(deployment: Deployment, run: str) -> str:
    """The ARN of the run's execution."""
    return f"{deployment.state_machine.replace(':stateMachine:', ':execution:')}:{run}"


def _free(key: str, taken: dict[str, Path]) -> str:
    number = 2
    free = key
    while free in taken:
        free = f"{number}/{key}"
        number += 1
    return free
