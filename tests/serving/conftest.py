"""Artifacts and servers for the tests of this folder, made once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.model import Model, load_model
from tests.artifacts import DIGITS, write_artifact
from tests.serving.running_server import Server, start_server


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_artifact(folder, name="digits", sharpness=100)
    return folder


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    write_artifact(folder, name="reader", kind="text", labels=[*DIGITS, " "], width=128, height=32, sharpness=3000)
    return folder


@pytest.fixture(scope="session")
def model(digits_folder: Path) -> Model:
    return load_model(digits_folder)


@pytest.fixture(scope="session")
def server(digits_folder: Path, reader_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves `digits` (28 x 28 grey), `photos` (40 x 30 RGB) and `reader`, a text model."""
    photos = tmp_path_factory.mktemp("photos")
    write_artifact(photos, name="photos", labels=["night", "dusk", "day"], width=40, height=30, colour="rgb")
    server = start_server([digits_folder, photos, reader_folder])
    yield server
    server.stop()
