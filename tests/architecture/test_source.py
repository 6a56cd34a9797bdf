"""Every module says what it promises, and nothing is kept that belongs to one machine or to later."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("app.py", "ics/", "lambdas/", "stacks/", "serving/", "training/", "local/", "cli/", "benchmarks/")
MAX_FILE_BYTES = 5_000_000
# Spelled so that this file does not contain what it looks for.
MARKER = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b")
MACHINE_PATH = re.compile(r"(?<![\w.}>-])/(?:home|Users|work|root)/\w")


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """What git tracks and still exists in the working tree."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_every_module_of_the_product_has_a_docstring(tracked: list[Path]) -> None:
    modules = [
        path for path in tracked if path.suffix == ".py" and _name(path).startswith(PRODUCT) and path.stat().st_size
    ]
    assert len(modules) > 30
    assert [_name(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text("utf-8")))] == []


def test_no_tracked_file_is_large(tracked: list[Path]) -> None:
    assert [_name(path) for path in tracked if path.stat().st_size > MAX_FILE_BYTES] == []


def test_no_tracked_source_is_for_later_or_for_one_machine(tracked: list[Path]) -> None:
    assert [found for path in tracked for found in _unfit(path)] == []


@pytest.mark.parametrize(
    "line", ["# TO" + "DO: later", "x = 1  # FIX" + "ME", 'open("/ho' + 'me/me/file")', "see /wo" + "rk/main"]
)
def test_each_is_caught(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.py").write_text(f"fine = 'https://example.com/home/x'\n{line}\n")
    assert len(_unfit(tmp_path / "x.py")) == 1


def _unfit(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        return []  # a picture or a model
    return [
        f"{path.name}:{number}: {line.strip()[:100]}"
        for number, line in enumerate(lines, 1)
        if MARKER.search(line) or MACHINE_PATH.search(line)
    ]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
