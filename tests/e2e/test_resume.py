"""A run that was disturbed and resumed has the rows of one that was not, and pays for no image twice."""

import hashlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from cli import resuming, runs, stopping
from cli.deployment import Deployment
from ics import paths
from ics.capture import read_captured
from local import outbox
from local.control import LocalAws
from tests.e2e.harness import Ended
from tests.rehearsal import about, set_faults

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]
Break = Callable[..., None]

CHILDREN = ("ics-local-serialize-image-data", "ics-local-classify-image", "ics-local-filter-low-confidence")
TRANSIENT = ("EndpointUnavailable", "EndpointThrottled", "BatchLost", "Runtime.ExitError", "InvalidAnswer")


@pytest.fixture
def broken(aws: LocalAws) -> Iterator[Break]:
    """Tell the digits endpoint which faults to have, for the length of a test."""
    yield partial(set_faults, aws, "ics-local-digits")
    set_faults(aws, "ics-local-digits")


@pytest.fixture(scope="module")
def prefix(deployment: Deployment, digits: list[bytes]) -> str:
    """Five hundred digits and three files that are none: six batches."""
    for number, content in enumerate([*digits[:500], b"", b"milk, bread", digits[0][:60]]):
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=f"resume/{number:04d}.png", Body=content)
    return f"s3://{deployment.images_bucket}/resume/"


@pytest.fixture(scope="module")
def undisturbed(prefix: str, finish: Finish) -> Counter[str]:
    return _said(finish({"prefix": prefix}).rows)


def _said(rows: list[dict[str, Any]]) -> Counter[str]:
    """What the rows say of the images, whenever and in whichever request it was found."""
    names = ("image_id", "s3_uri", "model_version", "decision", "reason", "label", "confidence", "alternatives")
    return Counter(json.dumps([row[name] for name in names]) for row in rows)


def _resume(deployment: Deployment, finish: Finish, run: str) -> Ended:
    return finish(run=resuming.resume(deployment, run).execution)


def _name_of(run: str) -> str:
    """What the names of a run's requests begin with."""
    return hashlib.sha256(run.encode()).hexdigest()[:12]


