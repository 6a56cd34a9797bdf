"""Deploy a CDK app into the embedded AWS with the CDK CLI, doing nothing twice.

Synthesis is skipped while what it reads is unchanged; deployment while its outcome is what is deployed already. Both
facts are kept as hashes in the state folder; what is deployed is forgotten with the daemon that held it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.control import DEPLOYED, LocalAws

INPUTS = (
    "app.py", "cdk.json", "stacks", "ics", "lambdas", "statemachine", "environments", "models", "serving",
    "requirements.txt", "package-lock.json",
)  # fmt: skip
"""Files and folders that a synthesis reads, relative to the app's root; what does not exist there is left out."""

CLI = Path(__file__).resolve().parents[1] / "node_modules" / ".bin" / "cdk"
"""The CDK CLI that the project pins."""
SYNTHESIZED = "cdk.out"
SYNTHESIS_HASH = "cdk.out.sha256"


class DeployError(Exception):
    """A CDK command failed; the message has what the CLI said about it."""


def deploy(aws: LocalAws, root: Path, progress: Callable[[str], None]) -> bool:
    """Bring the embedded AWS to what the app at `root` describes; return whether anything was deployed.

    `progress` gets a line a step. Raises DeployError.
    """
    root = root.resolve()
    synthesized = aws.state / SYNTHESIZED
    wanted = hash_files(root, INPUTS, sys.version)
    fresh = _read(aws.state / SYNTHESIS_HASH) == wanted and (synthesized / "manifest.json").exists()
    deployed = _read(aws.state / DEPLOYED)
    with ThreadPoolExecutor(1) as beside:
        bootstrapping = None if deployed is not None else beside.submit(_bootstrap, aws, root, progress)
        if not fresh:
            progress("Synthesizing the templates")
            (aws.state / SYNTHESIS_HASH).unlink(missing_ok=True)
            shutil.rmtree(synthesized, ignore_errors=True)  # it would keep the assets of every earlier synthesis
            _cdk(aws, root, ["synth", "--quiet", "-c", "env=local", "--output", str(synthesized)])
            (aws.state / SYNTHESIS_HASH).write_text(wanted)
        if bootstrapping is not None:
            bootstrapping.result()
    # What the CLI itself keeps there (.cache, locks) is no outcome.
    outputs = [path.name for path in sorted(synthesized.iterdir()) if path.name[0] != "." and path.suffix != ".lock"]
    outcome = hash_files(synthesized, outputs, "")
    if deployed == outcome:
        return False
    progress("Deploying the stacks")
    (aws.state / DEPLOYED).write_text("")
    _cdk(
        aws,
        root,
        [
            "deploy", "--all", "--app", str(synthesized), "-c", "env=local", "--require-approval", "never",
            "--method", "direct", "--concurrency", "4", "--asset-parallelism", "--progress", "events",
        ],
    )  # fmt: skip
    (aws.state / DEPLOYED).write_text(outcome)
    return True


def _bootstrap(aws: LocalAws, root: Path, progress: Callable[[str], None]) -> None:
    progress("Bootstrapping the account")
    environment = f"aws://{aws.account}/{aws.region}"
    # An empty app: bootstrapping must not synthesize the real one a second time.
    _cdk(aws, root, ["bootstrap", environment, "--app", ""])


def _cdk(aws: LocalAws, root: Path, arguments: Iterable[str]) -> None:
    command = [str(CLI), "--no-notices", "--no-color", *arguments]
    ran = subprocess.run(
        command,
        cwd=root,
        env=_environment(aws),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    with (aws.state / "cdk.log").open("a") as log:
        log.write(f"$ cdk {' '.join(arguments)}\n{ran.stdout}\n")
    if ran.returncode:
        raise DeployError(f"cdk {next(iter(arguments))} failed:\n{_meaningful(ran.stdout)}")


def _environment(aws: LocalAws) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    return {
        **kept,
        **aws.environment(),
        "CDK_HOME": str(aws.state / "cdk-home"),
        "CDK_VALIDATION": "false",  # half of a synthesis; the tests hold the templates against the schemas
        "PYTHON": sys.executable,
        "NODE_NO_WARNINGS": "1",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
        "NODE_OPTIONS": f"--require={Path(__file__).with_name('quick_polls.cjs')}",
    }


def _meaningful(output: str, lines: int = 25) -> str:
    """The lines that tell what failed, or the end of the output where none says so."""
    marks = ("failed", "error", "❌", "invalid", "exception")
    said = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in said if any(mark in line.lower() for mark in marks)]
    return "\n".join((telling or said)[-lines:])


def hash_files(root: Path, names: Iterable[str], salt: str) -> str:
    """Hash the names and contents of files, folders included with all that is in them."""
    digest = hashlib.sha256(salt.encode())
    for name in names:
        top = root / name
        files = sorted(path for path in top.rglob("*") if path.is_file()) if top.is_dir() else [top]
        for file in files:
            if not file.is_file() or "__pycache__" in file.parts:
                continue
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(root)}\0{content}\n".encode())
    return digest.hexdigest()


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
