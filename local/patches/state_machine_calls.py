"""Step Functions: what an execution calls is recorded as a call of its state machine's role (see `local.calls`).

MiniStack makes these calls inside its own process, without credentials. What rights each needs: Step Functions
Developer Guide, "IAM policies for integrated services" and "IAM policies for using Distributed Map state".
"""

import contextvars
from typing import Any

from ministack.services import stepfunctions

from local import calls
from local.control import ACCOUNT, REGION

_role: contextvars.ContextVar[str] = contextvars.ContextVar("role")  # of the execution that this thread works for


def apply() -> None:
    """Record each integration as it is called."""
    run_execution = stepfunctions._run_execution
    invoke = stepfunctions._invoke_resource
    read = stepfunctions._s3_object_text
    run_map = stepfunctions._run_distributed_map

    def run_as_role(execution_arn: str) -> None:
        machine = stepfunctions._state_machines.get(stepfunctions._executions[execution_arn]["stateMachineArn"]) or {}
        _role.set(machine.get("roleArn", ""))
        run_execution(execution_arn)

    def invoke_recorded(resource: str, parameters: Any) -> Any:
        calls.record(_role.get(), *_call(resource, parameters))
        return invoke(resource, parameters)

    def read_recorded(bucket: str, key: str) -> Any:
        calls.record(_role.get(), "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")
        return read(bucket, key)

    def run_map_recorded(state: Any, raw: Any, effective: Any, iterator: Any, execution: Any, context: Any) -> Any:
        calls.record(_role.get(), "states:StartExecution", execution["stateMachineArn"])
        return run_map(state, raw, effective, iterator, execution, context)

    stepfunctions._run_execution = run_as_role
    stepfunctions._invoke_resource = invoke_recorded
    stepfunctions._s3_object_text = read_recorded
    stepfunctions._run_distributed_map = run_map_recorded


def _call(resource: str, parameters: Any) -> tuple[str, str]:
    """The action and the resource ARN of a task; one that is not known here is named as no policy would allow it."""
    match resource:
        case "arn:aws:states:::lambda:invoke":
            named = parameters["FunctionName"]  # a name, or an ARN
            arn = named if named.startswith("arn:") else f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{named}"
            return "lambda:InvokeFunction", arn
        case "arn:aws:states:::sns:publish":
            return "sns:Publish", parameters["TopicArn"]
        case _:
            return resource, "unknown"
