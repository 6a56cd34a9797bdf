"""Step Functions: a Map's `MaxConcurrencyPath`, `ToleratedFailurePercentagePath` and `ToleratedFailureCountPath`.

MiniStack reads only the literal fields, so a Map with paths ran 64 children at once and tolerated nothing.
"""

from typing import Any

from ministack.services import stepfunctions

FIELDS = ("MaxConcurrency", "ToleratedFailurePercentage", "ToleratedFailureCount")


def apply() -> None:
    """Resolve the paths against the Map's input before the emulator runs it."""
    run_map_items = stepfunctions._run_map_items

    def run(state: dict[str, Any], raw_input: Any, execution: dict[str, Any], context: dict[str, Any]) -> Any:
        return run_map_items(_resolved(state, raw_input, context), raw_input, execution, context)

    stepfunctions._run_map_items = run


def _resolved(state: dict[str, Any], raw_input: Any, context: dict[str, Any]) -> dict[str, Any]:
    literal = dict(state)
    for field in FIELDS:
        path = literal.pop(f"{field}Path", None)
        if path is None:
            continue
        effective = stepfunctions._apply_input_path(state, raw_input, context)
        value = stepfunctions._resolve_path_or_ctx(path, effective, context)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise stepfunctions._ExecutionError(
                "States.Runtime", f"The field '{field}Path' must reference a non-negative number but was '{value}'"
            )
        literal[field] = value
    return literal
