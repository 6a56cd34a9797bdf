"""The servers side by side: how each is started, asked and understood, and how it is ended."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Request, ask
from ics.wire import JSON, JSON_LINES, request_line

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-peers"
"""Where `make bench` installs the peers: an environment for each of their lock files."""

PATIENCE = 120.0
"""Seconds that a server may take to its first answer, and to its end."""

Answer = tuple[str, float]
"""A label and its confidence."""


@dataclass(frozen=True)
class Contender:
    """A server: the command that serves an artifact on a port, and its way of asking about one picture or many."""

    name: str
    command: Callable[[Path, int], Sequence[str | Path]]
    request: Callable[[Sequence[bytes]], Request]
    read: Callable[[bytes], list[Answer]]


def peer_python(lock: str = "requirements") -> Path:
    """The Python of the peers of a lock file.

    Raises:
        FileNotFoundError: they are not installed.
    """
    python = PEERS / lock / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(f"{python} is not there; `make bench` installs the other servers")
    return python


def versions() -> dict[str, str]:
    """The locked version of each peer, by its name."""
    folder = ROOT / "benchmarks" / "peers"
    texts = [(folder / f"{lock}.txt").read_text("utf-8") for lock in ("requirements-mlserver", "requirements")]
    locked = dict(re.findall(r"^([\w-]+)==(\S+)", "\n".join(texts), re.MULTILINE))
    return {contender.name: locked[contender.name.lower()] for contender in OTHERS}


def _ics_request(jpegs: Sequence[bytes]) -> Request:
    if len(jpegs) == 1:
        return Request("/invocations", "image/jpeg", jpegs[0])
    lines = [request_line(f"{number:064x}", jpeg) for number, jpeg in enumerate(jpegs)]
    return Request("/invocations", JSON_LINES, b"".join(lines))


def _ics_read(body: bytes) -> list[Answer]:
    rows = [json.loads(line) for line in body.splitlines()]
    return [(row["label"], row["confidence"]) for row in rows]


def _base64(jpegs: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(jpeg).decode() for jpeg in jpegs]


def _json_request(path: str, jpegs: Sequence[bytes]) -> Request:
    return Request(path, JSON, json.dumps({"images": _base64(jpegs)}).encode())


def _json_read(body: bytes) -> list[Answer]:
    answer = json.loads(body)
    return list(zip(answer["labels"], answer["confidences"], strict=True))


def _fastapi_request(jpegs: Sequence[bytes]) -> Request:
    return Request("/one", "image/jpeg", jpegs[0]) if len(jpegs) == 1 else _json_request("/many", jpegs)


def _v2_request(jpegs: Sequence[bytes]) -> Request:
    images = {
        "name": "images",
        "datatype": "BYTES",
        "shape": [len(jpegs), 1],
        "parameters": {"content_type": "base64"},
        "data": _base64(jpegs),
    }
    return Request("/v2/models/net/infer", JSON, json.dumps({"inputs": [images]}).encode())


def _v2_read(body: bytes) -> list[Answer]:
    outputs = {output["name"]: output["data"] for output in json.loads(body)["outputs"]}
    return list(zip(outputs["labels"], outputs["confidences"], strict=True))


def _module(name: str, lock: str = "requirements") -> Callable[[Path, int], Sequence[str | Path]]:
    return lambda model, port: (
        peer_python(lock), "-m", f"benchmarks.peers.{name}", "--model", model, "--port", str(port),
    )  # fmt: skip


def _bentoml(model: Path, port: int) -> Sequence[str | Path]:
    return (
        peer_python(), "-m", "bentoml", "serve", "benchmarks.peers.bentoml_server:Classifier", "--working-dir", ROOT,
        "--host", "127.0.0.1", "--port", str(port), "--arg", f"model={model}",
    )  # fmt: skip


ICS = Contender(
    "ICS",
    lambda model, port: (sys.executable, "-m", "serving", "--model", model, "--port", str(port)),
    _ics_request,
    _ics_read,
)
LITSERVE = Contender("LitServe", _module("litserve_server"), lambda jpegs: _json_request("/predict", jpegs), _json_read)
BENTOML = Contender("BentoML", _bentoml, lambda jpegs: _json_request("/classify", jpegs), _json_read)
MLSERVER = Contender("MLServer", _module("mlserver_server", "requirements-mlserver"), _v2_request, _v2_read)
FASTAPI = Contender("FastAPI", _module("fastapi_server"), _fastapi_request, _json_read)

OTHERS = (FASTAPI, MLSERVER, LITSERVE, BENTOML)


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    contender: Contender
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def wait(self, jpegs: Sequence[bytes]) -> list[Answer]:
        """Its first answer, as soon as it gives one.

        Raises:
            RuntimeError: it ended, or gave none within `PATIENCE`; the message has the end of its log.
        """
        request, deadline = self.contender.request(jpegs), time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                return self.contender.read(ask(self.port, request))
            except (OSError, RuntimeError):  # not listening yet, or listening and not ready
                time.sleep(0.005)
        raise RuntimeError(f"{self.contender.name} does not answer:\n{self.log.read_text('utf-8', 'replace')[-3000:]}")


@contextmanager
def running(contender: Contender, model: Path, logs: Path) -> Iterator[Server]:
    """A server that is started, perhaps not answering yet; it and all that it started is ended after."""
    log = logs / f"{contender.name}-{time.monotonic_ns()}.log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            contender.command(model, port),
            cwd=ROOT, env={**os.environ, "BENTOML_DO_NOT_TRACK": "true"},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield Server(contender, process, port, log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: gently first, and then what is left."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
