"""One Lambda execution environment as a warm process, whose outcomes are AWS's.

The function's code is unpacked once and shared by its environments, as `/var/task` is read-only on AWS. A process sees
the standard library, boto3 as AWS's runtime offers it, its layers and its code: nothing else that happens to be
installed here, and none of the user's environment.
"""

import base64
import hashlib
import importlib.util
import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.processes import Children, base_environment

RESPONSE_LIMIT = 6_291_556
"""Bytes of a synchronous answer (AWS Lambda quotas, "Invocation payload": 6 MB; the number is the runtime's own)."""
INIT_SECONDS = 10
"""AWS Lambda, "Lambda runtime environment lifecycle": the Init phase is limited to 10 seconds, then repeated within
the function's timeout."""
BOOTSTRAP = Path(__file__).with_name("lambda_bootstrap.py")
_unpacking = threading.Lock()  # environments of one function start together
RUNTIME_MODULES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")


@dataclass(frozen=True)
class Outcome:
    """What one invocation gave: a result, or AWS's error payload, and what was printed."""

    result: Any
    error: Mapping[str, Any] | None
    log: str


class Worker:
    """An execution environment of one version of one function; one caller at a time.

    `in_use`, `last_used`, `config`, `_proc` and `_discard_tmpdir` are what the emulator's pool of workers uses.
    """

    def __init__(self, children: Children, config: Mapping[str, Any], code: bytes, layers: Sequence[bytes]) -> None:
        self.config = config
        self.in_use = False
        self.last_used = time.time()
        self._children = children
        self._code = code
        self._layers = layers
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._folder = children.state / "lambda"
        self._log = self._folder / f"{config['FunctionName']}-{uuid.uuid4().hex}.log"
        self._logged = 0

    @property
    def pid(self) -> int | None:
        """Process id, None where no process lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def _proc(self) -> subprocess.Popen[bytes] | None:
        """The process, which the pool terminates when it gives the worker up, perhaps during an invocation."""
        return self._process

    @_proc.setter
    def _proc(self, _nothing: None) -> None:
        """The pool forgets it before it calls `_discard_tmpdir`; the worker does not."""

    def invoke(self, event: Any, request_id: str, *, arn: str, trace_id: str | None) -> Outcome:
        """Run the handler on one event, within the function's timeout."""
        timeout = float(self.config.get("Timeout", 3))
        if self.pid is None:
            error = self._start(timeout, request_id)
            if error is not None:
                self._stop()
                return Outcome(None, error, self._printed())
        call = {
            "event": event,
            "request_id": request_id,
            "arn": arn,
            "trace_id": trace_id,
            "deadline": time.time() + timeout,
        }
        try:
            self._write(json.dumps(call).encode() + b"\n")
            line = self._read_line(time.monotonic() + timeout)
        except TimeoutError:
            self._stop()
            return Outcome(None, _timed_out(request_id, timeout), self._printed())
        except (EOFError, BrokenPipeError):
            return Outcome(None, self._exited(request_id), self._printed())
        if len(line) - len('{"result": }\n') > RESPONSE_LIMIT:
            too_large = {
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": "Response payload size exceeded maximum allowed payload size "
                f"({RESPONSE_LIMIT} bytes).",
            }
            return Outcome(None, too_large, self._printed())
        reply = json.loads(line)
        return Outcome(reply.get("result"), reply.get("error"), self._printed())

    def _start(self, timeout: float, request_id: str) -> Mapping[str, Any] | None:
        """Start the process and wait for its handler to be imported; return AWS's error payload where it fails."""
        task = _unpacked(self._folder, self._code)
        layers = [str(_unpacked(self._folder, layer) / "python") for layer in self._layers]
        paths = [*layers, str(_runtime_modules(self._folder))]
        self._unread = b""
        self._logged = 0
        with self._log.open("wb") as log:
            self._process = self._children.start(
                [sys.executable, "-S", "-s", "-P", str(BOOTSTRAP), *paths],
                cwd=task,
                env=self._environment(task),
                output=log,
                piped=True,
            )
        try:
            started: dict[str, Any] = json.loads(self._read_line(time.monotonic() + INIT_SECONDS + timeout))
        except TimeoutError:
            return _timed_out(request_id, timeout)
        except EOFError:
            return self._exited(request_id)
        error: dict[str, Any] | None = started["error"]
        return error

    def _environment(self, task: Path) -> dict[str, str]:
        """AWS Lambda, "Defined runtime environment variables", with the endpoint of the embedded AWS."""
        config = self.config
        function = config["FunctionName"]
        defined: Mapping[str, str] = (config.get("Environment") or {}).get("Variables") or {}
        logging_config = config.get("LoggingConfig") or {}
        return {
            **base_environment(),
            "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
            "AWS_ALLOW_HTTP": "true",  # obstore refuses plain HTTP otherwise
            "AWS_EC2_METADATA_DISABLED": "true",
            **defined,
            "_HANDLER": config.get("Handler", ""),
            "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
            "AWS_SESSION_TOKEN": config["Role"],  # tells `local.calls` who is calling
            "AWS_REGION": os.environ["AWS_REGION"],
            "AWS_DEFAULT_REGION": os.environ["AWS_REGION"],
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', '')}",
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
            "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": logging_config.get("LogGroup") or f"/aws/lambda/{function}",
            "AWS_LAMBDA_LOG_STREAM_NAME": time.strftime("%Y/%m/%d/[$LATEST]", time.gmtime()) + uuid.uuid4().hex,
            "LAMBDA_TASK_ROOT": str(task),
            "TZ": ":UTC",
        }

    def _write(self, data: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._process.stdin.fileno(), rest) :]

    def _read_line(self, deadline: float) -> bytes:
        """Read one line; raise TimeoutError past the deadline, EOFError when the process has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        ready = select.poll()
        ready.register(output, select.POLLIN)
        chunks = [self._unread]
        while b"\n" not in chunks[-1]:
            if not ready.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                raise TimeoutError
            chunk = os.read(output, 1 << 20)
            if not chunk:
                raise EOFError
            chunks.append(chunk)
        line, _, self._unread = b"".join(chunks).partition(b"\n")
        return line + b"\n"

    def _exited(self, request_id: str) -> Mapping[str, Any]:
        assert self._process is not None
        code = self._process.wait()
        self._stop()
        reason = f"signal: {(signal.strsignal(-code) or '').lower()}" if code < 0 else f"exit status {code}"
        ended = f"Runtime exited with error: {reason}" if code else "Runtime exited without providing a reason"
        return {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request_id} Error: {ended}"}

    def _stop(self) -> None:
        if self._process is not None:
            self._children.stop([self._process])

    def _printed(self) -> str:
        """Return what was printed since the last call: the process has flushed it before it answered."""
        with self._log.open("rb") as log:
            log.seek(self._logged)
            text = log.read()
            self._logged = log.tell()
        return text.decode(errors="replace").rstrip("\n")

    def _discard_tmpdir(self) -> None:
        self._stop()
        self._log.unlink(missing_ok=True)


def _timed_out(request_id: str, timeout: float) -> dict[str, Any]:
    message = f"RequestId: {request_id} Error: Task timed out after {timeout:.2f} seconds"
    return {"errorType": "Sandbox.Timedout", "errorMessage": message}


def _unpacked(folder: Path, package: bytes) -> Path:
    """Unpack a zip where it is not yet, under the name of its content."""
    digest = base64.b32encode(hashlib.sha256(package).digest()).decode().rstrip("=").lower()
    with _unpacking:
        unpacked = folder / digest
        if not unpacked.exists():
            unfinished = folder / f"{digest}.unfinished"
            with zipfile.ZipFile(io.BytesIO(package)) as archive:
                archive.extractall(unfinished)
            unfinished.rename(unpacked)
        return unpacked


def _runtime_modules(folder: Path) -> Path:
    """Return a folder with boto3 and what it needs, as links to what is installed here."""
    with _unpacking:
        modules = folder / "runtime"
        if not modules.exists():
            unfinished = folder / "runtime.unfinished"
            unfinished.mkdir(parents=True)
            for name in RUNTIME_MODULES:
                found = importlib.util.find_spec(name)
                assert found is not None
                assert found.origin is not None
                source = Path(found.origin)
                source = source.parent if source.name == "__init__.py" else source
                (unfinished / source.name).symlink_to(source)
            unfinished.rename(modules)
        return modules
