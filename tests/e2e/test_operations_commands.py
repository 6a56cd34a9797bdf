"""The commands for whoever operates ICS, against the local deployment; and the example in every command's help, run."""

import json
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from botocore.exceptions import ClientError
from sklearn.datasets import load_digits
from typer.main import get_command

from cli import runs, stopping
from cli.deployment import ROOT, Deployment
from cli.main import app
from ics import paths
from ics.summary import STOPPED
from local import control
from tests.e2e.harness import Ended, hold, published
from tests.rehearsal import about, set_faults

Shell = Callable[..., "subprocess.CompletedProcess[str]"]
EXAMPLES = {
    name: (re.search(r"Example: `(.+)`", command.help or "") or [""])[1]
    for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
    if not hasattr(command, "commands")  # a group's examples are run where its commands are tested
}
RUN = "classify-20260721-101500-3f9a1c"
START = "import sys; sys.argv[0] = 'ics'; from cli.main import main; main()"
"""`ics` as a program that knows its own name, as completion needs it."""

EXITS = {"classify": 0, "start": 1, "watch": 1, "stop": 1, "resume": 1}
"""How the examples end that do not end with 0 anyway: the demonstration's run failed, on purpose."""


@pytest.fixture(scope="module")
def shell(aws: control.LocalAws, command_environment: dict[str, str]) -> Shell:
    """Run a command line in a shell that has `ics`, in a folder, 80 columns wide."""

    def run(line: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
        ics = f'ics() {{ {shlex.quote(sys.executable)} -m cli "$@"; }}; '
        there = {**command_environment, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment}
        return subprocess.run(
            ["bash", "-c", ics + line], env=there, capture_output=True, text=True, check=False, cwd=cwd
        )

    return run


@pytest.fixture(scope="module")
def demonstrated(shell: Shell) -> str:
    """The run of the demonstration, which is its own command's example."""
    done = shell(EXAMPLES["demo"])
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("Subject: ")[2].partition("run ")[2].split()[0]


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"down", "demo"}))
def test_the_example_of_each_help_text_runs(
    name: str, shell: Shell, demonstrated: str, deployment: Deployment, digits: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for place, digit in (("photos/seven.png", 7), ("scan.png", 0)):
        (tmp_path / place).write_bytes(digits[digit])
    (tmp_path / "labels.jsonl").write_text('{"s3_uri": "s3://my-bucket/boot.jpg", "label": "boot"}\n')
    if name in ("train", "evaluate"):
        pytest.importorskip("torch", reason="training needs torch: pip install -r requirements-train.txt")
        _write_mnist(tmp_path / "mnist.npz")
    example = EXAMPLES[name]
    assert re.match(rf"ics {name}\b", example)
    line = (
        example.replace("--env dev", "--env local")
        .replace("/tmp/", f"{tmp_path}/made/")
        .replace(RUN, demonstrated)
        .replace("s3://my-bucket/incoming/2026/", f"s3://{deployment.images_bucket}/uploads/{demonstrated}/")
    )
    if name == "resume":  # a run of its own, so that the demonstration's stays as it is
        (tmp_path / "photos/list.png").write_bytes(b"milk, bread")
        asked = shell("ics classify photos --json", cwd=tmp_path)
        line = line.replace(demonstrated, json.loads(asked.stdout)["run"])
    before = set(runs.names(deployment))
    done = shell(line, cwd=tmp_path)
    assert done.returncode == EXITS.get(name, 0), done.stderr
    deadline = time.monotonic() + 400  # no more than five mails a minute: others' may have to go first
    while name == "alerts" and demonstrated not in done.stdout and time.monotonic() < deadline:
        done = shell(line, cwd=tmp_path)
    started = set(runs.names(deployment)) - before
    assert len(started) == (name in ("classify", "start", "resume"))
    for run in started:
        summary = runs.summary(deployment, run)
        assert summary is not None
        assert summary["planned"] == {"classify": 2, "start": 33, "resume": 2}[name]
    if ">" in line:
        assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 33
    elif name in ("train", "evaluate"):
        written = {"train": "card.md", "evaluate": "mistakes.png"}[name]
        assert (tmp_path / "made" / "digits" / written).is_file()
    elif name in ("watch", "stop", "runs", "alerts", "logs", "status"):
        assert (demonstrated if name != "logs" else "planned=33") in done.stdout


def _write_mnist(path: Path) -> None:
    """A data set in MNIST's form: scikit-learn's digits, in the middle of 28 x 28 pixels."""
    small = load_digits()
    pictures = np.pad(np.kron(small.images, np.ones((2, 2))) * (255 / 16), ((0, 0), (6, 6), (6, 6))).astype(np.uint8)
    arrays = {}
    for part, rows in (("train", slice(0, 300)), ("test", slice(300, 400))):
        arrays |= {f"{part}_x": pictures[rows], f"{part}_y": small.target[rows].astype(np.uint8)}
    np.savez(path, **arrays)


def test_the_example_of_down_ends_the_local_aws_of_its_state(shell: Shell, tmp_path: Path) -> None:
    running = control.start(tmp_path / "ics")
    try:
        assert shell(EXAMPLES["down"], ICS_STATE=str(tmp_path / "ics")).returncode == 0
        assert control.status(tmp_path / "ics") is None
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(running.endpoint_url, timeout=5)
    finally:
        control.stop(tmp_path / "ics")


@pytest.mark.parametrize("line", ["ics runs", "ics results RUN", "ics status --json", "ics doctor", "ics --help"])
def test_tables_are_readable_at_80_columns(line: str, shell: Shell, demonstrated: str) -> None:
    done = shell(line.replace("RUN", demonstrated))
    assert done.returncode == 0, done.stderr
    tables = [text for text in done.stdout.splitlines() if not text.startswith(("{", "✓", "!", "Images"))]
    assert all(len(text) <= 80 for text in tables if "s3://" not in text)
    assert "…" not in done.stdout


def test_a_doctor_finds_nothing_wrong_here_and_says_what_is(
    shell: Shell, aws: control.LocalAws, deployment: Deployment
) -> None:
    healthy = json.loads(shell("ics doctor --json").stdout)
    assert {check["level"] for check in healthy} == {"ok"}
    names = {check["name"] for check in healthy}
    assert names >= {"Python", "packages", "Node", "CDK CLI", "loopback", "ics-local-pipeline", "ics-local-digits"}
    (email,) = (
        one["SubscriptionArn"]
        for one in deployment.sns.list_subscriptions_by_topic(TopicArn=deployment.mail_topic)["Subscriptions"]
        if one["Protocol"] == "email"
    )
    deployment.sns.unsubscribe(SubscriptionArn=email)
    try:
        ill = shell("ics doctor --json")
    finally:
        deployment.sns.subscribe(TopicArn=deployment.mail_topic, Protocol="email", Endpoint="ops@example.com")
    assert ill.returncode == 2
    (found,) = (check for check in json.loads(ill.stdout) if check["level"] != "ok")
    assert (found["level"], found["found"]) == ("problem", "ops@example.com is not subscribed")


def test_runs_are_listed_newest_first_with_their_counts(shell: Shell, demonstrated: str) -> None:
    listed = json.loads(shell("ics runs --json --most 100").stdout)
    assert [run["started"] for run in listed] == sorted((run["started"] for run in listed), reverse=True)
    (one,) = (run for run in listed if run["run"] == demonstrated)
    assert (one["status"], one["planned"], one["failed"]) == ("FAILED", 33, 2)
    assert one["source"] == "command"
    assert len(json.loads(shell("ics runs --json --most 1").stdout)) == 1


def test_logs_tell_of_this_run_alone_in_order_and_of_every_function(
    shell: Shell, demonstrated: str, digits_folder: Path
) -> None:
    other = json.loads(shell(f"ics classify {shlex.quote(str(digits_folder / '0000.png'))} --json").stdout)["run"]
    said = [json.loads(line) for line in shell(f"ics logs {demonstrated} --jsonl").stdout.splitlines()]
    lines = [line for line in said if line["function"] != "pace-mail"]  # which mails of many runs, when it may
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    functions = [
        "plan-run",
        "serialize-image-data",
        "classify-image",
        "filter-low-confidence",
        "summarize-run",
        "make-contact-sheet",
    ]
    assert list(dict.fromkeys(line["function"] for line in lines)) == functions
    assert {line["run"] for line in lines} == {demonstrated} != {other}


def test_a_misspelt_run_or_command_is_told_what_is_close(shell: Shell, demonstrated: str) -> None:
    unknown = shell(f"ics logs {demonstrated[:-1]}")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert demonstrated in unknown.stderr
    assert "'logs'" in shell("ics lgos").stderr


def test_a_shell_completes_commands_environments_and_runs(shell: Shell, demonstrated: str, tmp_path: Path) -> None:
    def complete(words: str, **environment: str) -> list[str]:
        asked = {"_ICS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = shell(f'{shlex.quote(sys.executable)} -c "{START}"', **asked, **environment)
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("ics stat") == ["status"]
    assert complete("ics runs --env st") == ["staging"]
    assert complete(f"ics stop {demonstrated[:-3]}") == [demonstrated]
    assert complete("ics stop cl", ICS_STATE=str(tmp_path)) == []
    script = f'{shlex.quote(sys.executable)} -c "{START}" --show-completion bash; true'  # bash must stay
    assert "_ICS_COMPLETE=complete_bash" in shell(script).stdout


def test_a_run_that_is_stopped_midway_adds_up_tells_once_and_leaves_nothing_running(
    shell: Shell, aws: control.LocalAws, deployment: Deployment, digits_folder: Path
) -> None:
    run = runs.new_run("stopped")
    pictures, _ = runs.find_pictures([digits_folder])
    prefix = runs.upload(deployment, run, pictures, lambda: None)
    set_faults(aws, "ics-local-digits", {"kind": "slow", "seconds": 8, "times": 1000})
    try:
        runs.start(deployment, run, {"prefix": prefix})
        midway = next(now for now in runs.follow(deployment, run, every=0.05) if now.done)
        assert midway.done < midway.total == 3  # children of the Map, of four batches each
        stopped = shell(f"ics stop {run} --json")
    finally:
        set_faults(aws, "ics-local-digits")
    said = json.loads(stopped.stdout)
    assert (stopped.returncode, said["status"], said["planned"]) == (1, "FAILED", 1000), stopped.stderr

    summary, execution = runs.summary(deployment, run), runs.describe(deployment, run)
    assert summary is not None
    assert (execution["status"], execution["error"], summary["error"]) == ("ABORTED", STOPPED, STOPPED)
    rows = list(runs.rows(deployment, summary))
    hold(Ended(run, {**execution, "status": summary["status"]}, summary, rows), aws, deployment)
    lost = [row for row in rows if row["reason"] == "BatchLost"]
    assert summary["reasons"]["BatchLost"] == len(lost) == said["failed"]
    assert set(Counter(row["batch"] for row in lost).values()) == {100}  # batches are lost whole
    assert 0 < len(lost) < 1000

    images = runs.map_run(deployment, run)
    assert images is not None
    assert (images["status"], images["itemCounts"]["running"], images["itemCounts"]["pending"]) == ("ABORTED", 0, 0)
    working = {worker["function"] for worker in about(aws, "lambda-workers") if worker["in_use"]}
    assert working <= {"ics-local-pace-mail"}  # which may be mailing that very digest

    again = shell(f"ics stop {run}")  # changes nothing, and tells nobody
    assert (again.returncode, "nothing left to stop" in again.stderr) == (1, True)
    assert len(published(aws, f"digest/{run}")) == 1
    assert runs.summary(deployment, run) == summary

    # Whoever stops the run while a resume of it works means the resume.
    set_faults(aws, "ics-local-digits", {"kind": "slow", "seconds": 8, "times": 1000})
    try:
        resumed = f"{run}-resume-1"
        runs.start(deployment, resumed, {"resume": run})
        next(now for now in runs.follow(deployment, resumed, every=0.05) if now.total)
        stopped = shell(f"ics stop {run} --json")
    finally:
        set_faults(aws, "ics-local-digits")
    assert runs.describe(deployment, resumed)["status"] == "ABORTED"
    summary = runs.summary(deployment, run)
    assert summary is not None
    assert (summary["attempt"], summary["error"], summary["planned"]) == (1, STOPPED, 1000), stopped.stderr
    assert summary["failed"] <= len(lost)
    assert len(published(aws, f"digest/{resumed}")) == 1

    # And once a resume has finished it, a stop of any earlier attempt takes nothing back.
    finished = shell(f"ics resume {run} --json")
    assert json.loads(finished.stdout)["failed"] == 0, finished.stderr
    whole = runs.summary(deployment, run)
    assert whole is not None
    assert (whole["attempt"], whole["planned"], whole["failed"]) == (2, 1000, 0)
    for name in (run, resumed):
        assert "nothing left to stop" in shell(f"ics stop {name}").stderr
    entered = dict(stopping._entered(deployment, run))
    with pytest.raises(stopping.NotSummarized, match="RunResumed"):
        stopping._summarize(deployment, execution, entered["WhatIsLeft"])
    assert runs.summary(deployment, run) == whole
    rows = list(runs.rows(deployment, whole))
    assert Counter(row["reason"] for row in rows)["BatchLost"] == 0
    assert len(published(aws, f"digest/{run}")) == 1


def test_a_run_that_is_stopped_before_it_is_planned_has_a_summary_and_a_digest(
    shell: Shell, aws: control.LocalAws, deployment: Deployment, demonstrated: str
) -> None:
    run = runs.new_run("stopped")
    runs.start(deployment, run, {"prefix": f"s3://{deployment.images_bucket}/uploads/{demonstrated}/"})
    # As somebody stops it in the console: the summary is still to be made.
    deployment.states.stop_execution(executionArn=runs.execution_arn(deployment, run))
    with pytest.raises(ClientError):
        deployment.s3.head_object(Bucket=deployment.results_bucket, Key=paths.summary(run))
    stopped = shell(f"ics stop {run} --json")
    assert (stopped.returncode, json.loads(stopped.stdout)["planned"]) == (1, 0), stopped.stderr
    (told,) = published(aws, f"digest/{run}")
    assert STOPPED in (told.subject or "")
