"""The embedded AWS with a fake model container, the emulator as published beside it, and clients for both."""

import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
import zipfile
from pathlib import Path

import boto3
import botocore.config
import pytest

from local import control
from tests.rehearsal import about

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Cloud:
    """One running emulator: its endpoint, its clients, and shortcuts that many tests need."""

    def __init__(self, endpoint_url, state=None):
        self.endpoint_url = endpoint_url
        self.state = state
        self._clients = {}

    def client(self, service):
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint_url,
                region_name=control.REGION,
                aws_access_key_id=control.ACCOUNT,
                aws_secret_access_key="test",
                config=botocore.config.Config(retries={"total_max_attempts": 1}, inject_host_prefix=False),
            )
        return self._clients[service]

    def function(self, source, **settings):
        """Create a Lambda function from its source (`handler` in it) and return its name."""
        name = f"f-{uuid.uuid4().hex[:10]}"
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("index.py", source)
        self.client("lambda").create_function(
            FunctionName=name,
            Runtime=f"python3.{sys.version_info.minor}",
            Handler="index.handler",
            Code={"ZipFile": archive.getvalue()},
            **{"Timeout": 20, "Role": f"arn:aws:iam::{control.ACCOUNT}:role/any", **settings},
        )
        self.client("lambda").get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400}
        )
        return name

    def call(self, function, event):
        """Invoke synchronously: (FunctionError or None, payload)."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    def bucket(self):
        name = f"b-{uuid.uuid4().hex[:10]}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def run(self, definition, given=None):
        """Run a state machine to its end and return DescribeExecution's answer."""
        states = self.client("stepfunctions")
        machine = states.create_state_machine(
            name=f"m-{uuid.uuid4().hex[:10]}",
            definition=json.dumps(definition),
            roleArn=f"arn:aws:iam::{control.ACCOUNT}:role/any",
        )["stateMachineArn"]
        arn = states.start_execution(stateMachineArn=machine, input=json.dumps(given if given is not None else {}))

        def ended():
            described = states.describe_execution(executionArn=arn["executionArn"])
            return described if described["status"] != "RUNNING" else None

        return wait_for(ended)

    def wait_for(self, condition, seconds=60):
        return wait_for(condition, seconds)

    def about(self, what):
        return about(self, what)


def wait_for(condition, seconds=60):
    """The first true value of a condition; fails the test where there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    return pytest.fail(f"not within {seconds} s")


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    """The embedded AWS, patched."""
    state = tmp_path_factory.mktemp("aws")
    with (state / "local.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "daemon_with_fake_container.py"), str(state)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    try:
        running = wait_for(lambda: process.poll() is not None or control.status(state))
        assert process.poll() is None, (state / "local.log").read_text()
        yield Cloud(running.endpoint_url, state)
    finally:
        process.terminate()
        process.wait(20)
        control.stop(state)


@pytest.fixture(scope="session")
def unpatched(tmp_path_factory):
    """The emulator as its authors publish it: a patch is needed for as long as this one has the gap."""
    folder = tmp_path_factory.mktemp("unpatched")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "TMPDIR": str(folder),
        "DOCKER_HOST": f"unix://{folder}/no-docker",
        "SFTP_ENABLED": "0",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "ministack"], env=environment, stdout=log, stderr=log)
    url = f"http://localhost:{port}"
    try:
        wait_for(lambda: _answers(url))
        yield Cloud(url)
    finally:
        process.terminate()
        process.wait(20)


def _answers(url):
    try:
        with urllib.request.urlopen(f"{url}/_ministack/health") as answer:
            return answer.status == 200
    except OSError:
        return False
