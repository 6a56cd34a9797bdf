"""Start, find and stop the embedded AWS: one daemon process a state folder.

Who is alive is decided by file locks, never by a recorded process id alone, because ids are reused:

- `daemon.lock` is held by the daemon for as long as it lives, and contains its process id;
- `children.lock` is held by the daemon and inherited by every process it starts (Lambda workers, model servers), so
  it tells whether a daemon that was killed left any of them behind. They share the daemon's process group, whose id
  the kernel gives to nobody else while one of them lives.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REGION = "us-east-1"
ACCOUNT = "418205530617"
"""MiniStack takes a 12-digit access key as the account id. It is the project's own, because the CDK CLI remembers the
account of an access key in the user's home, where another emulator's 000000000000 may be known already."""

DAEMON_LOCK = "daemon.lock"
CHILDREN_LOCK = "children.lock"
RECORD = "local.json"
LOG = "local.log"
DEPLOYED = "deployed.sha256"
"""What is deployed (see `local.deploy`); a daemon that is killed forgets it, one that is stopped keeps it."""
KEPT = "kept"
"""Where a daemon that is stopped leaves everything for the next one (see `local.kept`)."""
OUTBOX = "outbox.jsonl"
TEMPORARY = ("tmp", "lambda", "endpoints")
"""What a daemon writes in its state folder that is worth nothing once it has ended."""


class LocalAwsError(Exception):
    """The embedded AWS could not be started or stopped; the message says why and ends with its log."""


@dataclass(frozen=True)
class LocalAws:
    """A running embedded AWS."""

    endpoint_url: str
    pid: int
    region: str
    account: str
    state: Path
    page_url: str = ""

    def environment(self) -> dict[str, str]:
        """Environment variables that send AWS SDKs and the CDK CLI here, and keep them off the user's own account."""
        nowhere = str(self.state / "no-aws-configuration")
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": nowhere,
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
            "AWS_EC2_METADATA_DISABLED": "true",
            "CDK_DEFAULT_ACCOUNT": self.account,
            "CDK_DEFAULT_REGION": self.region,
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_DISABLE_VERSION_CHECK": "true",
        }


def start(state: Path) -> LocalAws:
    """Return the running embedded AWS of `state`, starting it first where needed.

    Raises LocalAwsError when it does not come up.
    """
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(state):
        running = status(state)
        if running is not None:
            return running
        _end(state)
        root = Path(__file__).resolve().parents[1]
        log = state / LOG
        with log.open("ab") as output:
            started = subprocess.run(
                [sys.executable, "-m", "local", "--state", str(state), "--detach"],
                cwd=root,
                env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        deadline = time.monotonic() + 60
        while started.returncode == 0 and time.monotonic() < deadline and is_held(state / DAEMON_LOCK):
            running = status(state)
            if running is not None:
                return running
            time.sleep(0.02)
        _end(state)
        raise LocalAwsError(f"the embedded AWS did not start; the end of {log}:\n{_tail(log)}")


def status(state: Path) -> LocalAws | None:
    """Return the running embedded AWS of `state`, or None when none is alive and ready."""
    state = state.resolve()
    if not is_held(state / DAEMON_LOCK):
        return None
    try:
        record = json.loads((state / RECORD).read_text())
    except FileNotFoundError:
        return None
    return LocalAws(
        endpoint_url=record["endpoint_url"],
        pid=record["pid"],
        region=record["region"],
        account=record["account"],
        state=state,
        page_url=record["page_url"],
    )


def stop(state: Path, *, forget: bool = False) -> bool:
    """End the daemon of `state` and all that it started, and remove its temporary files; whether anything ran.

    What it held is kept for the next start, unless it is to `forget`. Also cleans up after a daemon that was killed.
    Raises LocalAwsError when a process will not end.
    """
    state = state.resolve()
    if not state.is_dir():
        return False
    with _one_at_a_time(state):
        ran = _end(state)
        if forget:
            shutil.rmtree(state / KEPT, ignore_errors=True)
            (state / OUTBOX).unlink(missing_ok=True)
        return ran


def is_held(lock: Path) -> bool:
    """Whether some process holds the lock of this file."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _end(state: Path) -> bool:
    ran = False
    if is_held(state / DAEMON_LOCK):
        ran = True
        pid = int((state / DAEMON_LOCK).read_text())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if not _released(state / DAEMON_LOCK, 60):  # it writes down all that it holds
            os.kill(pid, signal.SIGKILL)
            _released(state / DAEMON_LOCK, 5)
    if is_held(state / CHILDREN_LOCK):
        ran = True
        group = int((state / DAEMON_LOCK).read_text())
        for ending, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, ending)
            if _released(state / CHILDREN_LOCK, patience):
                break
        else:
            raise LocalAwsError(f"processes of the embedded AWS in {state} will not end (process group {group})")
    for name in TEMPORARY:
        shutil.rmtree(state / name, ignore_errors=True)
    for name in (RECORD, DEPLOYED, DAEMON_LOCK, CHILDREN_LOCK):
        (state / name).unlink(missing_ok=True)
    return ran


def _released(lock: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_held(lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def _one_at_a_time(state: Path) -> Iterator[None]:
    with (state / "control.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
