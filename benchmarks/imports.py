"""What a cold function costs before its first request: imports and the first client, in CPU milliseconds."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.figures import Figure, alternate

ROOT = Path(__file__).resolve().parents[1]

BOTO3 = "import boto3; boto3.client('s3')"

_PROGRAM = """\
import sys, time
sys.path[:0] = sys.argv[2:]
started = time.process_time()
exec(sys.argv[1])
print(time.process_time() - started)
"""


def functions() -> list[str]:
    """The pipeline's functions, by folder; that of the HTTP API is none, and imports what it needs to route."""
    return sorted(path.parent.name for path in (ROOT / "lambdas").glob("*/handler.py") if path.parent.name != "api")


def of_function(name: str) -> str:
    """What a function does before its first request: its handler's imports, and the client that reads S3."""
    return f"import lambdas.{name}.handler; from lambdas.runtime import store; store('a-bucket')"


def milliseconds(statements: str) -> float:
    """CPU milliseconds of these statements in a fresh interpreter, started as Lambda's is: no site, no user folder."""
    done = subprocess.run(
        [sys.executable, "-S", "-s", "-P", "-c", _PROGRAM, statements, str(ROOT), sysconfig.get_path("purelib")],
        env={
            "PATH": os.environ["PATH"],
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
        },
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return 1000 * float(done.stdout)


def measure(repeats: int) -> Figure:
    """The slowest of the pipeline's functions against boto3 and one client."""
    figures = {
        name: alternate(lambda: milliseconds(BOTO3), lambda name=name: milliseconds(of_function(name)), repeats)
        for name in functions()
    }
    slowest = max(figures, key=lambda name: Figure("", "", "", 0, False, figures[name]).measured())
    return Figure(
        name=f"import and first client, the slowest function ({slowest})",
        other="`import boto3` and one client",
        unit="CPU-ms",
        goal=0.5,
        to_reach=False,
        pairs=figures[slowest],
    )
