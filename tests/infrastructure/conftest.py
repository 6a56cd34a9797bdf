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

import pytest

from tests.infrastructure.templates import CONTEXT, ENVIRONMENTS, ROOT, Assembly

# CDK holds these environments' templates against CloudFormation's schemas, which is half of a synthesis' time. The
# others differ from prod in numbers only.
VALIDATED = ("local", "prod")
os.environ["CDK_VALIDATION"] = "false"  # for the few stacks that tests build in this very process


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Assembly]]:
    """Gives an environment's assembly; all are synthesized from the first use on, two at a time."""
    tools = tmp_path_factory.mktemp("tools")
    node = shutil.which("node")
    assert node, "CDK needs Node"
    (tools / "node").symlink_to(Path(node).resolve())
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
                "CDK_CONTEXT_JSON": json.dumps(CONTEXT | {"env": environment}),
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
