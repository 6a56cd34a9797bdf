"""The routing policy: set without a deployment, followed from the next run on, its version in each row."""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.deployment import Deployment
from cli.main import app
from ics import paths
from ics.policy import EMPTY, parse_policy
from local.control import LocalAws
from tests.e2e.harness import Ended

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]
Ics = Callable[..., Any]


@pytest.fixture
def ics(aws: LocalAws, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ics]:
    """The command, in this process; the environment has no policy before and after a test."""
    monkeypatch.setenv("ICS_STATE", str(aws.state))
    monkeypatch.setenv("COLUMNS", "200")
    yield lambda line: CliRunner().invoke(app, shlex.split(line))
    deployment.s3.delete_object(Bucket=deployment.results_bucket, Key=paths.POLICY)


@pytest.fixture
def images(deployment: Deployment, put: Put, digits: list[bytes]) -> dict[str, list[str]]:
    """Three uploaded digits."""
    return {"images": [f"s3://{deployment.images_bucket}/{put(f'{n}.png', digits[n])}" for n in range(3)]}


def test_a_policy_is_followed_by_the_next_run_without_a_deployment(
    ics: Ics, images: dict[str, list[str]], finish: Finish, tmp_path: Path
) -> None:
    before = finish({**images, "threshold": 0.0})
    assert {row["policy"] for row in before.rows} == {EMPTY.version}
    assert before.summary["accepted"] == 3
    first, second, third = (row["label"] for row in before.rows)
    assert len({first, second, third}) == 3

    file = tmp_path / "policy.toml"
    file.write_text(
        f'threshold = 0.0\n[labels."{first}"]\nwatch = true\n'
        f'[models.digits.labels."{second}"]\nthreshold = 1.0\n[models.products]\nthreshold = 1.0\n'
    )
    policy = parse_policy(file.read_bytes())
    told = ics(f"policy set {file}")
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        f"+ labels.{_key(first)}.watch = true",
        f"+ models.digits.labels.{_key(second)}.threshold = 1.0",
        "+ models.products.threshold = 1.0",
        "+ threshold = 0.0",
        f"Set. Version {policy.version}",
    ]
    after = finish(images)
    assert {row["policy"] for row in after.rows} == {after.summary["policy"]} == {policy.version}
    assert [(row["decision"], row["reason"], row["threshold"]) for row in after.rows] == [
        ("flagged", "WatchedLabel", 0.0),
        ("uncertain", "BelowThreshold", 1.0),
        ("accepted", None, 0.0),
    ]
    asked = finish({**images, "threshold": 1.0})  # the request outweighs the policy's global threshold
    assert [row["threshold"] for row in asked.rows] == [1.0, 1.0, 1.0]
    shown = json.loads(ics("policy show --json").stdout)
    assert shown == {"version": policy.version, "policy": policy.table}


def test_a_batch_that_comes_late_follows_the_policy_of_its_run(
    deployment: Deployment, ics: Ics, images: dict[str, list[str]], finish: Finish, tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_text("threshold = 0.0")
    assert ics(f"policy set {tmp_path / 'policy.toml'}").exit_code == 0
    ended = finish(images)
    (tmp_path / "policy.toml").write_text("threshold = 1.0")
    assert ics(f"policy set {tmp_path / 'policy.toml'}").exit_code == 0
    functions = deployment.session.client("lambda", endpoint_url=deployment.endpoint_url)
    row = ended.rows[0]
    (plan,) = deployment.s3.get_object(Bucket=deployment.working_bucket, Key=paths.plan(ended.run))["Body"].readlines()
    batch = {
        **json.loads(plan)["batches"][0], "started": ended.summary["started"], "model": "digits",
        "threshold": row["threshold"], "policy": row["policy"], "attempt": 0, "skip_classified": False,
        "staged": {"bodies": 1},
    }  # fmt: skip
    again = functions.invoke(FunctionName="ics-local-filter-low-confidence", Payload=json.dumps(batch))
    assert json.loads(again["Payload"].read()) == {"images": 3}
    receipt = deployment.s3.get_object(Bucket=deployment.working_bucket, Key=paths.receipt(ended.run, 0))
    assert json.loads(receipt["Body"].read())["accepted"] == ended.summary["accepted"] == 3


def test_a_policy_that_is_not_valid_changes_nothing(ics: Ics, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    for text, problem in (
        ("treshold = 0.9", "unknown key treshold"),
        ("[models.nobody]\nthreshold = 0.9", "models.nobody: environment 'local' has no such model; it has: digits"),
    ):
        file.write_text(text)
        for command in ("check", "set"):
            refused = ics(f"policy {command} {file}")
            assert refused.exit_code != 0
            assert problem in str(refused.exception)
    assert "There is no policy" in ics("policy show").stdout
    assert ics(f"policy set {tmp_path / 'nowhere.toml'}").exit_code == 2


def test_labels_that_no_model_answers_are_told(ics: Ics, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[models.digits.labels."7"]\nwatch = true\n[models.digits.labels."seven"]\nwatch = true\n')
    assert json.loads(ics(f"policy check {file} --json").stdout)["unanswered"] == ['models.digits.labels."seven"']
    file.write_text('[labels."seven"]\nwatch = true\n')
    assert json.loads(ics(f"policy check {file} --json --env dev").stdout)["unanswered"] == ['labels."seven"']


def test_a_run_under_a_policy_that_was_put_there_broken_fails_and_says_why(
    deployment: Deployment, ics: Ics, images: dict[str, list[str]], finish: Finish
) -> None:
    deployment.s3.put_object(Bucket=deployment.results_bucket, Key=paths.POLICY, Body=b"threshold = 94")
    ended = finish(images)
    assert (ended.execution["error"], ended.summary["planned"]) == ("InvalidPolicy", 0)
    assert "threshold is 94" in ended.summary["cause"]


def _key(label: str) -> str:
    """A label as a key of TOML."""
    return json.dumps(label)
