"""A short soak in every `make test`, and that the soak itself finds what it is for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import __main__ as driver
from tests.soak.targets import TARGETS, Target


def test_thousands_of_mutated_bodies_are_read_or_refused(tmp_path: Path) -> None:
    # In a process of its own, whose peak memory is its own.
    soaked = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--bodies", "5000", "--seed", "2026", "--faults", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert soaked.returncode == 0, soaked.stdout + soaked.stderr
    assert "5,000 bodies" in soaked.stdout
    assert "0 faults" in soaked.stdout
    for outcome in ("read", "TruncatedImage", "CorruptImage", "InvalidManifest", "InvalidRequest", "InvalidAnswer"):
        assert outcome in soaked.stdout  # the bodies are neither all nonsense nor all untouched
    assert not list(tmp_path.iterdir())


def test_a_fault_is_kept_for_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def faulty(body: bytes) -> str:
        raise KeyError(body[:1])

    monkeypatch.setitem(TARGETS, "answer", Target(faulty, TARGETS["answer"].corpus, 1.0))
    assert driver.main(["--bodies", "20", "--faults", str(tmp_path)]) == 1
    kept = sorted(tmp_path.glob("answer-1-*.body"))
    assert kept
    assert f"--replay {kept[0]}" in capsys.readouterr().out
    with pytest.raises(KeyError):
        driver.main(["--target", "answer", "--replay", str(kept[0])])


def test_bodies_are_the_same_wherever_a_run_starts() -> None:
    whole = list(driver.bodies(7, 0, 60))
    assert whole[40:] == list(driver.bodies(7, 40, 20))
    assert [body for _, _, body in driver.bodies(8, 0, 60)] != [body for _, _, body in whole]


def test_memory_over_its_bound_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "MAX_RSS_MIB", 1)
    assert driver.main(["--bodies", "5", "--faults", str(tmp_path)]) == 1
