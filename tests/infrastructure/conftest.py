"""Each environment synthesized once a session, by the very process the CDK CLI starts: `python app.py`.

That process gets no credentials and no region, a home of its own, and a PATH with `node` alone: Docker, git or an AWS
CLI could not be found, and every AWS call would fail.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ("local", "dev", "staging", "prod")
# CDK holds these environments' templates against CloudFormation's schemas, which is half of a synthesis' time. The
# others differ from prod in numbers only.
VALIDATED = ("local", "prod")
os.environ["CDK_VALIDATION"] = "false"  # for the few stacks that tests build in this very process


class Template:
    """A synthesized stack's template, as CloudFormation would read it."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.resources: dict[str, dict[str, Any]] = body["Resources"]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type (`S3::Bucket`), by logical id."""
        return {
            logical_id: resource.get("Properties", {})
            for logical_id, resource in self.resources.items()
            if resource["Type"] == f"AWS::{kind}"
        }

    def one(self, kind: str) -> dict[str, Any]:
        """The properties of the only resource of a type."""
        (properties,) = self.of(kind).values()
        return properties

    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every IAM statement, resource policies included, with the logical id of the resource that holds it."""

        def documents(node: Any) -> Iterator[dict[str, Any]]:
            if isinstance(node, dict):
                if isinstance(node.get("Statement"), list):
                    yield node
                for value in node.values():
                    yield from documents(value)
            elif isinstance(node, list):
                for value in node:
                    yield from documents(value)

        for logical_id, resource in self.resources.items():
            for document in documents(resource["Properties"]):
                for statement in document["Statement"]:
                    yield logical_id, statement


class Assembly:
    """An environment's cloud assembly: its three templates and its assets."""

    def __init__(self, environment: str, folder: Path) -> None:
        self.environment = environment
        self.folder = folder
        self.data, self.model, self.pipeline = (
            Template(json.loads((folder / f"ics-{environment}-{stack}.template.json").read_text()))
            for stack in ("data", "model", "pipeline")
        )

    def zip_of(self, function: dict[str, Any]) -> Path:
        """A function's asset."""
        return self.folder / f"asset.{function['Code']['S3Key']}"


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Assembly]]:
    """Gives an environment's assembly; all are synthesized from the first use on, two at a time."""
    tools = tmp_path_factory.mktemp("tools")
    node = shutil.which("node")
    assert node, "CDK needs Node"
    (tools / "node").symlink_to(Path(node).resolve())
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    cache_home = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    inherited = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL_", "PYTHONPATH"))}

    def synthesized(environment: str, out: Path, home: Path) -> Assembly:
        done = subprocess.run(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=inherited
            | {
                "PATH": str(tools),
                "HOME": str(home),
                "XDG_CACHE_HOME": cache_home,  # uv's downloads
                "CDK_VALIDATION": "true" if environment in VALIDATED else "false",
                "CDK_OUTDIR": str(out),
                "CDK_CONTEXT_JSON": json.dumps(context | {"env": environment}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Assembly(environment, out)

    with ThreadPoolExecutor(2) as pool:
        under_way = {
            environment: pool.submit(
                synthesized, environment, tmp_path_factory.mktemp(environment), tmp_path_factory.mktemp("home")
            )
            for environment in ENVIRONMENTS
        }
        yield lambda environment: under_way[environment].result()


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def assembly(request: pytest.FixtureRequest, synthesize: Callable[[str], Assembly]) -> Assembly:
    """Each environment in turn."""
    return synthesize(request.param)


@pytest.fixture(scope="session")
def prod(synthesize: Callable[[str], Assembly]) -> Assembly:
    return synthesize("prod")


@pytest.fixture(scope="session")
def local(synthesize: Callable[[str], Assembly]) -> Assembly:
    return synthesize("local")
