"""`ics evaluate` by command on artifacts whose answers can be foretold, and `ics train` where it cannot start."""

import importlib.util
import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import main
from ics.artifact import ModelSpec
from serving.model import load_model
from tests.artifacts import picture, shade, write_artifact, writing

ROOT = Path(__file__).resolve().parents[2]
LETTERS = ("ж", "д", "й")
# й as some file systems spell it: и and a breve
DECOMPOSED = unicodedata.normalize("NFD", "й")

WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from cli.main import main
sys.argv[0] = "ics"
main()
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `ics` with these arguments: exit status, stdout, stderr."""

    def ran(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ics", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        try:
            main.main()
        except SystemExit as ended:
            code = ended.code
        else:
            code = 0
        printed = capsys.readouterr()
        return int(code or 0), printed.out, printed.err

    return ran


@pytest.fixture
def letters(tmp_path: Path) -> ModelSpec:
    """An artifact of three letters, and class folders: each picture is sure, one ж lies among the д."""
    spec = write_artifact(tmp_path / "model", name="three", labels=LETTERS)
    for folder, shown, count in (("ж", "ж", 4), ("д", "д", 2), ("д", "ж", 1), (DECOMPOSED, "й", 3)):
        (tmp_path / "data" / folder / "deep").mkdir(parents=True, exist_ok=True)
        for number in range(count):
            file = tmp_path / "data" / folder / ("deep" if number == 1 else "") / f"{shown}-{number}.png"
            file.write_bytes(picture(shade(spec, shown)))
    return spec


def evaluated(run: Run, *arguments: object) -> dict[str, Any]:
    code, out, err = run("evaluate", *arguments, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_class_folders_are_measured_and_what_cannot_be_is_listed(run: Run, letters: ModelSpec, tmp_path: Path) -> None:
    data = tmp_path / "data"
    whole = (data / "ж" / "ж-0.png").read_bytes()
    (data / "ж" / "cut.png").write_bytes(whole[:50])
    (data / "ж" / "notes.txt").write_text("no picture")
    (data / "ж" / "empty.png").write_bytes(b"")
    (data / "ж" / ".hidden").write_bytes(b"of the file system")
    (data / "ю").mkdir()
    (data / "ю" / "1.png").write_bytes(whole)
    found = evaluated(run, tmp_path / "model", "--data", data)
    assert (found["images"], found["accuracy"]["count"], found["accuracy"]["value"]) == (10, 9, 0.9)
    assert found["confusion"] == {"labels": list(LETTERS), "counts": [[4, 0, 0], [1, 2, 0], [0, 0, 3]]}
    assert found["classes"]["й"]["recall"]["value"] == 1
    assert found["unknown"] == {"ю": 1}
    assert {one["source"]: one["reason"].split(":")[0] for one in found["skipped"]} == {
        "ж/cut.png": "TruncatedImage",
        "ж/notes.txt": "NotAnImage",
        "ж/empty.png": "EmptyObject",
    }
    code, out, err = run("evaluate", tmp_path / "model", "--data", data)
    assert code == 0
    assert "90.00%" in out
    assert "д/ж-0.png" in out.partition("surest mistakes")[2]
    assert "ж/cut.png: TruncatedImage" in err
    assert "no such label: 'ю' 1" in err


def test_an_answer_is_the_one_that_is_served(run: Run, letters: ModelSpec, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    between = tmp_path / "between" / "ж" / "1.png"
    between.parent.mkdir(parents=True)
    between.write_bytes(picture(round(0.2 * 255), size=(90, 40), mode="RGB"))
    found = evaluated(run, tmp_path / "model", "--data", tmp_path / "between", "--out", tmp_path / "out")
    (answer,) = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    model = load_model(tmp_path / "model")
    from ics.imaging import prepare

    served = model.predict_one(prepare(between.read_bytes(), letters.input))
    assert (answer["said"], answer["confidence"]) == (served.label, served.confidence)
    assert found["accepted"]["count"] == int(served.confidence >= 0.94)


def test_a_threshold_decides_what_is_accepted(run: Run, letters: ModelSpec, tmp_path: Path) -> None:
    found = evaluated(run, tmp_path / "model", "--data", tmp_path / "data", "--threshold", "1")
    sure = evaluated(run, tmp_path / "model", "--data", tmp_path / "data", "--threshold", "0.5")
    assert found["threshold"] == 1
    assert sure["accepted"]["count"] == 10
    assert sure["wrong_below_threshold"]["count"] == 0
    assert sure["wrong_below_threshold"]["of"] == 1


def test_pictures_are_written_where_asked(run: Run, letters: ModelSpec, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    printed = evaluated(run, tmp_path / "model", "--data", tmp_path / "data", "--out", out)
    assert json.loads((out / "metrics.json").read_text("utf-8")) == printed
    assert {path.name for path in out.iterdir()} == {
        "metrics.json", "answers.jsonl", "confusion.png", "reliability.png", "risk-coverage.png", "mistakes.png",
    }  # fmt: skip


def test_without_matplotlib_only_pictures_are_refused(
    run: Run, letters: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else real(name, *rest)
    )
    code, _, err = run("evaluate", tmp_path / "model", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert code == 2
    assert "pip install -r requirements-train.txt" in err
    assert not (tmp_path / "out").exists()
    assert run("evaluate", tmp_path / "model", "--data", tmp_path / "data")[0] == 0


def test_lines_of_a_table_are_measured_by_characters(run: Run, tmp_path: Path) -> None:
    spec = write_artifact(tmp_path / "model", kind="text", labels=LETTERS, width=64, sharpness=5000.0)
    lines = tmp_path / "data" / "test"
    lines.mkdir(parents=True)
    for name, text in (("1.png", "жд"), ("2.png", "дй"), ("3.png", "й")):
        (lines / name).write_bytes(writing(spec, text))
    (tmp_path / "secret.png").write_bytes(writing(spec, "ж"))
    rows = ["name\ttext", "1.png\tжд", '2.png\t "д" й ', "3.png\tй", "gone.png\tж", "3.png", "../../secret.png\tж", ""]
    table = tmp_path / "data" / "test.tsv"
    table.write_bytes("\r\n".join(rows).encode() + b"\n3.png\t\xff\n")
    found = evaluated(run, tmp_path / "model", "--data", tmp_path / "data")
    assert (found["images"], found["accuracy"]["count"]) == (3, 2)
    # truly `"д" й`, read дй: two quotes and a space are missed, of 8 characters in all
    assert found["cer"]["value"] == pytest.approx(3 / 8)
    assert {(one["true"], one["read"], one["count"]) for one in found["character_confusions"]} == {
        ('"', "", 2), (" ", "", 1)
    }  # fmt: skip
    assert found["unknown"] == {'"': 2}
    assert [one["reason"] for one in found["skipped"]] == [
        "no such picture: gone.png", "no tab", "no such picture: ../../secret.png", "not UTF-8"
    ]  # fmt: skip
    assert evaluated(run, tmp_path / "model", "--data", table)["images"] == 3
    code, out, err = run("evaluate", tmp_path / "model", "--data", table)
    assert code == 0
    assert "character error rate" in out
    assert "cannot read: '\"' 2" in err


def mnist_file(path: Path, spec: ModelSpec) -> None:
    arrays = {}
    for part, count in (("train", 40), ("test", 20)):
        labels = np.arange(count) % 10
        shades = np.array([shade(spec, str(label)) for label in labels], np.uint8)
        noise = np.arange(28) % 2 * (np.arange(count) + (100 if part == "test" else 0))[:, None] % 3
        arrays[f"{part}_x"] = np.clip(shades[:, None, None].astype(int) + noise[:, None, :], 0, 255).astype(np.uint8)
        arrays[f"{part}_x"] = np.broadcast_to(arrays[f"{part}_x"], (count, 28, 28))
        arrays[f"{part}_y"] = labels.astype(np.uint8)
    np.savez(path, **arrays)


def test_a_recipes_data_set_is_read_without_torch_and_its_test_part_measured(tmp_path: Path) -> None:
    spec = write_artifact(tmp_path / "digits", name="digits", polarity="light-on-dark")
    mnist_file(tmp_path / "mnist.npz", spec)
    command = [
        sys.executable,
        "-c",
        WITHOUT_TORCH,
        "evaluate",
        str(tmp_path / "digits"),
        "--data",
        str(tmp_path / "mnist.npz"),
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["images"], found["accuracy"]["value"]) == (20, 1)
    other = write_artifact(tmp_path / "other", labels=("0", "1", "x"))
    assert other.name not in ("digits",)
    command[4] = str(tmp_path / "other")
    refused = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert refused.returncode == 2
    assert "--recipe" in refused.stderr


REFUSED = {
    "no model": (("nothing", "--data", "."), "no folder or model 'nothing'"),
    "no data": (("model", "--data", "nothing"), "no such file or folder"),
    "nothing in it": (("model", "--data", "empty"), "empty is empty"),
    "empty folders": (("model", "--data", "hollow"), "its folders are empty"),
    "foreign folders": (("model", "--data", "foreign"), "no folder is named after a class of three"),
    "no picture that can be read": (("model", "--data", "broken"), "none of 1 pictures can be used"),
    "no recipe": (("model", "--data", "data", "--recipe", "nothing"), "no recipe 'nothing'"),
    "threshold": (("model", "--data", "data", "--threshold", "94"), "threshold"),
    "no artifact": (("data", "--data", "data"), "model.json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_is_wrong_and_exits_with_2(
    name: str, run: Run, letters: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("empty", "hollow/ж", "foreign/cat", "broken/ж"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "foreign" / "cat" / "1.png").write_bytes(picture(0))
    (tmp_path / "broken" / "ж" / "1.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    arguments, says = REFUSED[name]
    code, out, err = run("evaluate", *arguments)
    assert code == 2
    assert says in err
    assert out == ""


def test_without_torch_training_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "train", "digits", "--data", "x.npz"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install -r requirements-train.txt" in done.stderr + done.stdout
