"""AWS Lambda Developer Guide, "Lambda function errors in Python" and "Lambda runtime environment lifecycle"; Step
Functions Developer Guide, "Handling errors": a Catch names the function's exception; newer runtimes report time-outs as
`Sandbox.Timedout`."""

import inspect
import json
import os

from ministack.core import lambda_runtime

RAISES = """
class NoSuchImage(Exception):
    pass

def handler(event, context):
    raise NoSuchImage("which one?")
"""


def test_an_exception_is_reported_by_its_class_name(aws, unpatched):
    kind, payload = aws.call(aws.function(RAISES), {})
    assert kind == "Unhandled"
    assert payload["errorType"] == "NoSuchImage"
    assert payload["errorMessage"] == "which one?"
    assert payload["requestId"]
    assert 'in handler\n    raise NoSuchImage("which one?")' in "".join(payload["stackTrace"])
    assert unpatched.call(unpatched.function(RAISES), {})[1]["errorType"] == "Runtime.HandlerError"  # the gap


def test_a_state_machine_catches_it_by_name(aws):
    function = aws.function(RAISES)
    ended = aws.run(
        {
            "StartAt": "Try",
            "States": {
                "Try": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::lambda:invoke",
                    "Parameters": {"FunctionName": function, "Payload.$": "$"},
                    "Catch": [{"ErrorEquals": ["NoSuchImage"], "Next": "Caught"}],
                    "Next": "Never",
                },
                "Never": {"Type": "Fail"},
                "Caught": {"Type": "Pass", "End": True},
            },
        }
    )
    assert ended["status"] == "SUCCEEDED"
    caught = json.loads(ended["output"])
    assert caught["Error"] == "NoSuchImage"
    assert json.loads(caught["Cause"])["errorMessage"] == "which one?"


def test_a_raising_handler_keeps_its_environment(aws):
    function = aws.function(
        "import os\ndef handler(event, context):\n    if event: raise ValueError(os.getpid())\n    return os.getpid()"
    )
    _, before = aws.call(function, {})
    _, raised = aws.call(function, {"raise": True})
    assert (raised["errorType"], raised["errorMessage"]) == ("ValueError", str(before))
    assert aws.call(function, {}) == (None, before)


def test_ends_that_are_not_exceptions(aws):
    exits = aws.function("import os\ndef handler(event, context):\n    os._exit(3)")
    payload = aws.call(exits, {})[1]
    assert payload["errorType"] == "Runtime.ExitError"
    assert payload["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")

    sleeps = aws.function("import time\ndef handler(event, context):\n    time.sleep(60)", Timeout=1)
    payload = aws.call(sleeps, {})[1]
    assert payload["errorType"] == "Sandbox.Timedout"
    assert payload["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")

    payload = aws.call(aws.function("import no_such_module\ndef handler(event, context): pass"), {})[1]
    assert payload["errorType"] == "Runtime.ImportModuleError"
    assert payload["errorMessage"] == "Unable to import module 'index': No module named 'no_such_module'"

    payload = aws.call(aws.function("def handler(event, context):\n    return {1, 2}"), {})[1]
    assert payload["errorType"] == "Runtime.MarshalError"

    payload = aws.call(aws.function("def handler(event, context):\n    return 'x' * 6_291_557"), {})[1]
    assert payload["errorType"] == "Function.ResponseSizeTooLarge"
    assert len(aws.call(aws.function("def handler(event, context):\n    return 'x' * 6_000_000"), {})[1]) == 6_000_000


def test_a_killed_worker_ends_its_invocation_and_is_replaced(aws):
    function = aws.function("import os, signal\ndef handler(event, context):\n    os.kill(os.getpid(), signal.SIGKILL)")
    payload = aws.call(function, {})[1]
    assert payload["errorType"] == "Runtime.ExitError"
    assert payload["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    waits = aws.function("import os\ndef handler(event, context):\n    return os.getpid()")
    _, first = aws.call(waits, {})
    assert {"function": waits, "pid": first, "in_use": False} in aws.about("lambda-workers")
    os.kill(first, 9)
    aws.wait_for(lambda: first not in [worker["pid"] for worker in aws.about("lambda-workers")])
    kind, second = aws.call(waits, {})
    assert kind is None
    assert second != first


def test_the_environment_is_that_of_aws_and_not_the_users(aws):
    function = aws.function(
        "import importlib.util, os\n"
        "def handler(event, context):\n"
        "    from botocore.session import get_session\n"
        "    return {'env': dict(os.environ), 'cdk': importlib.util.find_spec('aws_cdk') is not None,\n"
        "            'endpoint': get_session().create_client('s3').meta.endpoint_url,\n"
        "            'context': [context.function_name, context.invoked_function_arn, context.memory_limit_in_mb,\n"
        "                        context.aws_request_id, context.get_remaining_time_in_millis()]}",
        MemorySize=256,
        Environment={"Variables": {"SETTING": "x"}},
    )
    kind, told = aws.call(function, {})
    assert kind is None, told
    env = told["env"]
    assert env["SETTING"] == "x"
    assert env["AWS_LAMBDA_FUNCTION_NAME"] == function
    assert env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert env["AWS_REGION"] == env["AWS_DEFAULT_REGION"] == "us-east-1"
    assert env["_HANDLER"] == "index.handler"
    assert told["endpoint"] == env["AWS_ENDPOINT_URL"] == aws.endpoint_url
    assert "PYTEST_CURRENT_TEST" in os.environ
    assert "PYTHONPATH" not in env
    assert not told["cdk"]  # installed here, but not in AWS's runtime
    name, arn, memory, request_id, remaining = told["context"]
    assert name == function
    assert arn.endswith(f":function:{function}")
    assert memory == "256"
    assert len(request_id) == 36
    assert 10_000 < remaining <= 20_000


def test_prints_are_in_the_functions_log(aws):
    function = aws.function(
        "import sys\ndef handler(event, context):\n    print('one')\n    print('two', file=sys.stderr)"
    )
    aws.call(function, {})
    events = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
    messages = [event["message"] for event in events]
    assert "one" in messages
    assert "two" in messages


def test_the_emulator_still_waits_for_output_that_does_not_come():
    """56 ms an invocation. Ours reads a file that is complete when the answer comes: see the test of the prints."""
    assert "_drain_stderr_bounded" in inspect.getsource(lambda_runtime.Worker.invoke)
