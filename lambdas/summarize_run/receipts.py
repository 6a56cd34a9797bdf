"""The receipts of a run, one a batch: what an attempt that was killed did not write is made up for."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from obstore.exceptions import AlreadyExistsError

from ics import paths
from ics.batches import planned_batches
from ics.contracts import Batch
from ics.staging import failed_rows
from lambdas.ordered import in_order
from lambdas.runtime import log, now
from lambdas.s3 import read_batch, read_rows, read_working, write_receipt, write_rows

READERS = 32
"""Receipts read, or made up, at once."""


def all_receipts(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every batch's receipt, in order; `state` is PlanRun's output.

    A batch that this attempt was to do and that has no receipt of it was killed midway, and gets one now: of its rows
    where they are written, for rows come before the receipt; else of failed rows, as lost.
    """
    due = _batches_of(state) if state["attempt"] else range(state["batches"])

    def one(number: int) -> Mapping[str, Any]:
        content = read_working(paths.receipt(state["run"], number))
        receipt: Mapping[str, Any] | None = json.loads(content) if content is not None else None
        if receipt is None or (number in due and receipt["attempt"] != state["attempt"]):
            return _made_up(state, number)
        return receipt

    return in_order(one, range(state["batches"]), READERS)


def _batches_of(state: Mapping[str, Any]) -> set[int]:
    """The batches in this attempt's plan."""
    return {batch["batch"] for batch in planned_batches(read_working(state["plan"]["key"]) or b"")}


@lru_cache(maxsize=1)
def _plan(run: str) -> list[dict[str, Any]]:
    """The run's batches, in order: written once, by PlanRun."""
    return planned_batches(read_working(paths.plan(run)) or b"")


def _made_up(state: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    given = {name: state[name] for name in ("started", "model", "threshold", "policy", "attempt", "skip_classified")}
    batch = Batch(**given, **_plan(state["run"])[number])
    rows, refs = read_rows(batch), read_batch(batch)
    if len(rows) == len(refs):
        log("receipt made up", "WARNING", run=batch.run, batch=number)
        return write_receipt(batch, rows)
    log("batch lost", "ERROR", run=batch.run, batch=number)
    try:
        return write_rows(batch, failed_rows(refs, b"", batch, "BatchLost", now(), rows), over=bool(rows))
    except AlreadyExistsError:  # a resume has come to it meanwhile, and paid for it
        return _made_up(state, number)
