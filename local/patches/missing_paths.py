"""Step Functions: a path that selects nothing fails the execution, and a null that is there is present.

Amazon States Language, "Paths": it is an error when a Reference Path or a field ending in `.$` selects nothing; Step
Functions Developer Guide, "Error names": `States.Runtime`, which no wildcard catches. Only a Choice's `IsPresent` may
ask for what is not there. MiniStack goes on with null, so a misspelt path would pass here and fail on AWS.
"""

from collections.abc import Callable
from typing import Any

from ministack.services import stepfunctions


def apply() -> None:
    """Check every path before the emulator resolves it."""
    _check_templates()
    _check_choices()
    _check_intrinsics()
    _check_items_path()
    stepfunctions._apply_input_path = _checked_field("InputPath", stepfunctions._apply_input_path)
    stepfunctions._apply_output_path = _checked_field("OutputPath", stepfunctions._apply_output_path)


def _check_templates() -> None:
    resolve = stepfunctions._resolve_params_obj

    def checked(template: Any, data: Any, context: Any = None) -> Any:
        for field, path in template.items() if isinstance(template, dict) else ():
            if field.endswith(".$") and isinstance(path, str) and path.startswith("$"):
                _require(path, data, context, field)
        return resolve(template, data, context)

    stepfunctions._resolve_params_obj = checked


def _check_choices() -> None:
    evaluate = stepfunctions._evaluate_rule

    def checked(rule: dict[str, Any], data: Any, context: Any = None) -> Any:
        if "Variable" in rule and "IsPresent" in rule:
            return _is_present(rule["Variable"], data, context) == rule["IsPresent"]
        for field, path in rule.items():
            if field == "Variable" or field.endswith("Path"):
                _require(path, data, context, field)
        return evaluate(rule, data, context)

    stepfunctions._evaluate_rule = checked


def _check_intrinsics() -> None:
    evaluate = stepfunctions._eval_intrinsic_arg

    def checked(argument: tuple[str, Any], data: Any, context: Any) -> Any:
        if argument[0] == "path":
            _require(argument[1], data, context, "an intrinsic function's argument")
        return evaluate(argument, data, context)

    stepfunctions._eval_intrinsic_arg = checked


def _check_items_path() -> None:
    run = stepfunctions._run_map_items

    def checked(state: dict[str, Any], raw_input: Any, execution: dict[str, Any], context: Any) -> Any:
        if "ItemsPath" in state:
            effective = stepfunctions._apply_input_path(state, raw_input, context)
            _require(state["ItemsPath"], effective, context, "ItemsPath")
        return run(state, raw_input, execution, context)

    stepfunctions._run_map_items = checked


def _checked_field(field: str, resolve: Callable[..., Any]) -> Callable[..., Any]:
    def checked(state: dict[str, Any], data: Any, context: Any = None) -> Any:
        if state.get(field) is not None:
            _require(state[field], data, context, field)
        return resolve(state, data, context)

    return checked


def _require(path: str, data: Any, context: Any, field: str) -> None:
    if not _is_present(path, data, context):
        raise stepfunctions._ExecutionError(
            "States.Runtime", f"The JSONPath '{path}' specified for the field '{field}' could not be found in the input"
        )


def _is_present(path: str, data: Any, context: Any) -> bool:
    """Whether a path selects something; wildcards always do, if only an empty list."""
    value = data
    if path.startswith("$$"):
        path, value = path[1:], context or {}
    for kind, name in stepfunctions._parse_jsonpath_tokens(path) or ():
        if kind == "wildcard":
            return True
        try:
            value = value[name]
        except (KeyError, IndexError, TypeError):
            return False
    return True
