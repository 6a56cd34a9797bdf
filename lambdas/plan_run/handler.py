"""PlanRun: check the request, write the run's images and batches to S3, answer counts and paths."""

from collections.abc import Mapping
from typing import Any

import obstore

from ics import paths
from ics.batches import BatchCutter
from ics.contracts import dump_line
from ics.errors import EmptySource
from ics.policy import parse_policy, policy_to_json
from ics.request import parse_request
from lambdas.runtime import log, settings, store
from lambdas.s3 import read_results, write_working
from lambdas.sources import describe, images_of


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """`{run, started, request}` -> what the Map and SummarizeRun need. The request's images are not passed on."""
    config, run = settings(), event["run"]
    request = parse_request(
        event["request"],
        models=config.models,
        default_model=config.default_model,
    )
    policy = parse_policy(read_results(paths.POLICY) or b"").applied(
        request.model, requested=request.threshold, default=config.threshold
    )
    write_working(paths.policy(run), policy_to_json(policy))
    cutter = BatchCutter(config.models[request.model].batch_images, config.batch_source_bytes)
    working = store(config.working_bucket)
    with obstore.open_writer(working, paths.images(run), buffer_size=8 * 1024 * 1024) as images:
        for ref, size in images_of(request.source):
            images.write(cutter.add(ref, size))
    spans = cutter.spans()
    if not spans:
        raise EmptySource(f"{describe(request.source)} holds no image")
    plan = b"".join(
        dump_line({"run": run, "batch": batch, "offset": span.offset, "length": span.length})
        for batch, span in enumerate(spans)
    )
    obstore.put(working, paths.plan(run), plan)
    log("planned", run=run, planned=cutter.images, batches=len(spans), model=request.model)
    return {
        "run": run,
        "started": event["started"],
        "model": request.model,
        "threshold": policy.threshold,
        "policy": policy.version,
        "mode": request.mode,
        "tolerated_percent": request.tolerated_percent,
        "planned": cutter.images,
        "batches": len(spans),
        "max_concurrency": config.max_concurrency,
        "plan": {"bucket": config.working_bucket, "key": paths.plan(run)},
    }
