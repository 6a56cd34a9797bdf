"""Quarantine: hidden from all but reviewers, released by a command that writes down who and why; and labels as tags."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from cli.deployment import Deployment
from cli.main import app
from ics import paths
from ics.digest import ADVICE
from local.control import ACCOUNT, LocalAws
from tests.e2e.harness import Ended, policy_of

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]


@pytest.fixture
def ics(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.setenv("ICS_STATE", str(aws.state))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda line: CliRunner().invoke(app, shlex.split(line))


def policy(label: str) -> bytes:
    return f'threshold = 0.0\ntag_accepted = true\n[labels."{label}"]\nquarantine = true\n'.encode()


def tags(deployment: Deployment, key: str) -> dict[str, str]:
    found = deployment.s3.get_object_tagging(Bucket=deployment.images_bucket, Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


def test_a_quarantined_image_is_hidden_until_a_reviewer_releases_it(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes], ics: Callable[[str], Any]
) -> None:
    keys = [put(f"{n} & co.png", digits[n]) for n in (0, 1)]
    place = {"Bucket": deployment.images_bucket, "Key": keys[0]}
    deployment.s3.put_object_tagging(**place, Tagging={"TagSet": [{"Key": "owner", "Value": "<a> & b"}]})
    images = {"images": [f"s3://{deployment.images_bucket}/{key}" for key in keys]}
    uri = images["images"][0]
    with policy_of(deployment, policy("0")):
        ended = finish(images)
        assert [(row["label"], row["decision"], row["reason"]) for row in ended.rows] == [
            ("0", "flagged", "Quarantined"),
            ("1", "accepted", None),
        ]
        assert tags(deployment, keys[0]) == {"owner": "<a> & b", "ics-quarantine": "true"}
        assert tags(deployment, keys[1]) == {"ics-label": "1"}
        with pytest.raises(ClientError, match="AccessDenied"):
            deployment.s3.get_object(**place)
        with pytest.raises(ClientError, match="AccessDenied"):
            deployment.s3.delete_object_tagging(**place)

        again = finish(images)  # the model does not see it either; nor does the rest of the run suffer
        assert [row["reason"] for row in again.rows] == ["AccessDenied", None]
        assert all("is it in quarantine" in ADVICE[reason] for reason in again.summary["reasons"])

    listed = json.loads(ics("quarantine list --json").stdout)
    (entry,) = (one for one in listed if one["s3_uri"] == uri)
    row = ended.rows[0]
    assert {name: entry[name] for name in ("image_id", "version", "label", "run", "policy")} == {
        name: row[name] for name in ("image_id", "version", "label", "run", "policy")
    }
    refused = ics(f"quarantine release '{uri}' --because ' '")
    assert refused.exit_code == 2
    assert tags(deployment, keys[0])["ics-quarantine"] == "true"

    released = ics(f"quarantine release '{uri}' --because 'a toy, see ticket 12' --json")
    assert released.exit_code == 0, released.output
    assert deployment.s3.get_object(**place)["Body"].read() == digits[0]
    assert tags(deployment, keys[0]) == {"owner": "<a> & b"}
    (kept,) = deployment.s3.list_objects_v2(
        Bucket=deployment.results_bucket, Prefix=f"audit/quarantine/{row['image_id']}/"
    )["Contents"]
    record = json.loads(deployment.s3.get_object(Bucket=deployment.results_bucket, Key=kept["Key"])["Body"].read())
    assert record == json.loads(released.stdout)
    assert (record["released_by"], record["because"]) == (f"arn:aws:iam::{ACCOUNT}:root", "a toy, see ticket 12")
    assert (record["version"], record["s3_uri"]) == (row["version"], uri)
    assert uri not in ics("quarantine list --json").stdout
    twice = ics(f"quarantine release '{uri}' --because 'once more'")
    assert "is not in quarantine" in str(twice.exception)


def test_an_image_that_cannot_be_hidden_is_said_so_and_others_are_not_affected(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    full, good, gone = (put(name, digits[0]) for name in ("full.png", "good.png", "gone.png"))
    ten = {"TagSet": [{"Key": f"own-{number}", "Value": ""} for number in range(10)]}  # S3 allows no more
    deployment.s3.put_object_tagging(Bucket=deployment.images_bucket, Key=full, Tagging=ten)
    images = {"images": [f"s3://{deployment.images_bucket}/{key}" for key in (full, good, gone)]}
    with policy_of(deployment, policy("0")):
        ended = finish(images)
        assert ended.reasons() == {
            "full.png": "QuarantineFailed", "good.png": "Quarantined", "gone.png": "Quarantined",
        }  # fmt: skip
        failed = next(row for row in ended.rows if row["reason"] == "QuarantineFailed")
        assert (failed["decision"], failed["label"]) == ("failed", "0")

        _delete(deployment, gone)
        (line,) = deployment.s3.get_object(Bucket=deployment.working_bucket, Key=paths.plan(ended.run))["Body"]
        event = {
            **json.loads(line)["batches"][0], "started": ended.summary["started"], "model": "digits", "threshold": 0.0,
            "policy": ended.summary["policy"], "attempt": 0, "skip_classified": False, "staged": {"bodies": 1},
        }  # fmt: skip
    functions = deployment.session.client("lambda", endpoint_url=deployment.endpoint_url)
    answer = functions.invoke(FunctionName="ics-local-filter-low-confidence", Payload=json.dumps(event))
    assert json.loads(answer["Payload"].read()) == {"images": 3}
    receipt = deployment.s3.get_object(Bucket=deployment.working_bucket, Key=paths.receipt(ended.run, 0))
    reasons = json.loads(receipt["Body"].read())["reasons"]
    assert reasons == {"QuarantineFailed": 1, "Quarantined": 2}  # what is gone needs no hiding; the rest is done again


def _delete(deployment: Deployment, key: str) -> None:
    """Delete an object with all its versions, as its owner may, in quarantine or not."""
    found = deployment.s3.list_object_versions(Bucket=deployment.images_bucket, Prefix=key)
    for one in found["Versions"]:
        deployment.s3.delete_object(Bucket=deployment.images_bucket, Key=key, VersionId=one["VersionId"])


def test_an_accepted_image_that_cannot_be_tagged_is_said_so(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    key = put("full.png", digits[1])
    ten = {"TagSet": [{"Key": f"own-{number}", "Value": ""} for number in range(10)]}
    deployment.s3.put_object_tagging(Bucket=deployment.images_bucket, Key=key, Tagging=ten)
    with policy_of(deployment, policy("0")):
        ended = finish({"images": [f"s3://{deployment.images_bucket}/{key}"]})
    assert [(row["decision"], row["reason"], row["label"]) for row in ended.rows] == [("failed", "TagFailed", "1")]


def test_the_examples_of_help_name_what_runs(ics: Callable[[str], Any]) -> None:
    for command in ("quarantine list", "quarantine release", "policy show", "policy check", "policy set"):
        assert f"Example: ics {command}" in " ".join(ics(f"{command} --help").stdout.replace("`", "").split())
