"""Starting and ending the embedded AWS leaves nothing behind, whatever happened to it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
import pytest

from local import control

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state(tmp_path):
    yield tmp_path / "state"
    control.stop(tmp_path / "state")


def alive(pid):
    """Whether a process does anything: one that has ended may wait to be collected by whoever is its parent now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_it_starts_once_and_ends_without_a_trace(state):
    assert control.status(state) is None
    started = control.start(state)
    assert control.start(state) == control.status(state) == started
    assert alive(started.pid)
    assert control.stop(state)
    assert not alive(started.pid)
    assert control.status(state) is None
    assert not control.stop(state)
    assert {path.name for path in state.iterdir()} <= {"local.log", "port", "page-port", "control.lock", "kept"}
    again = control.start(state)
    assert again.endpoint_url == started.endpoint_url
    assert again.pid != started.pid


def test_it_listens_on_loopback_alone(state):
    aws = control.start(state)
    port = int(aws.endpoint_url.rpartition(":")[2])
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if Path("/proc/net/tcp").exists() else ():
        address, listening = line.split()[1], line.split()[3] == "0A"
        if listening and int(address.rpartition(":")[2], 16) == port:
            assert address.startswith("0100007F")
    with socket.create_connection(("localhost", port), timeout=5):
        pass


def test_a_recorded_process_id_that_is_anothers_is_not_believed(state):
    aws = control.start(state)
    record = (state / control.RECORD).read_text()
    control.stop(state)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (state / control.RECORD).write_text(record.replace(str(aws.pid), str(other.pid)))
        (state / control.DAEMON_LOCK).write_text(str(other.pid))
        assert control.status(state) is None
        assert not control.stop(state)
        assert other.poll() is None
        other.communicate(b"\n")


def test_what_a_killed_daemon_started_is_ended(state):
    """A Lambda worker in the middle of an invocation does not notice that its daemon is gone."""
    aws = control.start(state)
    folder = state.parent / "function"
    folder.mkdir()
    source = (
        "import os, time, pathlib\n"
        "def handler(event, context):\n"
        "    pathlib.Path(event['told']).write_text(str(os.getpid()))\n"
        "    time.sleep(600)"
    )
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import zipfile; zipfile.ZipFile('{folder}/z.zip', 'w').writestr('index.py', {source!r})",
        ],
        check=True,
    )
    client = boto3.client(
        "lambda", endpoint_url=aws.endpoint_url, region_name=aws.region, aws_access_key_id=aws.account,
        aws_secret_access_key="x",
    )  # fmt: skip
    client.create_function(
        FunctionName="sleeps", Runtime="python3.11", Handler="index.handler", Timeout=600,
        Role="arn:aws:iam::418205530617:role/any", Code={"ZipFile": (folder / "z.zip").read_bytes()},
    )  # fmt: skip
    client.get_waiter("function_active_v2").wait(FunctionName="sleeps")
    told = folder / "pid"
    client.invoke(FunctionName="sleeps", InvocationType="Event", Payload=f'{{"told": "{told}"}}')
    while not (told.exists() and told.read_text()):
        pass
    worker = int(told.read_text())
    os.kill(aws.pid, signal.SIGKILL)
    while control.status(state):
        pass
    assert alive(worker)
    assert control.stop(state)
    assert not alive(worker)
    assert not (state / "lambda").exists()


def test_a_daemon_that_does_not_come_up_is_explained(state, monkeypatch):
    state.mkdir()
    (state / "port").mkdir()  # it cannot remember its port
    with pytest.raises(control.LocalAwsError, match="IsADirectoryError"):
        control.start(state)
    (state / "port").rmdir()


def test_the_users_aws_is_out_of_reach(state, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    aws = control.start(state)
    environment = aws.environment()
    assert environment["AWS_ENDPOINT_URL"] == aws.endpoint_url
    assert environment["AWS_ACCESS_KEY_ID"] == aws.account != "000000000000"
    assert not Path(environment["AWS_CONFIG_FILE"]).exists()
    assert not Path(environment["AWS_SHARED_CREDENTIALS_FILE"]).exists()
    with urllib.request.urlopen(f"{aws.endpoint_url}/_ministack/health") as answer:
        assert answer.status == 200
