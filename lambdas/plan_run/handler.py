"""PlanRun: check the request, write the run's images and batches to S3, answer counts and paths."""

from collections.abc import Mapping
from typing import Any

from ics import paths
from ics.batches import child_batches
from ics.contracts import dump_line
from ics.policy import parse_policy, policy_to_json
from ics.request import parse_request, resumed_run
from lambdas.budget import Budget
from lambdas.plan_run.planning import skips_classified, write_plan
from lambdas.plan_run.resuming import resume
from lambdas.runtime import Context, log, settings
from lambdas.s3 import read_results, write_working


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """`{run, started, execution, request}` -> what the Map and SummarizeRun need, the request's images left out.

    A request to resume a run is answered with that run's own name, start, model and options.
    """
    config, run = settings(), event["run"]
    resumed = resumed_run(event["request"])
    if resumed is not None:
        return resume(resumed, event["execution"])
    request = parse_request(event["request"], models=config.models, default_model=config.default_model)
    model = config.models[request.model]
    skip = skips_classified(request, model, default=config.skip_classified)
    policy = parse_policy(read_results(paths.POLICY) or b"").applied(
        request.model, requested=request.threshold, default=config.threshold
    )
    write_working(paths.policy(run), policy_to_json(policy))
    budget = Budget(context)
    at_once = config.at_once(request.model)
    planned, batches = write_plan(run, request.source, model.batch_images, child_batches(at_once), budget)
    log("planned", run=run, planned=planned, batches=batches, skipped=budget.skipped, model=request.model)
    answer = {
        "run": run,
        "started": event["started"],
        "attempt": 0,
        "model": request.model,
        "classify": model.classify,
        "threshold": policy.threshold,
        "policy": policy.version,
        "mode": request.mode,
        "tolerated_percent": request.tolerated_percent,
        "skip_classified": skip,
        "planned": planned,
        "skipped": budget.skipped,
        "batches": batches,
        "left": batches,
        "told": False,
        "max_concurrency": at_once // child_batches(at_once),
        "plan": {"bucket": config.working_bucket, "key": paths.plan(run)},
    }
    write_working(paths.record(run), dump_line(answer))
    return answer