def _sent(deployment: Deployment, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """By inference id, the ids of the images in the captured request; waits for what the rows name."""
    wanted = {row["inference_id"] for row in rows if row["inference_id"]}
    captured: dict[str, list[str]] = {}
    read: set[str] = set()
    deadline = time.monotonic() + 60
    pages = deployment.s3.get_paginator("list_objects_v2")
    while wanted - captured.keys() and time.monotonic() < deadline:
        for page in pages.paginate(Bucket=deployment.results_bucket, Prefix="capture/ics-local-digits/AllTraffic/"):
            for key in {item["Key"] for item in page.get("Contents", ())} - read:
                read.add(key)
                body = deployment.s3.get_object(Bucket=deployment.results_bucket, Key=key)["Body"].read()
                for line in map(read_captured, body.splitlines()):
                    captured[line.inference_id or ""] = [json.loads(one)["id"] for one in line.request.splitlines()]
    assert wanted <= captured.keys()
    return captured


def _kill_model_server(aws: LocalAws) -> None:
    (variant,) = about(aws, "endpoints")["ics-local-digits"]["variants"].values()
    if variant["pid"]:
        with suppress(ProcessLookupError):  # it was just being started again
            os.kill(variant["pid"], signal.SIGKILL)


def _kill_workers(aws: LocalAws) -> None:
    for worker in about(aws, "lambda-workers"):
        if worker["function"] in CHILDREN and worker["in_use"]:
            with suppress(ProcessLookupError):
                os.kill(worker["pid"], signal.SIGKILL)


@pytest.mark.parametrize("seed", range(4))
def test_a_disturbed_run_that_is_resumed_has_the_rows_of_an_undisturbed_one(
    seed: int,
    aws: LocalAws,
    deployment: Deployment,
    prefix: str,
    undisturbed: Counter[str],
    broken: Break,
    finish: Finish,
) -> None:
    """Each seed draws another bad day; what a resume finds done it keeps to the letter, and sends no image of it."""
    chance = random.Random(seed)
    broken(
        {"kind": "slow", "seconds": 1, "times": 3},
        {"kind": "model_error", "status": 500, "times": chance.randint(2, 8)},
        {"kind": "nonsense", "times": chance.randint(0, 3)},
    )
    run = runs.new_run("resumed")
    runs.start(deployment, run, {"prefix": prefix})
    stop = seed % 2 == 0
    for _ in runs.follow(deployment, run, every=chance.uniform(0.1, 0.4)):
        if chance.random() < 0.5:
            chance.choice((_kill_model_server, _kill_workers))(aws)
        if stop and chance.random() < 0.3:
            stopping.stop(deployment, run, every=0.1)
    ended = finish(run=run)
    broken()
    for _ in range(3):
        if not any(row["reason"] in TRANSIENT or row["inference_id"] is None for row in ended.rows):
            break
        before = {row["s3_uri"]: row for row in ended.rows if row["decision"] != "failed"}
        ended = _resume(deployment, finish, run)
        assert {uri: row for row in ended.rows if (uri := row["s3_uri"]) in before} == before
        attempt = ended.summary["attempt"]
        sent = _sent(deployment, ended.rows)
        again = {
            image
            for name, images in sent.items()
            if name.startswith(f"{_name_of(run)}-") and f"-r{attempt}." in name  # other runs had the same images
            for image in images
        }
        assert not again & {row["image_id"] for row in before.values()}
        if _said(ended.rows) == undisturbed:
            break
    assert _said(ended.rows) == undisturbed
    placed = [(row["inference_id"], row["line"]) for row in ended.rows if row["inference_id"]]
    assert len(placed) == len(set(placed)) == 500
    sent = _sent(deployment, ended.rows)
    for row in ended.rows:
        assert row["inference_id"] is None or sent[row["inference_id"]][row["line"] - 1] == row["image_id"]


def test_a_run_of_which_nothing_is_left_succeeds_and_tells_nobody_again(
    aws: LocalAws, deployment: Deployment, digits: list[bytes], put: Put, finish: Finish
) -> None:
    uris = [f"s3://{deployment.images_bucket}/{put(f'{n}.png', digits[n])}" for n in range(3)]
    ended = finish({"images": uris, "threshold": 1.0})  # uncertain is not failed: people look, no machine does
    assert ended.summary["failed"] == 0
    resumed = resuming.resume(deployment, ended.run)
    *_, last = runs.follow(deployment, resumed.execution, every=0.1)
    assert last.status == "SUCCEEDED"
    assert runs.map_run(deployment, resumed.execution) is None
    assert not [one for one in outbox.queued(aws.state, "ics-local-alerts") if resumed.execution in one.message]
    assert runs.summary(deployment, ended.run) == ended.summary
    sources = {run["run"]: run["source"] for run in runs.listed(deployment, 2000)}
    assert (sources[ended.run], sources[resumed.execution]) == ("console", "resume")


def test_a_run_that_is_killed_before_its_summary_gets_one_though_no_image_is_left(
    deployment: Deployment, digits: list[bytes], put: Put, finish: Finish
) -> None:
    uris = [f"s3://{deployment.images_bucket}/{put(f'{n}.png', digits[n])}" for n in range(3)]
    ended = finish({"images": uris})
    deployment.s3.delete_object(Bucket=deployment.results_bucket, Key=paths.summary(ended.run))
    again = _resume(deployment, finish, ended.run)
    assert again.rows == ended.rows
    assert (again.summary["run"], again.summary["attempt"]) == (ended.run, 1)
    assert runs.summary(deployment, ended.run) == again.summary


def test_a_batch_killed_between_its_rows_and_its_receipt_keeps_its_rows(
    aws: LocalAws, deployment: Deployment, digits: list[bytes], put: Put, finish: Finish, broken: Break
) -> None:
    """The rows are there and only the receipt is not, or is that of an earlier attempt: nothing is sent again."""
    uris = [f"s3://{deployment.images_bucket}/{put(f'{n}.png', digits[n])}" for n in range(3)]
    broken({"kind": "model_error", "status": 403, "times": 1000})
    first = finish({"images": uris})
    place = {"Bucket": deployment.working_bucket, "Key": paths.receipt(first.run, 0)}
    old = deployment.s3.get_object(**place)["Body"].read()
    broken()
    second = _resume(deployment, finish, first.run)
    deployment.s3.put_object(**place, Body=old)
    third = _resume(deployment, finish, first.run)
    assert third.rows == second.rows
    assert (first.summary["failed"], third.summary["failed"], third.summary["attempt"]) == (3, 0, 2)
    assert third.summary["links"].get("resume") is None
    assert first.summary["links"]["resume"] == f"ics resume {first.run} --env local"


def test_a_request_is_named_after_the_attempt_that_sent_it(
    deployment: Deployment, digits: list[bytes], put: Put, finish: Finish, broken: Break
) -> None:
    uris = [f"s3://{deployment.images_bucket}/{put(f'{n}.png', digits[n])}" for n in range(3)]
    broken({"kind": "model_error", "status": 403, "times": 1000})
    run = finish({"images": uris}).run
    broken()
    assert {row["inference_id"] for row in _resume(deployment, finish, run).rows} == {f"{_name_of(run)}-0-r1.0"}


REFUSED = {
    "unknown": ({"resume": "no-such-run"}, "RunNotFound"),
    "no name": ({"resume": "a/b"}, "InvalidRequest"),
    "not alone": ({"resume": "no-such-run", "threshold": 0.5}, "InvalidRequest"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_resumed_is_refused_by_name(name: str, finish: Finish) -> None:
    request, error = REFUSED[name]
    ended = finish(request)
    assert (ended.execution["error"], ended.summary["planned"]) == (error, 0)


def test_a_run_whose_files_are_gone_says_what_to_do(
    deployment: Deployment, digits: list[bytes], put: Put, finish: Finish
) -> None:
    old = finish({"images": [f"s3://{deployment.images_bucket}/{put('0.png', digits[0])}"]})
    deployment.s3.delete_object(Bucket=deployment.working_bucket, Key=paths.record(old.run))
    refused = _resume(deployment, finish, old.run)
    assert (refused.execution["error"], "new run" in refused.summary["cause"]) == ("RunExpired", True)
    assert runs.summary(deployment, old.run) == old.summary


def test_a_run_that_was_never_planned_is_planned_by_its_resume(
    aws: LocalAws, deployment: Deployment, digits: list[bytes], put: Put, finish: Finish
) -> None:
    """S3 takes no plan, then the image is gone, then it is back."""
    key = put("0.png", digits[0])
    place = {"Bucket": deployment.images_bucket, "Key": key}
    request = {"prefix": f"s3://{deployment.images_bucket}/{key[:-5]}", "mode": "tolerant", "tolerated_percent": 100}
    set_faults(aws, "s3", {"kind": "unavailable", "containing": "/plan.jsonl", "times": 1000})
    unplanned = finish(request)
    set_faults(aws, "s3")
    assert (unplanned.summary["planned"], unplanned.execution["status"]) == (0, "FAILED")
    assert unplanned.summary["links"]["resume"].startswith(f"ics resume {unplanned.run} ")
    deployment.s3.delete_object(**place)
    empty = _resume(deployment, finish, unplanned.run)
    assert (empty.execution["error"], "resume" in empty.summary["links"]) == ("EmptySource", False)
    deployment.s3.put_object(**place, Body=digits[0])
    planned = _resume(deployment, finish, unplanned.run)
    assert (planned.execution["status"], planned.summary["mode"]) == ("SUCCEEDED", "tolerant")
    assert [row["run"] for row in planned.rows] == [planned.summary["run"]] == [unplanned.run]
    assert runs.summary(deployment, unplanned.run) == planned.summary


def test_a_run_that_still_runs_is_refused_by_the_command_and_by_plan_run(
    deployment: Deployment, prefix: str, finish: Finish, broken: Break
) -> None:
    broken({"kind": "slow", "seconds": 10, "times": 100})  # until the others have been refused, on a slow machine, too
    run = runs.new_run("running")
    runs.start(deployment, run, {"prefix": prefix})
    next(now for now in runs.follow(deployment, run, every=0.05) if now.total)
    with pytest.raises(resuming.NotResumable, match="ics stop"):
        resuming.resume(deployment, run)
    refused = finish({"resume": run})
    assert refused.execution["error"] == "RunStillRunning"
    broken()
    ended = finish(run=run)
    assert ended.summary["attempt"] == 0
