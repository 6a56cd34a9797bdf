"""Runs: start one, list them, see how one stands."""

import json
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.event_handler import Response

from ics import digest, paths
from ics.errors import BadRequest, BodyTooLarge, InvalidParameter, InvalidRequest, RunNotFound, StartFailed
from ics.request import parse_request, resumed_run
from ics.watched import told_of
from lambdas import presigned, states, table
from lambdas.api.answers import RunDetail, Runs, Started
from lambdas.api.router import Parameter, answered, asked, asked_number, json_body, route
from lambdas.runtime import settings
from lambdas.s3 import read_results, read_working

LIMIT = Parameter("limit", "how many runs at most", kind="integer", most=25)
CURSOR = Parameter("cursor", "`next` of an answer", most=3096)
SHEET_SECONDS = 300

MOST_ALERTS = 25
"""Alerts about watched labels that are shown: there may be one for each batch."""

_COUNTS = ("planned", "accepted", "uncertain", "flagged", "failed")


@route(
    "POST", "/v1/runs", answer=Started, status=202, body=dict[str, Any],
    errors=(BadRequest, BodyTooLarge, InvalidRequest, StartFailed),
)  # fmt: skip
def start_run() -> Response[Any]:
    """Start a run.

    The body is the state machine's request, as `statemachine/classify_images.schema.json` describes it: one of images,
    prefix, manifest or resume, and options.
    """
    config, request = settings(), json_body()
    if resumed_run(request) is None:
        parse_request(request, models=config.models, default_model=config.default_model)
    run = f"api-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    asked_for = {"stateMachineArn": config.state_machine, "name": run, "input": json.dumps(request)}
    states.call("StartExecution", asked_for, unless="ExecutionAlreadyExists")
    where = f"/v1/runs/{run}"
    return answered({"run": run, "self": where}, 202, Location=where)


@route("GET", "/v1/runs", answer=Runs, query=(LIMIT, CURSOR), errors=(InvalidParameter, StartFailed))
def list_runs() -> Response[Any]:
    """List runs of the last 90 days, the latest first."""
    cursor = asked(CURSOR)
    request = {"stateMachineArn": settings().state_machine, "maxResults": asked_number(LIMIT, 10)}
    found = states.call("ListExecutions", request | ({"nextToken": cursor} if cursor else {}), unless="InvalidToken")
    if found is None:
        raise InvalidParameter("cursor is not `next` of an answer")
    with ThreadPoolExecutor(8) as readers:
        items = list(readers.map(_brief, found["executions"]))
    return answered({"items": items, "next": found.get("nextToken")})


@route("GET", "/v1/runs/<run>", answer=RunDetail, errors=(RunNotFound, StartFailed))
def get_run(run: str) -> Response[Any]:
    """Show how a run stands: how much of it is done, what people were told, and at its end the summary."""
    machine = settings().state_machine
    arn = states.execution_arn(machine, run)
    try:
        resumed_run({"resume": run})
    except InvalidRequest as error:
        raise RunNotFound(f"{run[:100]!r} is no run's name") from error
    known = states.call("DescribeExecution", {"executionArn": arn}, unless="ExecutionDoesNotExist")
    if known is None:
        raise RunNotFound(f"there is no run {run!r}")
    summary = _json(read_results(paths.summary(run)))
    planned = summary or _json(read_working(paths.record(run)))
    alerts, more = _alerts(run, summary)
    sheet = None
    if summary and "sheet" in summary["links"]:
        sheet = presigned.get_url(settings().results_bucket, paths.contact_sheet(summary["run"]), SHEET_SECONDS)
    return answered(
        {
            "run": run,
            "status": known["status"],
            "started": _time(known["startDate"]),
            "ended": _time(known.get("stopDate")),
            "planned": planned["planned"] if planned else None,
            "progress": _progress(arn),
            "summary": summary,
            "sheet": sheet,
            "alerts": alerts,
            "more_alerts": more,
        }
    )


def _alerts(run: str, summary: Mapping[str, Any] | None) -> tuple[list[dict[str, Any]], bool]:
    """What people were told of a run, in the order of time, and whether there is more of it.

    Watched labels by what was noted as it was sent; the digest by the summary, of which it is made.
    """
    told, more = table.query(told_of(summary["run"] if summary else run), most=MOST_ALERTS)
    found = [{name: one[name] for name in ("at", "subject", "text")} for one in told]
    if summary:
        environment = settings().environment
        words = {"subject": digest.subject(environment, summary), "text": digest.text(environment, summary)}
        found.append({"at": summary["finished"], **words})
    return sorted(found, key=lambda one: str(one["at"])), bool(more)


def _brief(execution: Mapping[str, Any]) -> dict[str, Any]:
    run = execution["name"]
    summary = (_json(read_results(paths.summary(run))) if execution["status"] != "RUNNING" else None) or {}
    return {
        "run": run,
        "status": execution["status"],
        "started": _time(execution["startDate"]),
        "ended": _time(execution.get("stopDate")),
        **{name: summary.get(name) for name in _COUNTS},
    }


def _progress(arn: str) -> dict[str, int] | None:
    """Children of the run's Map; None while it is being planned."""
    listed = states.call("ListMapRuns", {"executionArn": arn}, unless="ExecutionDoesNotExist")
    if not listed or not listed["mapRuns"]:
        return None
    found = states.call("DescribeMapRun", {"mapRunArn": listed["mapRuns"][0]["mapRunArn"]}, unless="ResourceNotFound")
    if not found:
        return None
    counts = found["itemCounts"]
    return {"children": counts["total"], "done": counts["total"] - counts["pending"] - counts["running"]}


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _json(content: bytes | None) -> Any:
    return json.loads(content) if content else None
