"""SummarizeRun: reduce the receipts, account for lost batches, prove the sums, write the summary and the alert."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ics import digest, paths
from ics.contracts import Batch, dump_line
from ics.records import Reduction, reduce_receipts
from ics.staging import failed_rows
from ics.summary import summary_of
from lambdas.runtime import log, now, settings
from lambdas.s3 import read_batch, read_working, write_results, write_rows
from lambdas.summarize_run.metrics import count_run

READERS = 32
"""Receipts read at once."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """`{run, started, execution, state}` -> `{outcome, summary, alert}`; `state` is PlanRun's output, or its failure.

    Raises:
        NotReconciled: the receipts do not add up to what was planned; the run must not be called done.
    """
    config, state = settings(), event["state"]
    reduction = reduce_receipts(_receipts(state)) if "planned" in state else Reduction()
    places = {"results_bucket": config.results_bucket, "environment": config.environment}
    summary = summary_of(event, reduction, finished=now(), **places)
    write_results(paths.summary(event["run"]), dump_line(summary))
    count_run(config.environment, summary)
    small = ("run", "status", "planned", "accepted", "uncertain", "flagged", "failed", "seconds", "links")
    return {
        "outcome": {name: summary[name] for name in ("status", "error", "cause")},
        "summary": {name: summary[name] for name in small},
        "alert": digest.alert(config.environment, summary),
    }


def _receipts(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every batch's receipt, in order; a batch that has none is lost, and gets failed rows and a receipt now."""
    run = state["run"]
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda number: read_working(paths.receipt(run, number)), range(state["batches"]))
        for number, receipt in enumerate(found):
            yield json.loads(receipt) if receipt is not None else _lost(state, number)


def _lost(state: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    plan = (read_working(state["plan"]["key"]) or b"").splitlines()
    shared = ("started", "model", "threshold", "policy")
    batch = Batch(**{name: state[name] for name in shared}, **json.loads(plan[number]))
    log("batch lost", "ERROR", run=batch.run, batch=number)
    return write_rows(batch, failed_rows(read_batch(batch), b"", batch, "BatchLost", now()))
