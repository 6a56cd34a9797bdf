"""`python -m serving`: what it serves, and how it says that it cannot."""

import subprocess
import sys
from pathlib import Path

import pytest

from ics.errors import InvalidArtifact
from serving.__main__ import container_folders
from tests.artifacts import write_artifact
from tests.serving.running_server import Server


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serving", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_container_serves_the_given_model_else_those_baked_in(tmp_path: Path) -> None:
    given, baked = tmp_path / "model", tmp_path / "models"
    with pytest.raises(InvalidArtifact, match="no model"):
        container_folders(given, baked)
    for folder in (baked / "letters", baked / "digits"):
        folder.mkdir(parents=True)
    (baked / "README").touch()
    assert container_folders(given, baked) == [baked / "digits", baked / "letters"]
    given.mkdir()
    assert container_folders(given, baked) == [baked / "digits", baked / "letters"]
    (given / "model.json").touch()
    assert container_folders(given, baked) == [given]


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_artifact(tmp_path / folder, name="digits")
    done = run("--model", str(tmp_path / "a"), "--model", str(tmp_path / "b"), "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "two models are named 'digits'" in done.stderr


def test_what_cannot_start_says_why_in_one_line_and_exits_2(server: Server, digits_folder: Path) -> None:
    for arguments, message in (
        (["--model", "nowhere"], "nowhere/model.json does not exist"),
        (["--model", str(digits_folder), "--port", str(server.port)], f"127.0.0.1:{server.port}: Address already in"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    for arguments, message in (
        ([], "give --model DIR"),
        (["serve", "--model", "models/digits"], "give --model DIR, or serve"),
        (["--model", "models/digits", "--port", "70000"], "'70000' is no port"),
    ):
        done = run(*arguments)
        assert done.returncode == 2
        assert message in done.stderr


def test_help_has_examples() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "python -m serving --model models/digits" in done.stdout
