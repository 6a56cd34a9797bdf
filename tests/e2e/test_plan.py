"""What `ics plan` predicts of a run, held to what a real run asked AWS for."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from boto3.dynamodb.conditions import Attr

from cli.deployment import ROOT, Deployment
from ics.work import MAIL_WRITES
from local.control import LocalAws
from tests.e2e.harness import Ended, packed, state_sizes
from tests.rehearsal import about

KINDS = {"s3:GetObject": "get", "s3:GetObjectVersion": "get", "s3:PutObject": "put", "s3:ListBucket": "list"}
FUNCTIONS = (
    "PlanRun",
    "SerializeImageData",
    "ClassifyImage",
    "FilterLowConfidence",
    "SummarizeRun",
    "MakeContactSheet",
    "StateMachine",
)
IMAGES = 250


def calls(aws: LocalAws) -> Counter[str]:
    """S3 requests so far by kind: those of the pipeline's own roles, without the policy that a function keeps."""
    counted: Counter[str] = Counter()
    for call in about(aws, "calls")["calls"]:
        own = any(name in call["principal"] for name in FUNCTIONS) or "ClassifyImages" in call["principal"]
        missing = call["action"] == "s3:ListBucket" and "images" not in call["resource"]  # of a GET that found nothing
        if own and call["action"] in KINDS and not missing and not call["resource"].endswith("/policy.json"):
            counted[KINDS[call["action"]]] += call["count"]
    return counted


def noted(deployment: Deployment, run: str) -> int:
    """Items of the table that lead to a row of this run."""
    table = deployment.session.resource("dynamodb", endpoint_url=deployment.endpoint_url).Table(deployment.table)
    found, more = 0, {}
    while True:
        page = table.scan(FilterExpression=Attr("rows").contains(f"/run={run}/"), **more)
        found += page["Count"]
        if "LastEvaluatedKey" not in page:
            return found
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def planned(source: str, environment: dict[str, str], *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cli", "plan", source, "--json", "--env", "local", *options],
        env=environment, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip


def plan(source: str, environment: dict[str, str], *options: str) -> dict[str, Any]:
    done = planned(source, environment, *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_requests_and_batches_and_states_of_a_run_are_those_that_were_predicted(
    aws: LocalAws,
    deployment: Deployment,
    command_environment: dict[str, str],
    put: Callable[[str, bytes], str],
    finish: Callable[..., Ended],
    digits: list[bytes],
) -> None:
    for number in range(IMAGES):
        key = put(f"{number:03}.png", digits[number])
    source = f"s3://{deployment.images_bucket}/{key.rpartition('/')[0]}/"
    predicted = plan(source, command_environment, "--doubted-percent=100")
    before = calls(aws)
    # each image needs a person, so that the contact sheet is full, as is predicted
    ended = finish({"prefix": source, "mode": "tolerant", "tolerated_percent": 100, "threshold": 1.0})
    made = calls(aws) - before
    # Each of at most three FilterLowConfidence at once reads the policy; PlanRun writes its copy.
    expected = {**predicted["s3"], "get": predicted["s3"]["get"] - 3, "put": predicted["s3"]["put"] - 1}
    assert made == expected
    # Of each of three batches the fifty worst wait for reviewers, in two items each; the rest is the mail's.
    assert predicted["table"]["writes"] - MAIL_WRITES == noted(deployment, ended.run) == 3 * 50 * 2
    assert (predicted["images"], predicted["batches"]) == (IMAGES, ended.summary["batches"])
    assert state_sizes(aws)[ended.execution["executionArn"]]["bytes"] <= predicted["largest_state_bytes"]


def test_shards_are_counted_and_cut_as_a_run_does_it_what_is_wrong_with_them_too(
    deployment: Deployment,
    command_environment: dict[str, str],
    put: Callable[[str, bytes], str],
    finish: Callable[..., Ended],
    digits: list[bytes],
) -> None:
    for shard in range(2):
        files = [(f"{number}.png", digits[number]) for number in range(120)]
        content = packed([*files, ("labels.txt", b"7")])
        key = put(f"{shard}.tar", content if shard else content.rstrip(b"\0"))  # one is cut before its end mark
    put("empty.tar", packed([("labels.txt", b"7")]))
    put("packed.tar.gz", b"x")
    put("single.png", digits[0])
    source = f"s3://{deployment.images_bucket}/{key.rpartition('/')[0]}/"
    found = plan(source, command_environment)
    summary = finish({"prefix": source}).summary
    assert summary["reasons"]["BrokenShard"] == summary["reasons"]["EmptyShard"] == 1
    assert (found["images"], found["batches"]) == (summary["planned"], summary["batches"])
    assert found["images"] == 2 * 120 + 1 + 3
    assert found["s3"]["get"] < 60  # not one an image


@pytest.mark.parametrize("bucket", ["working_bucket", "results_bucket"])
def test_what_a_run_would_refuse_is_refused_by_the_same_name(
    bucket: str, deployment: Deployment, command_environment: dict[str, str], put: Callable[[str, bytes], str]
) -> None:
    own = f"s3://{getattr(deployment, bucket)}/x.png"
    manifest = put("list.csv", f"bucket,key\n{getattr(deployment, bucket)},x.png\n".encode())
    for source in (own, f"s3://{deployment.images_bucket}/{manifest}"):
        done = planned(source, command_environment)
        assert (done.returncode, done.stdout) == (2, "")
        assert "SourceUnsafe" in done.stderr
