"""Resume a run: plan again only its batches that have no receipt, or one that counts failed images.

A run that was never planned is planned as its own execution asked for: of the uploads that it was started for, nobody
else knows.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError

from ics import paths
from ics.batches import child_batches, plan_lines, planned_batches
from ics.contracts import DECISIONS, dump_line
from ics.errors import InvalidRequest, RunExpired, RunNotFound, RunStillRunning
from ics.request import resumed_run
from ics.summary import STOPPED
from lambdas.budget import Budget
from lambdas.ordered import in_order
from lambdas.plan_run.planning import plan
from lambdas.runtime import log, settings, store
from lambdas.s3 import is_working, read_results, read_working, write_working
from lambdas.states import Execution, describe_execution

READERS = 32
"""Receipts read at once."""

LAST_WRITE = 15.0
"""Seconds after a stopped execution's end in which a function that it had invoked may still write rows: their timeout
is 11 s."""

LAST_PLAN = 915.0
"""The same of a plan: PlanRun's timeout is 900 s."""

PATIENCE = 30.0
"""Seconds that a resume waits for that."""

KEPT = 2 * 24 * 3600
"""Seconds in which a run's working files are certainly still there: they are kept for 3 days."""


def resume(name: str, execution: str, started: str, budget: Budget) -> dict[str, Any]:
    """What PlanRun answers where the execution of this ARN resumes the run of this name (or of a resume of it).

    `attempt` numbers the resumes of a run from 1, `left` counts the batches to do; `counted` is what the run's latest
    summary has counted. `told` is true where nothing is left to do at all: no batch, and people were told so by that
    summary's digest.

    Raises:
        RunNotFound, RunExpired, RunStillRunning: as their names say.
        InvalidRequest: the environment no longer has the run's model.
        RequestError: the run was never planned, and cannot be now.
    """
    config = settings()
    summary = _summary(name)
    run = summary["run"] if summary else name
    content = read_working(paths.record(run))
    if content is None:
        request = _request_of_unplanned(run, execution, summary)
        attempt = _claim(run, execution)
        _await_end(run, attempt, execution, LAST_PLAN)
        return {**plan(run, started, request, budget), "attempt": attempt}
    planned = read_working(paths.plan(run))
    if planned is None or not is_working(paths.images(run)):  # S3 deletes what has expired in any order
        raise _expired(run, summary)
    record = json.loads(content)
    if record["model"] not in config.models:
        raise InvalidRequest(f"the model of run {run!r}, {record['model']!r}, is no longer in this environment")
    attempt = _claim(run, execution)
    earlier = _await_end(run, attempt, execution, LAST_WRITE)
    summary = _summary(run)  # the latest, now that nobody writes it any more
    left = list(_unfinished(run, planned, record["batches"]))
    at_once = config.at_once(record["model"])
    a_child = child_batches(at_once)
    write_working(paths.plan(run, attempt), b"".join(plan_lines(left, a_child)))
    log("resumed", run=run, attempt=attempt, batches=len(left), execution=execution.rpartition(":")[2])
    return {
        **record,
        "attempt": attempt,
        "left": len(left),
        "told": not left and summary is not None and not summary["failed"] and _is_told(summary, earlier),
        "counted": {one: summary[one] for one in ("planned", *DECISIONS)} if summary else {},
        "classify": config.models[record["model"]].classify,
        "max_concurrency": at_once // a_child,
        "plan": {"bucket": config.working_bucket, "key": paths.plan(run, attempt)},
    }


def _summary(name: str) -> dict[str, Any] | None:
    content = read_results(paths.summary(name))
    return None if content is None else json.loads(content)


