"""`ics` without a deployment: which pictures are taken, what refusals say, an example in every help text."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli import main, runs, show
from cli.demo import DIGITS, write_pictures
from cli.main import app
from ics.artifact import InputSpec
from ics.errors import ImageError
from ics.imaging import prepare

COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder in which nothing runs."""
    monkeypatch.setenv("ICS_STATE", str(tmp_path / "ics"))


def test_pictures_are_taken_by_ending_in_folders_and_always_when_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG", "notes.txt", "deep/c.webp", "scan"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    pictures, skipped = runs.find_pictures([tmp_path / "in", tmp_path / "in" / "scan"])
    assert (sorted(pictures), skipped) == (["in/a.png", "in/b.JPG", "in/deep/c.webp", "scan"], 2)


def test_equal_names_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder / "same").mkdir(parents=True)
        (tmp_path / folder / "same" / "1.png").write_bytes(folder.encode())
    pictures, _ = runs.find_pictures(
        [tmp_path / "x" / "same", tmp_path / "y" / "same", tmp_path / "x" / "same" / "1.png"]
    )
    assert sorted(path.read_bytes() for path in pictures.values()) == [b"x", b"x", b"y"]


def test_rows_that_need_a_person_come_first_and_zero_is_a_label() -> None:
    decided = [("accepted", 0.99), ("uncertain", 0.5), ("failed", None), ("uncertain", 0.0), ("flagged", 0.9)]
    rows: list[dict[str, Any]] = [
        {
            "decision": decision,
            "confidence": confidence,
            "label": "0",
            "reason": None,
            "s3_uri": f"s3://b/{n}",
            "run": "r",
        }
        for n, (decision, confidence) in enumerate(decided)
    ]
    ordered = runs.worst_first(rows)
    assert [row["decision"] for row in ordered] == ["flagged", "failed", "uncertain", "uncertain", "accepted"]
    assert [row["confidence"] for row in ordered][2:4] == [0.0, 0.5]
    with show.out.capture() as shown:
        show.images(ordered)
    assert re.search(r"uncertain\s+0\s+0\.000", shown.get())


def test_a_run_name_is_one_that_step_functions_takes() -> None:
    names = {runs.new_run("classify") for _ in range(50)}
    assert len(names) == 50
    assert all(re.fullmatch(r"[a-z0-9-]{1,80}", name) for name in names)


@pytest.mark.parametrize(
    ("name", "request_", "source"),
    [
        ("event-20260721-101500-3f9a1c0b7d2e", {"manifest": "s3://b/m.jsonl"}, "event"),
        ("api-20260721-101500-3f9a1c", {"prefix": "s3://b/p"}, "api"),
        ("classify-20260721-101500-3f9a1c", {"prefix": "s3://b/p"}, "command"),
        ("start-20260721-101500-3f9a1c", {"prefix": "s3://b/p"}, "command"),
        ("api-20260721-101500-3f9a1c", {"resume": "old"}, "resume"),
        ("old-resume-1", {"resume": "old"}, "resume"),
        ("old-resume-1", {"prefix": "s3://b/p"}, "console"),  # a name that somebody chose says nothing
        ("0b7d2e3f-9a1c-4d2e-8f00-3f9a1c0b7d2e", {"resume": "old"}, "resume"),
        ("0b7d2e3f-9a1c-4d2e-8f00-3f9a1c0b7d2e", {"prefix": "s3://b/p"}, "console"),
        ("event-of-the-year", [], "console"),
        ("my-api-20260721-101500-3f9a1c", {"resume": 7}, "console"),
    ],
)
def test_what_started_a_run_follows_from_its_name_and_its_request(name: str, request_: object, source: str) -> None:
    assert runs.source_of(name, lambda: {"input": json.dumps(request_)}) == source


def test_of_runs_of_events_nothing_more_is_asked() -> None:
    def never() -> dict[str, Any]:
        raise AssertionError("asked")

    assert runs.source_of("event-20260721-101500-3f9a1c0b7d2e", never) == "event"


def test_a_list_of_runs_says_what_started_each_and_keeps_names_whole_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "out", Console(highlight=False, width=80))
    names = {"event-20260721-101500-3f9a1c0b7d2e": "event", "classify-20260721-101500-3f9a1c": "command"}
    at = {"status": "SUCCEEDED", "started": "2026-07-21T10:15:00+00:00"}
    counts = {"planned": 99_999, "accepted": 0}
    found = [{"run": name, "source": source, **at, **counts} for name, source in names.items()]
    large = [
        {"run": "x" * 80, "source": "console", **at, "planned": 40_000_000, "accepted": 39_876_543},
        {"run": "y", "source": "console", **at, "planned": 1_234_567, "accepted": 1_234_000},
    ]
    show.runs([*found, *large])
    lines = capsys.readouterr().out.splitlines()
    for name, source in names.items():
        wanted = [name, source, "SUCCEEDED", "07-21", "10:15", "99,999/99,999"]
        assert any(line.split() == wanted for line in lines), lines
    assert [line.split()[-1] for line in lines if "console" in line] == ["123k/40M", "567/1.2M"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert f"ics {command}" in shown.output.partition("Example:")[2]


REFUSED = {
    "not running": (["status"], "ics up"),
    "no such environment": (["status", "--env", "nowhere"], "dev, local, prod, staging"),
    "no such path": (["classify", "/no/such/folder"], "does not exist"),
    "threshold": (["classify", ".", "--threshold", "94"], "threshold"),
    "mode": (["classify", ".", "--mode", "loose"], "strict"),
    "no source": (["start"], "exactly one"),
    "two sources": (["start", "--prefix", "s3://b/p", "--manifest", "s3://b/m.csv"], "exactly one"),
    "not JSON": (["start", "--input", "Makefile"], "--input"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_to_do_and_exits_with_2(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, says = REFUSED[name]
    monkeypatch.setattr("sys.argv", ["ics", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    refused = CliRunner().invoke(app, ["classify", str(tmp_path)])
    assert refused.exit_code == 2
    assert "no picture" in refused.output


def test_down_without_anything_running_is_no_error() -> None:
    done = CliRunner().invoke(app, ["down"])
    assert (done.exit_code, done.output.strip()) == (0, "ICS was not running.")


def test_the_demonstration_writes_digits_and_files_that_are_none(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    write_pictures(tmp_path)  # again changes nothing
    spec = InputSpec("image", 28, 28, "grey", "light-on-dark")
    readable = []
    for path in sorted(tmp_path.iterdir()):
        try:
            prepare(path.read_bytes(), spec)
        except ImageError:
            continue
        readable.append(path.name)
    assert len(readable) == DIGITS + 1
    assert {path.name for path in tmp_path.iterdir()} - set(readable) == {"truncated.jpg", "shopping-list.png"}
    digits = {name.rpartition("-")[2] for name in readable if name.startswith("digit")}
    assert digits == {f"{digit}.png" for digit in range(10)}
