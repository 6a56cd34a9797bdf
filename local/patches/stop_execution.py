"""Step Functions: StopExecution ends the execution's Map runs and their children too.

MiniStack marks the execution ABORTED and goes on: every child that has not started yet still runs, and the Map run ends
SUCCEEDED. Here, as on AWS, no child of a stopped execution enters another task, and the Map run and these children end
ABORTED. A task that is in flight runs on, as a Lambda invocation does on AWS.
"""

from typing import Any

from ministack.services import stepfunctions

STOPPED = "States.ICS.Stopped"


def apply() -> None:
    """Wrap the emulator's tasks and distributed Maps."""
    execute_task = stepfunctions._execute_task
    run_distributed_map = stepfunctions._run_distributed_map

    def task(state: Any, raw_input: Any, execution: dict[str, Any], context: Any) -> Any:
        parent = context["Execution"]["Id"]
        if stepfunctions._executions.get(parent, {}).get("status") == "ABORTED":
            raise stepfunctions._ExecutionError(STOPPED, f"{parent} was stopped")
        return execute_task(state, raw_input, execution, context)

    def distributed_map(state: Any, raw: Any, effective: Any, iterator: Any, execution: Any, context: Any) -> Any:
        try:
            return run_distributed_map(state, raw, effective, iterator, execution, context)
        finally:
            if execution["status"] == "ABORTED":
                _abort(execution["executionArn"])

    stepfunctions._execute_task = task
    stepfunctions._run_distributed_map = distributed_map


def _abort(parent: str) -> None:
    """Call the Map runs of a stopped execution, and those of their children that were kept from a task, ABORTED."""
    for run in [run for run in stepfunctions._map_runs.values() if run["executionArn"] == parent]:
        run["status"] = "ABORTED"
        for child in [one for one in stepfunctions._executions.values() if one.get("mapRunArn") == run["mapRunArn"]]:
            if child.get("error") == STOPPED and child["status"] == "FAILED":
                child["status"] = "ABORTED"
                for counts in (run["itemCounts"], run["executionCounts"]):
                    counts["failed"] -= 1
                    counts["aborted"] += 1
