"""The summary of a run: `runs/<run>/summary.json`, what the alert and `ics results` are made of."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ics import paths
from ics.digest import may_mend
from ics.errors import RequestError
from ics.records import Reduction, Status, named, outcome, reconcile

STOPPED = "RunStopped"
"""The error of a run that `ics stop` has stopped, summarized and told of."""

_OWN_FAULTS = {error.__name__ for error in RequestError.__subclasses__()}
"""Why a request cannot be planned, however often one tries."""


def summary_of(
    event: Mapping[str, Any],
    reduction: Reduction,
    *,
    finished: str,
    results_bucket: str,
    environment: str,
) -> dict[str, Any]:
    """Everything a person or a program asks first of a run.

    Args:
        event: SummarizeRun's input; `state` is PlanRun's output, or only its failure where the run was not planned.
            Where a run was resumed, `run` and `started` of `state` are that run's, those of `event` the resuming
            execution's, of which alone `seconds` are told.
        reduction: the receipts, reduced.
        finished: ISO 8601 UTC.
        results_bucket: where rows and summary lie.
        environment: the environment's name, for the commands that the links show.

    Raises:
        NotReconciled: the receipts do not add up to what was planned; the run must not be called done.
    """
    state = event["state"]
    run, started = state.get("run", event["run"]), state.get("started", event["started"])
    failure = _failure(state)
    summary_uri = f"s3://{results_bucket}/{paths.summary(run)}"
    planned = state.get("planned", 0)
    reconcile(planned, reduction)
    status: Status = "FAILED"
    error, cause = failure or (None, None)
    if failure is None:
        status, error = outcome(state["mode"], state["tolerated_percent"], planned, reduction)
        cause = error and f"{_counts(reduction)} of {planned:,} images need a person; summary: {summary_uri}"
    links = {
        "summary": summary_uri,
        "command": f"ics results {run} --env {environment}",
        "execution": _console(event["execution"]),
    }
    if planned:
        links["rows"] = f"s3://{results_bucket}/{paths.results(state['model'], started[:10], run)}"
    if reduction.worst:
        links["sheet"] = _object(event["execution"], results_bucket, paths.contact_sheet(run))
    if any(map(may_mend, reduction.reasons)) or (failure and not planned and error not in _OWN_FAULTS):
        links["resume"] = f"ics resume {run} --env {environment}"
    return {
        "run": run,
        "attempt": state.get("attempt", 0),
        "status": status,
        "error": error,
        "cause": cause,
        "model": state.get("model"),
        "model_versions": list(reduction.model_versions),
        "threshold": state.get("threshold"),
        "policy": state.get("policy"),
        "mode": state.get("mode"),
        "planned": planned,
        "accepted": reduction.accepted,
        "uncertain": reduction.uncertain,
        "flagged": reduction.flagged,
        "failed": reduction.failed,
        "batches": state.get("batches", 0),
        "skipped": state.get("skipped", 0),
        "reasons": dict(reduction.reasons),
        "worst": named(reduction.worst),
        "started": started,
        "finished": finished,
        "seconds": round((_time(finished) - _time(event["started"])).total_seconds(), 3),
        "links": links,
    }


def _failure(state: Mapping[str, Any]) -> tuple[str | None, str | None] | None:
    """Error name and readable cause of a failed PlanRun or ProcessImages, or None.

    Step Functions hands a Lambda's exception on as `{"Error": class name, "Cause": JSON with errorMessage}`.
    """
    failure = state.get("failure")
    if failure is None:
        return None
    cause = str(failure.get("Cause", ""))
    with suppress(ValueError, KeyError, TypeError):
        cause = json.loads(cause)["errorMessage"]
    return str(failure["Error"]), cause


def _counts(reduction: Reduction) -> str:
    parts = {name: getattr(reduction, name) for name in ("uncertain", "flagged", "failed")}
    return ", ".join(f"{count:,} {name}" for name, count in parts.items() if count)


def _console(execution: str) -> str:
    """The execution in the Step Functions console."""
    region = execution.split(":")[3]
    return (
        f"https://{region}.console.aws.amazon.com/states/home?region={region}"
        f"#/v2/executions/details/{quote(execution, safe=':')}"
    )


def _object(execution: str, bucket: str, key: str) -> str:
    """An object in the S3 console of the execution's region."""
    region = execution.split(":")[3]
    return f"https://{region}.console.aws.amazon.com/s3/object/{bucket}?region={region}&prefix={quote(key)}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
