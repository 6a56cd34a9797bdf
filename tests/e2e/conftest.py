"""One local deployment for all end-to-end tests, and `finish`, which holds every run to what any run must be."""

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from cli import runs
from cli.deployment import ROOT, Deployment, connect
from local import control, deploy
from tests.e2e.harness import Ended, hold


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of rights come last: they judge what all others made the functions do."""
    items.sort(key=lambda item: item.path.name == "test_rights.py")


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[control.LocalAws]:
    state = tmp_path_factory.mktemp("ics")
    running = control.start(state)
    try:
        deploy.deploy(running, ROOT, lambda _: None)
        yield running
    finally:
        control.stop(state)


@pytest.fixture(scope="session")
def deployment(aws: control.LocalAws) -> Deployment:
    return connect("local", aws.state)


@pytest.fixture(scope="session")
def command_environment(aws: control.LocalAws) -> dict[str, str]:
    """The environment in which `ics` finds this deployment."""
    return {**os.environ, "ICS_STATE": str(aws.state), "COLUMNS": "200"}


@pytest.fixture
def put(deployment: Deployment, request: pytest.FixtureRequest) -> Callable[[str, bytes], str]:
    """Put an object under a prefix of this test's own; the key is returned."""
    prefix = f"{request.node.name.encode('ascii', 'replace').decode()[:40]}-{time.time_ns()}/"

    def put_object(name: str, content: bytes) -> str:
        key = prefix + name
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=key, Body=content)
        return key

    return put_object


@pytest.fixture(scope="session")
def finish(deployment: Deployment, aws: control.LocalAws) -> Callable[..., Ended]:
    """Start a run on a request and wait for its end; or, given `run`, hold a run that has ended to the invariants."""

    def to_the_end(request: object = None, run: str | None = None) -> Ended:
        if run is None:
            run = runs.new_run("test")
            runs.start(deployment, run, request)
        for _ in runs.follow(deployment, run, every=0.1):
            pass
        summary = runs.summary(deployment, run)
        assert summary is not None, runs.describe(deployment, run)
        ended = Ended(run, runs.describe(deployment, run), summary, list(runs.rows(deployment, summary)))
        hold(ended, aws, deployment)
        return ended

    return to_the_end


@pytest.fixture(scope="session")
def digits() -> list[bytes]:
    """A thousand real handwritten digits as 28 x 28 PNG, light on dark as the model was trained, centred."""
    pictures = []
    for image in load_digits().images[:1000]:
        ink = Image.fromarray((image * 255 / 16).astype("uint8")).resize((20, 20), Image.Resampling.BICUBIC)
        page = Image.new("L", (28, 28), 0)
        page.paste(ink, (4, 4))
        out = io.BytesIO()
        page.save(out, "PNG")
        pictures.append(out.getvalue())
    return pictures


@pytest.fixture(scope="session")
def digits_folder(digits: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a folder of files."""
    folder = tmp_path_factory.mktemp("digits")
    for number, content in enumerate(digits):
        (folder / f"{number:04d}.png").write_bytes(content)
    return folder
