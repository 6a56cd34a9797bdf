"""The `ics` command against the local deployment: what it prints, and its exit status."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.deployment import ROOT, Deployment
from local.control import LocalAws
from stacks.config import load_config
from tests.e2e.harness import Ended

Ics = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def ics(command_environment: dict[str, str]) -> Ics:
    """Run `ics` with these arguments."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            env=command_environment, capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip

    return run


def test_the_demonstration_fails_its_run_on_purpose_explains_it_and_exits_0(
    ics: Ics, finish: Callable[..., Ended]
) -> None:
    done = ics("demo")
    assert done.returncode == 0, done.stderr
    run = done.stdout.partition("Subject: ")[2].partition("run ")[2].split()[0]
    ended = finish(run=run)
    reasons = ended.reasons()
    assert (reasons["truncated.jpg"], reasons["shopping-list.png"]) == ("TruncatedImage", "NotAnImage")
    assert reasons["photo-of-no-digit.jpg"] == "BelowThreshold"
    assert ended.summary["accepted"] >= 20
    assert all(
        row["label"] == row["s3_uri"].rpartition("-")[2].removesuffix(".png")
        for row in ended.rows
        if row["decision"] == "accepted"
    )
    for said in ("Why FAILED?", "ImagesNeedAttention", "33 planned", "Try next", "ics down"):
        assert said in done.stdout


def test_tolerant_mode_exits_0_and_strict_mode_1(ics: Ics, digits_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    sure = str(digits_folder / "0000.png")
    tolerant = ics("classify", sure, str(tmp_path / "text.png"), "--mode", "tolerant", "--json")
    assert (tolerant.returncode, json.loads(tolerant.stdout)["failed"]) == (0, 1)
    strict = ics("classify", sure, str(tmp_path / "text.png"), "--threshold", "0", "--json")
    said = json.loads(strict.stdout)
    assert (strict.returncode, said["status"], said["accepted"], said["failed"]) == (1, "FAILED", 1, 1)
    past = ics(
        "classify", sure, str(tmp_path / "text.png"), "--mode", "tolerant", "--tolerated-percent", "49", "--json"
    )
    assert (past.returncode, json.loads(past.stdout)["status"]) == (1, "FAILED")


def test_start_results_alerts_and_status_tell_of_the_same_run(
    ics: Ics, deployment: Deployment, digits: list[bytes], tmp_path: Path
) -> None:
    deployment.s3.put_object(Bucket=deployment.images_bucket, Key="command/7 seven.png", Body=digits[7])
    request = tmp_path / "input.json"
    request.write_text(json.dumps({"prefix": f"s3://{deployment.images_bucket}/command/", "threshold": 0.0}))
    started = ics("start", "--input", str(request), "--wait", "--json")
    assert started.returncode == 0, started.stderr
    run = json.loads(started.stdout)["run"]
    (row,) = map(json.loads, ics("results", run, "--jsonl").stdout.splitlines())
    assert (row["run"], row["decision"], row["threshold"]) == (run, "accepted", 0.0)
    assert "7 seven.png" in ics("results", run).stdout
    deadline = time.monotonic() + 400  # no more than five mails a minute: others' may have to go first, or with it
    while not (alerts := [one for one in json.loads(ics("alerts", "--json").stdout) if run in one["message"]]):
        assert time.monotonic() < deadline, "no mail tells of the run"
        time.sleep(2)
    assert [alert["to"] for alert in alerts] == ["ops@example.com"]
    assert "all 1 images accepted" in alerts[0]["subject"] + alerts[0]["message"]
    status = json.loads(ics("status", "--json").stdout)
    assert status["models"] == {
        name: "InService" if model.backend == "endpoint" else "without an endpoint"
        for name, model in load_config("local").models.items()
    }
    assert {"run": run, "status": "SUCCEEDED"} in status["runs"]


def test_what_is_not_there_exits_with_2(ics: Ics) -> None:
    unknown = ics("results", "no-such-run")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no run 'no-such-run'" in unknown.stderr


def test_an_environment_that_is_not_deployed_says_how_to_deploy_it(
    aws: LocalAws, command_environment: dict[str, str]
) -> None:
    there = {**command_environment, **aws.environment()}  # an account that is reached, but has no such stacks
    refused = subprocess.run(
        [sys.executable, "-m", "cli", "status", "--env", "dev"],
        env=there, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "make deploy ENV=dev" in refused.stderr


def test_a_request_that_cannot_be_planned_exits_with_1_and_says_why(ics: Ics) -> None:
    refused = ics("start", "--prefix", "s3://no-such-bucket-of-ours/", "--wait")
    assert refused.returncode == 1
    assert "SourceNotFound" in refused.stdout
    as_json = ics("start", "--prefix", "s3://no-such-bucket-of-ours/", "--wait", "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)["planned"]) == (1, 0)