def _request_of_unplanned(run: str, execution: str, summary: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What the execution of a run that has no record asked for, which is still to be planned.

    Raises:
        RunExpired: it was planned, or may have been, too long ago.
        RunNotFound: there is no such execution, or it was to resume another.
    """
    found = describe_execution(f"{execution.rpartition(':')[0]}:{run}")
    planned = bool(summary and summary["planned"])
    if planned or (found and not summary and found.ended and time.time() > found.ended + KEPT):
        raise _expired(run, summary)
    if found is None:
        raise RunNotFound(f"there is no run {run!r}: ics runs lists them (its own name, not that of its resume)")
    request = json.loads(found.input)
    other = resumed_run(request)
    if other is not None:
        raise RunNotFound(f"{run!r} was to resume {other!r} and did not come to it: resume {other!r}")
    manifest = request.get("manifest") if isinstance(request, dict) else None
    uploads = paths.event_manifest(run)
    if manifest and manifest == f"s3://{settings().working_bucket}/{uploads}" and not is_working(uploads):
        raise RunExpired(f"which uploads run {run!r} was started for is known for 3 days: upload them again")
    return request  # type: ignore[no-any-return]


def _expired(run: str, summary: Mapping[str, Any] | None) -> RunExpired:
    """Why a run cannot be resumed whose working files are gone, and what to do then."""
    gone = f"the working files of run {run!r} are gone: they are kept for 3 days."
    if summary is None:
        return RunExpired(f"{gone} It was never counted: start a new run on the same source")
    return RunExpired(
        f"{gone} Its rows are kept; to classify what failed, start a new run on a manifest of the images whose row is "
        "failed (ics results RUN --jsonl)"
    )


def _is_told(summary: Mapping[str, Any], earlier: Sequence[Execution | None]) -> bool:
    """Whether people had the digest of this summary: by `ics stop`, or by its own execution, one of the `earlier`."""
    by = earlier[summary["attempt"]]
    if summary["error"] == STOPPED or by is None:  # AWS forgets executions after 90 days
        return True
    return by.status in ("SUCCEEDED", "FAILED") and by.error != "AlertNotSent"


def _claim(run: str, execution: str) -> int:
    """The number of this resume: the first that no other execution has taken. Asked again, it is the same."""
    attempt, mine = 1, dump_line({"execution": execution})
    while True:
        try:
            obstore.put(
                store(settings().working_bucket), paths.claim(run, attempt), mine, mode="create", use_multipart=False
            )
        except AlreadyExistsError:
            if read_working(paths.claim(run, attempt)) == mine:
                return attempt
            attempt += 1
        else:
            return attempt


def _await_end(run: str, attempt: int, execution: str, last_write: float) -> list[Execution | None]:
    """See that no earlier attempt runs, and wait until what one has left behind can write no more; return them all.

    SummarizeRun of a stopped one may go on for longer: what it makes up for it never writes over rows, and it never
    replaces a later attempt's summary.

    Raises:
        RunStillRunning: one does, or may still write for longer than `PATIENCE`.
    """
    claims = (read_working(paths.claim(run, earlier)) for earlier in range(1, attempt))
    earlier = [json.loads(claim or b"{}").get("execution") for claim in claims]
    all_found = []
    for arn in [f"{execution.rpartition(':')[0]}:{run}", *earlier]:
        found = describe_execution(arn) if arn else None
        all_found.append(found)
        if found is None:
            continue
        if found.status == "RUNNING":
            raise RunStillRunning(
                f"execution {arn.rpartition(':')[2]!r} of run {run!r} is still running: wait for its end, or stop it "
                "(ics stop), then resume"
            )
        if found.status in ("ABORTED", "TIMED_OUT"):
            left = found.ended + last_write - time.time()
            if left > PATIENCE:
                raise RunStillRunning(
                    f"execution {arn.rpartition(':')[2]!r} was stopped while it planned run {run!r}, and may go on "
                    f"planning for {math.ceil(left / 60)} minutes: resume then"
                )
            time.sleep(max(0.0, left))
    return all_found


def _unfinished(run: str, plan: bytes, batches: int) -> Iterator[dict[str, Any]]:
    """The plan's batches without a receipt, or with one that counts failed images."""
    planned = planned_batches(plan)
    found = in_order(lambda number: read_working(paths.receipt(run, number)), range(batches), READERS)
    for batch, receipt in zip(planned, found, strict=True):
        if receipt is None or json.loads(receipt)["failed"]:
            yield batch
