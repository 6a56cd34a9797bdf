"""SummarizeRun: reduce the receipts, account for lost batches, prove the sums, write the summary and the alert."""

import json
from collections.abc import Mapping
from typing import Any

from ics import digest, paths
from ics.contracts import dump_line
from ics.errors import RunResumed
from ics.records import Reduction, reduce_receipts
from ics.summary import summary_of
from lambdas.runtime import now, settings
from lambdas.s3 import read_results, write_results, write_working
from lambdas.summarize_run.metrics import count_run
from lambdas.summarize_run.receipts import all_receipts


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """`{run, started, execution, state}` -> `{outcome, summary, alert}`; `state` is PlanRun's output, or its failure.

    `run` and `started` are the execution's. Where it resumes a run, `state` says which: the summary is that run's, and
    lies under both names.

    Raises:
        NotReconciled: the receipts do not add up to what was planned; the run must not be called done.
        RunResumed: a later attempt has summarized the run.
    """
    config, state = settings(), event["state"]
    there = json.loads(read_results(paths.summary(state.get("run", event["run"]))) or b"{}")
    if there.get("attempt", 0) > state.get("attempt", 0):
        raise RunResumed(f"run {there['run']!r} was resumed and summarized: {there['links']['command']}")
    reduction = reduce_receipts(all_receipts(state)) if "planned" in state else Reduction()
    places = {"results_bucket": config.results_bucket, "environment": config.environment}
    summary = summary_of(event, reduction, finished=now(), **places)
    first = {"attention": reduction.need_attention, "worst": reduction.worst}
    write_working(paths.worst(summary["run"]), dump_line(first))
    for name in {summary["run"], event["run"]}:
        write_results(paths.summary(name), dump_line(summary))
    count_run(config.environment, summary, state.get("counted", {}))
    small = ("run", "status", "planned", "accepted", "uncertain", "flagged", "failed", "seconds", "links")
    return {
        "outcome": {name: summary[name] for name in ("status", "error", "cause")},
        "summary": {name: summary[name] for name in small},
        "alert": digest.alert(config.environment, summary),
    }
