"""The program of one local Lambda execution environment, run with the standard library alone.

Imports the handler named by `_HANDLER` from `LAMBDA_TASK_ROOT`, says on its first line whether that worked, then
answers a line of JSON for each line of JSON on standard input. Arguments: folders for `sys.path` after the task's.

Error names are those of AWS's Python runtime (github.com/aws/aws-lambda-python-runtime-interface-client, bootstrap.py):
a handler's exception by its class name, `Runtime.ImportModuleError`, `Runtime.HandlerNotFound`,
`Runtime.UserCodeSyntaxError`, `Runtime.MarshalError`.
"""

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


class Context:
    """What AWS hands a handler beside the event."""

    def __init__(self, request_id: str, arn: str, deadline: float) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until this invocation is killed."""
        return max(0, int((self._deadline - time.time()) * 1000))


def load() -> tuple[Callable[[Any, Context], Any] | None, dict[str, Any] | None]:
    """Return the handler, or the error that AWS would report."""
    name = os.environ["_HANDLER"]
    module_name, _, function_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        return None, failure("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}")
    except SyntaxError as error:
        return None, failure("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}")
    except Exception as error:
        return None, failure(type(error).__name__, str(error), error)
    handler = getattr(module, function_name, None)
    if handler is None:
        return None, failure("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'")
    return handler, None


def failure(error_type: str, message: str, error: BaseException | None = None) -> dict[str, Any]:
    """Return the error payload as AWS gives it, without this program's own frames."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else traceback.StackSummary()
    shown = [frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<frozen")]
    return {"errorMessage": message, "errorType": error_type, "stackTrace": traceback.format_list(shown)}


def answer(handler: Callable[[Any, Context], Any], call: dict[str, Any]) -> str:
    """Run the handler once; return a line of JSON with `result` or `error`."""
    trace = call.get("trace_id")
    if trace:
        os.environ["_X_AMZN_TRACE_ID"] = trace
    context = Context(call["request_id"], call["arn"], call["deadline"])
    try:
        result = handler(call["event"], context)
    except Exception as error:
        return json.dumps({"error": failure(type(error).__name__, str(error), error)})
    try:
        return json.dumps({"result": result}, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        marshal = failure("Runtime.MarshalError", f"Unable to marshal response: {error}")
        return json.dumps({"error": marshal})


def main() -> None:
    """Load the handler, then serve calls until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)  # prints, also those of native code and subprocesses, go to the log
    sys.path[:0] = [os.environ["LAMBDA_TASK_ROOT"], *sys.argv[1:]]
    logging.basicConfig(stream=sys.stdout, format="[%(levelname)s]\t%(asctime)s\t%(message)s")
    handler, error = load()
    answers.write(json.dumps({"error": error}) + "\n")
    answers.flush()
    if handler is None:
        return
    for line in sys.stdin:
        reply = answer(handler, json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        answers.write(reply + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
