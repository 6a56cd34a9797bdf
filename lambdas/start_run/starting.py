"""One run over uploads, each of which belongs to one run only, however often and in whatever company it is told of.

An upload is claimed in the table, for a run, before that run is started. Whoever finds a claim asks Step Functions
whether its run was started: if it was, the upload is that run's. If it was not, the claim is being acted upon now, or
was left behind by an invocation that ended before it got so far, which its age tells; then it is taken over. The run's
name is made of its uploads, so that the same uploads never start two.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ics import paths
from ics.uploads import Upload, latest, manifest_of, run_name
from lambdas import table
from lambdas.runtime import log, settings
from lambdas.s3 import write_working
from lambdas.start_run.executions import is_started, start

_PREFIX, _SORT = "upload#", "claim"

LEASE = 60
"""Seconds after which whoever made a claim has ended: twice the function's timeout, for clocks that differ. SQS waits
longer before it delivers a message again."""

KEPT = 30 * 24 * 3600
"""Seconds that a claim is kept: longer than a message can be in the queue and among the dead letters, 14 days each, and
shorter than Step Functions keeps names."""


def start_run(uploads: Mapping[str, Upload], model: str | None) -> set[str]:
    """Start a run over those of the uploads, given by id, that no run has; return those that may yet have none.

    All of them are for this model, or for the environment's own choice.

    Raises:
        TableUnavailable, StartFailed: nothing is lost; what was claimed is taken over when it is told of again.
    """
    now = int(time.time())
    known = _claims(uploads)
    started = {run: is_started(run) for run in {claim["run"] for claim in known.values()}}
    unstarted = {one: claim for one, claim in known.items() if not started[claim["run"]]}
    left_behind = {one: claim for one, claim in unstarted.items() if now - claim["at"] >= LEASE}
    new = [one for one in uploads if one not in known]
    wanted = {*new, *left_behind}
    mine: set[str] = set()
    if wanted:
        run = run_name([uploads[one] for one in wanted])
        inserted = table.insert_many([_claim(one, run, now) for one in new])
        mine |= {one for one, done in zip(new, inserted, strict=True) if done}
        mine |= {one for one, claim in left_behind.items() if table.put_over(_claim(one, run, now), claim)}
        # What was written though its answer was lost, or by this batch's earlier delivery, is ours too.
        mine |= {one for one, claim in _claims(wanted - mine).items() if claim["run"] == run}
    if mine:
        _start(run, latest(uploads[one] for one in mine), model)
        log("uploads gathered", run=run, told=len(uploads), claimed=len(mine), taken_over=len(left_behind))
    return {*unstarted, *wanted} - mine


def _start(run: str, uploads: Iterable[Upload], model: str | None) -> None:
    key = paths.event_manifest(run)
    write_working(key, manifest_of(uploads))
    request = {"manifest": f"s3://{settings().working_bucket}/{key}", **settings().upload_request}
    start(run, request | ({"model": model} if model else {}))


def _claims(uploads: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The claims there are on uploads."""
    found = table.get_many((_PREFIX + one, _SORT) for one in uploads)
    return {pk.removeprefix(_PREFIX): claim for (pk, _), claim in found.items()}


def _claim(upload: str, run: str, now: int) -> table.Item:
    return {"pk": _PREFIX + upload, "sk": _SORT, "run": run, "at": now, "expires": now + KEPT}
