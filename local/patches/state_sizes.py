"""Step Functions: 262,144 bytes is all that a state, a task or an execution may take or give.

AWS: "Service quotas for state machine executions", *Maximum input or output size for a task, state, or execution:
256 KiB of data as a UTF-8 encoded string. This is a hard quota*; the error is `States.DataLimitExceeded`. MiniStack has
no limit. The largest state input or output of each execution, its Map's children included, is kept for the tests.
"""

import contextvars
import json
import threading
from collections.abc import Callable
from typing import Any

from ministack.core import responses
from ministack.services import stepfunctions

LIMIT = 262_144

_largest: dict[str, dict[str, Any]] = {}
_mutex = threading.Lock()
_state_name: contextvars.ContextVar[str] = contextvars.ContextVar("state_name", default="")


def apply() -> None:
    """Measure everything that enters or leaves a state or a task."""
    for kind in ("pass", "choice", "wait"):
        _wrap_plain_state(f"_execute_{kind}")
    for kind in ("task", "parallel", "map"):
        _wrap_state(f"_execute_{kind}")
    _wrap_task()
    _wrap_results()
    _wrap_start()


def sizes() -> dict[str, dict[str, Any]]:
    """Return by execution ARN `state`, `bytes` and `direction` of its largest, and `states`: bytes by state name."""
    with _mutex:
        return {arn: {**largest, "states": dict(largest["states"])} for arn, largest in _largest.items()}


def _measure(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _record(context: dict[str, Any], direction: str, size: int) -> None:
    arn, state = context["Execution"]["Id"], context["State"]["Name"]
    with _mutex:
        largest = _largest.setdefault(arn, {"state": state, "bytes": -1, "direction": direction, "states": {}})
        largest["states"][state] = max(size, largest["states"].get(state, 0))
        if size > largest["bytes"]:
            largest.update(state=state, bytes=size, direction=direction)


def _check(context: dict[str, Any], direction: str, value: Any) -> None:
    size = _measure(value)
    _record(context, direction, size)
    if size > LIMIT:
        raise _exceeded(context["State"]["Name"])


def _exceeded(what: str) -> Exception:
    error: Exception = stepfunctions._ExecutionError(
        "States.DataLimitExceeded",
        f"The state/task '{what}' returned a result with a size exceeding the maximum number of bytes service limit.",
    )
    return error


def _wrap_state(name: str) -> None:
    execute: Callable[..., Any] = getattr(stepfunctions, name)

    def measured(state: Any, raw_input: Any, execution: Any, context: Any) -> Any:
        entered = dict(context["State"])
        _check(context, "input", raw_input)
        token = _state_name.set(entered["Name"])
        try:
            output, following = execute(state, raw_input, execution, context)
        finally:
            _state_name.reset(token)
        # A Parallel's or Map's branches leave the name of their own last state in the shared context.
        _check({**context, "State": entered}, "output", output)
        return output, following

    setattr(stepfunctions, name, measured)


def _wrap_plain_state(name: str) -> None:
    execute: Callable[..., Any] = getattr(stepfunctions, name)

    def measured(state: Any, raw_input: Any, context: Any) -> Any:
        _check(context, "input", raw_input)
        output, following = execute(state, raw_input, context)
        _check(context, "output", output)
        return output, following

    setattr(stepfunctions, name, measured)


def _wrap_task() -> None:
    invoke = stepfunctions._invoke_resource

    def measured(resource: str, parameters: Any) -> Any:
        if _measure(parameters) > LIMIT:
            raise _exceeded(resource)
        result = invoke(resource, parameters)
        if _measure(result) > LIMIT:
            raise _exceeded(resource)
        return result

    stepfunctions._invoke_resource = measured


def _wrap_results() -> None:
    """A Map without a ResultWriter gathers its children's outputs in one array, also where ResultPath drops it."""
    select = stepfunctions._apply_result_selector

    def measured(state: dict[str, Any], result: Any) -> Any:
        if state.get("Type") in ("Map", "Parallel") and _measure(result) > LIMIT:
            raise _exceeded(_state_name.get())
        return select(state, result)

    stepfunctions._apply_result_selector = measured


def _wrap_start() -> None:
    """API reference, StartExecution: `InvalidExecutionInput` if not JSON, `ValidationException` over the limit."""
    start = stepfunctions._start_execution

    def checked(request: dict[str, Any]) -> Any:
        given = request.get("input") or "{}"
        if len(given.encode()) > LIMIT:
            message = (
                "1 validation error detected: Value at 'input' failed to satisfy constraint: "
                f"Member must have length less than or equal to {LIMIT}"
            )
            return responses.error_response_json("ValidationException", message, 400)
        try:
            json.loads(given)
        except ValueError as error:
            return responses.error_response_json(
                "InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'", 400
            )
        return start(request)

    stepfunctions._start_execution = checked
