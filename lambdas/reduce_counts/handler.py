"""ReduceCounts: merge what all shards and partitions counted, and write the figures."""

import json
from collections.abc import Mapping
from typing import Any

from ics import paths
from ics.accuracy import Counts, counts_from_json
from ics.accuracy_figures import figures
from ics.errors import CountsMissing
from lambdas.evaluation import all_counts
from lambdas.runtime import log, now, settings
from lambdas.s3 import write_results


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """PlanEvaluation's output -> `{evaluation, metrics, images, accuracy, conflicting, bad_lines}`.

    Raises:
        TooManyVersions: as its name says.
        CountsMissing: a shard or a partition was not counted; the figures would be wrong.
    """
    evaluation, request = event["evaluation"], event["request"]
    counts, found = Counts(), 0
    for one in all_counts(evaluation):
        counts.merge(counts_from_json(one))
        found += 1
    if found != event["counted"]:
        raise CountsMissing(f"{found} of {event['counted']} shards and partitions of {evaluation!r} have counts")
    metrics = {
        "evaluation": evaluation,
        "model": request.get("model", ""),
        "request": request,
        "started": event["started"],
        "finished": now(),
        **figures(counts, threshold=event["threshold"], version=request.get("model_version")),
    }
    content = json.dumps(metrics, ensure_ascii=False, separators=(",", ":")).encode()
    write_results(paths.metrics(evaluation), content)
    if request.keys() == {"model"}:  # not of files that somebody brought, nor of a part of the model's answers
        write_results(paths.latest_metrics(request["model"]), content)
    log("evaluated", evaluation=evaluation, images=metrics["images"], bad_lines=counts.bad_lines)
    return {
        "evaluation": evaluation,
        "metrics": f"s3://{settings().results_bucket}/{paths.metrics(evaluation)}",
        "images": metrics["images"],
        "accuracy": metrics["accuracy"]["value"],
        "conflicting": counts.conflicting,
        "bad_lines": counts.bad_lines,
    }
