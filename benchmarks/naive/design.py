"""Deploy the usual design into the local AWS, and run it."""

import io
import json
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from cli.deployment import Deployment

_HERE = Path(__file__).parent
_NAME = "ics-bench-naive"
_FUNCTIONS = ("serialize", "classify", "filter")


def deploy(deployment: Deployment, endpoint: str) -> str:
    """Create its three functions and its state machine, which ask `endpoint`; return the state machine's ARN."""
    client = deployment.session.client("lambda", endpoint_url=deployment.endpoint_url)
    role = f"arn:aws:iam::{deployment.state_machine.split(':')[4]}:role/{_NAME}"
    functions = {
        name: client.create_function(
            FunctionName=f"{_NAME}-{name}",
            Runtime="python3.13",
            Handler=f"{name}.handler",
            Role=role,
            Timeout=30,
            MemorySize=512,
            Environment={"Variables": {"ENDPOINT": endpoint}},
            Code={"ZipFile": _package(name)},
        )["FunctionArn"]
        for name in _FUNCTIONS
    }
    definition = Template((_HERE / "state_machine.asl.json").read_text()).safe_substitute(functions)
    created = deployment.states.create_state_machine(name=_NAME, definition=definition, roleArn=role)
    return str(created["stateMachineArn"])


def remove(deployment: Deployment) -> None:
    """Delete what `deploy` created."""
    client = deployment.session.client("lambda", endpoint_url=deployment.endpoint_url)
    for name in _FUNCTIONS:
        client.delete_function(FunctionName=f"{_NAME}-{name}")
    arn = deployment.state_machine.rpartition(":")[0]
    deployment.states.delete_state_machine(stateMachineArn=f"{arn}:{_NAME}")


def run(
    deployment: Deployment, state_machine: str, bucket: str, keys: Sequence[str], every: float
) -> list[dict[str, Any]]:
    """Classify these images; return what the filter left of each, in order. Asks for the end every so many seconds.

    Raises:
        RuntimeError: the execution did not succeed.
    """
    images = [{"s3_bucket": bucket, "s3_key": key} for key in keys]
    started = deployment.states.start_execution(stateMachineArn=state_machine, input=json.dumps({"images": images}))
    while True:
        execution = deployment.states.describe_execution(executionArn=started["executionArn"])
        if execution["status"] != "RUNNING":
            break
        time.sleep(every)
    if execution["status"] != "SUCCEEDED":
        raise RuntimeError(f"the usual design ended {execution['status']}: {execution.get('cause', '')[:500]}")
    answers: list[dict[str, Any]] = json.loads(execution["output"])
    return answers


def _package(name: str) -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.write(_HERE / f"{name}.py", f"{name}.py")
    return package.getvalue()
