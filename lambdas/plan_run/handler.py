"""PlanRun: check the request, write the run's images and batches to S3, answer counts and paths."""

from collections.abc import Mapping
from typing import Any

from ics.request import resumed_run
from lambdas.budget import Budget
from lambdas.plan_run.planning import plan
from lambdas.plan_run.resuming import resume
from lambdas.runtime import Context


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """`{run, started, execution, request}` -> what the Map and SummarizeRun need, the request's images left out.

    A request to resume a run is answered with that run's own name, start, model and options.
    """
    resumed, budget = resumed_run(event["request"]), Budget(context)
    if resumed is not None:
        return resume(resumed, event["execution"], event["started"], budget)
    return plan(event["run"], event["started"], event["request"], budget)
