"""The processes the embedded AWS starts: all inherit the lock that tells whether any was left behind."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any


class Children:
    """Starts processes and ends them all: a Lambda worker or a model server each."""

    def __init__(self, state: Path, lock: int) -> None:
        self.state = state
        self._lock = lock
        self._running: set[subprocess.Popen[bytes]] = set()
        self._mutex = threading.Lock()

    def start(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: dict[str, str],
        output: IO[Any] | int,
        piped: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a command whose output goes to `output`, or, when piped, only what it writes to descriptor 2."""
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=output,
            bufsize=0,
            pass_fds=(self._lock,),
        )
        with self._mutex:
            self._running.add(process)
        return process

    def stop(self, processes: Sequence[subprocess.Popen[bytes]], grace: float = 2) -> None:
        """End these processes: a request first, force after `grace` seconds for all together."""
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        remaining = grace
        for process in processes:
            try:
                process.wait(max(0.05, remaining))
            except subprocess.TimeoutExpired:
                remaining = 0
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        with self._mutex:
            self._running.difference_update(processes)

    def end(self) -> None:
        """End all that still runs."""
        with self._mutex:
            running = [process for process in self._running if process.poll() is None]
        self.stop(running)


def base_environment() -> dict[str, str]:
    """What a started process keeps of the daemon's own environment: nothing about AWS, nothing of the user's."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}
