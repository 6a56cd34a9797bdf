"""PlanEvaluation: check the request, list its files, cut them into shards, settle how many partitions there are."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ics import paths
from ics.contracts import dump_line
from ics.evaluation import parse_evaluation
from ics.policy import parse_policy
from lambdas.plan_evaluation.listing import write_files
from lambdas.runtime import log, settings
from lambdas.s3 import read_results, write_working


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """`{evaluation, started, request}` -> what the Maps and ReduceCounts need; `evaluation` is the execution's name.

    `threshold` is the one that applies to the model's next run.

    Raises:
        InvalidRequest, EmptySource, SourceNotFound, SourceForbidden, EvaluationTooLarge, InvalidPolicy: as their names
            say.
    """
    config, evaluation = settings(), event["evaluation"]
    request = parse_evaluation(event["request"])
    policy = parse_policy(read_results(paths.POLICY) or b"")
    cutter = write_files(evaluation, request)
    shards, partitions = cutter.shards(), cutter.partitions
    plans = {
        "shards": [
            {"shard": number, "offset": offset, "length": length} for number, (offset, length) in enumerate(shards)
        ],
        "parts": [{"partition": number} for number in range(partitions)],
    }
    places = {"shards": "shards.jsonl", "parts": "partitions.jsonl"}
    for name, lines in plans.items():
        write_working(paths.evaluation_file(evaluation, places[name]), b"".join(map(dump_line, lines)))
    log("planned", evaluation=evaluation, files=cutter.files, shards=len(shards), partitions=partitions)
    return {
        "evaluation": evaluation,
        "started": event["started"],
        "request": {name: value for name, value in asdict(request).items() if value},
        "threshold": policy.applied(request.model, requested=None, default=config.threshold).threshold,
        "partitions": partitions,
        "counted": len(shards) + partitions,
        **{
            name: {"bucket": config.working_bucket, "key": paths.evaluation_file(evaluation, place)}
            for name, place in places.items()
        },
    }
