"""`python -m local --state DIR`: run the embedded AWS in the foreground (or detached, as `control.start` does)."""

import argparse
import fcntl
import os
import sys
import time
from pathlib import Path

from local.control import CHILDREN_LOCK, DAEMON_LOCK
from local.sagemaker.server import Command, serving_command


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m local", description="The embedded AWS of ICS")
    parser.add_argument("--state", type=Path, required=True, help="folder for its record, log and working files")
    parser.add_argument("--detach", action="store_true", help="serve in the background, in a session of its own")
    arguments = parser.parse_args()
    run(arguments.state.resolve(), detach=arguments.detach)


def run(state: Path, *, detach: bool, model_server: Command = serving_command) -> None:
    """Take the locks of the state folder, go to the background if asked, and serve until told to end.

    `model_server` is the command that stands for an endpoint's container.
    """
    state.mkdir(parents=True, exist_ok=True)
    daemon_lock = _take(state / DAEMON_LOCK)
    children_lock = _take(state / CHILDREN_LOCK)
    if detach:
        if os.fork():
            os._exit(0)
        os.setsid()
    os.ftruncate(daemon_lock, 0)
    os.write(daemon_lock, str(os.getpid()).encode())

    from local import daemon  # noqa: PLC0415  (imports the emulator: after the fork, in the serving process alone)

    daemon.serve(state, children_lock, model_server)


def _take(path: Path) -> int:
    """Open and lock a file for the life of this process; someone asking `is_held` may hold it for an instant."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(50):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return descriptor
    sys.exit(f"an embedded AWS is running already on {path.parent}")


if __name__ == "__main__":
    main()
