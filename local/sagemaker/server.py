"""One variant's model server: its artifact unpacked, its process kept alive, its readiness known."""

import http.client
import itertools
import json
import shutil
import signal
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from subprocess import Popen

from local.processes import Children, base_environment
from local.sagemaker.http import Client

Command = Callable[[Path, int], Sequence[str]]
"""The command that serves an unpacked artifact on a port of 127.0.0.1."""

STARTUP_SECONDS = 120
PING_SECONDS = 0.05


class ServerFailed(Exception):
    """The model server did not come up."""


def serving_command(model: Path, port: int) -> list[str]:
    """The container's own entry point, `python -m serving`; one process a model, for there may be many models."""
    options = ["--model", str(model), "--port", str(port), "--host", "127.0.0.1", "--workers", "1"]
    return [sys.executable, "-m", "serving", *options]


class ModelServer:
    """A model server process, started again whenever it ends, until it is stopped."""

    def __init__(self, children: Children, folder: Path, artifact: bytes, environment: Mapping[str, str],
                 command: Command) -> None:  # fmt: skip
        """Unpack the artifact (model.tar.gz) in `folder` and start the server; raise ServerFailed where it cannot."""
        self.ready = False
        self.in_flight = 0
        self._children = children
        self._command = command
        self.environment = environment
        self._stopped = threading.Event()
        self._folder = folder
        self._model = folder / "model"  # a link to the artifact that is served, so that another can take its place
        self._artifacts = itertools.count()
        self.log = folder / "server.log"
        self._link(self._unpack(artifact))
        self.client = Client(0)
        self._process = self._start()
        try:
            self._wait_until_ready()
        except ServerFailed:
            self.stop()
            raise
        threading.Thread(target=self._watch, daemon=True, name=f"watch {folder.name}").start()

    @property
    def pid(self) -> int:
        """Process id of the server's current process."""
        return self._process.pid

    def stop(self, patience: float = 0) -> None:
        """End the process, after the requests under way or `patience` seconds."""
        deadline = time.monotonic() + patience
        while self.in_flight and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stopped.set()
        self.ready = False
        self._children.stop([self._process])
        for artifact in self._folder.glob("artifact-*"):
            shutil.rmtree(artifact, ignore_errors=True)

    def exchange(self, artifact: bytes) -> None:
        """Put the running server on another artifact; no request fails meanwhile, and all later ones are for the new.

        Raises:
            ServerFailed: it does not take the artifact, and answers with the one before.
        """
        before, begin = self._model.readlink(), self.log.stat().st_size
        self._link(self._unpack(artifact))
        self._process.send_signal(signal.SIGHUP)
        try:
            self._wait_until_exchanged(begin)
        except ServerFailed:
            self._link(before)
            raise
        self.client = Client(self.client.port)  # idle connections are still those of the processes before
        shutil.rmtree(self._folder / before, ignore_errors=True)

    def _wait_until_exchanged(self, begin: int) -> None:
        """Read what the server says of it in its log, from byte `begin` on."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            for line in self.log.read_bytes()[begin:].splitlines(keepends=True):
                if not line.startswith(b"{") or not line.endswith(b"\n"):
                    continue
                said = json.loads(line)
                if said.get("event") == "swapped":
                    return
                if said.get("event") == "swap-refused":
                    raise ServerFailed(said["reason"])
            if self._process.poll() is not None:
                break
            time.sleep(PING_SECONDS)
        raise ServerFailed(f"it did not go over to the new artifact:\n{self._log_tail()}")

    def _unpack(self, artifact: bytes) -> Path:
        """Unpack an artifact in a folder of its own; return the folder's name."""
        name = Path(f"artifact-{next(self._artifacts)}")
        _unpack(artifact, self._folder / name)
        return name

    def _link(self, artifact: Path) -> None:
        link = self._folder / "model.new"
        link.symlink_to(artifact)
        link.replace(self._model)

    def _start(self) -> Popen[bytes]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.client = Client(port)
        with self.log.open("ab") as log:
            return self._children.start(
                self._command(self._model, port),
                cwd=Path(__file__).resolve().parents[2],
                env={**base_environment(), **self.environment, "SAGEMAKER_BIND_TO_PORT": str(port)},
                output=log,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + STARTUP_SECONDS
        while not self._answers_ping():
            if self._process.poll() is not None:
                raise ServerFailed(f"it ended with exit status {self._process.returncode}:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"no 200 from /ping within {STARTUP_SECONDS} s:\n{self._log_tail()}")
            time.sleep(PING_SECONDS)
        self.ready = True

    def _answers_ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.client.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _watch(self) -> None:
        """Replace a process that ended, as SageMaker replaces an instance that fails its health checks."""
        pause = 0.1
        while not self._stopped.is_set():
            self._process.wait()
            self.ready = False
            if self._stopped.wait(pause):
                return
            pause = min(2 * pause, 5)
            self._process = self._start()
            try:
                self._wait_until_ready()
            except ServerFailed:
                self._children.stop([self._process])
            else:
                pause = 0.1
        self._children.stop([self._process])

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def _unpack(artifact: bytes, folder: Path) -> None:
    """Unpack model.tar.gz; members that would leave the folder, devices and special modes are refused."""
    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=BytesIO(artifact), mode="r:gz") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise ServerFailed(f"the model artifact cannot be unpacked: {error}") from error
