"""A real server process and the little a client needs to talk to it over real HTTP."""

import base64
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Server:
    """A running server; `log` is what it wrote so far, a parsed line each."""

    process: subprocess.Popen[str]
    port: int
    log: list[dict[str, Any]] = field(default_factory=list)
    follower: threading.Thread | None = None

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        connection = self.connect()
        connection.request(method, path, body, {"content-type": content_type} if content_type else {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers["content-type"], content

    def error(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> tuple[int, dict[str, Any]]:
        """Status and `error` object of a refusal."""
        status, kind, content = self.ask(method, path, body, content_type)
        assert kind == "application/json", content
        error = json.loads(content)["error"]
        assert set(error) == {"code", "message", "line"}
        return status, error

    def wait_for(self, event: str, times: int = 1) -> dict[str, Any]:
        """The line of the log in which this happened for the so-manieth time."""
        for _ in range(2000):
            found = [line for line in list(self.log) if line["event"] == event]
            if len(found) >= times:
                return found[times - 1]
            time.sleep(0.01)
        raise AssertionError(f"no {event} in {self.log}")

    def workers(self) -> list[int]:
        """The process ids of the tree's workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)
        if self.follower:
            self.follower.join()


def start_server(folders: Sequence[Path], workers: int = 2, *, one_processor: bool = False) -> Server:
    models = [word for folder in folders for word in ("--model", str(folder))]
    process = subprocess.Popen(
        [
            *(["taskset", "-c", str(min(os.sched_getaffinity(0)))] if one_processor else []),
            *(sys.executable, "-m", "serving", *models, "--port", "0", "--workers", str(workers)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    server = Server(process, ready["port"], [ready])
    out = process.stdout

    def follow() -> None:
        with out:
            server.log.extend(map(json.loads, out))

    server.follower = threading.Thread(target=follow, daemon=True)
    server.follower.start()
    return server


def json_line(image_id: str, content: bytes) -> bytes:
    return json.dumps({"id": image_id, "image": base64.b64encode(content).decode()}).encode() + b"\n"
