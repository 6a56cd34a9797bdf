"""With skip_classified no image is sent twice to the same version of a model, by whichever batches and runs."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from cli import resuming, runs
from cli.deployment import Deployment
from ics.capture import read_captured
from local.control import LocalAws
from tests.e2e.harness import Ended
from tests.rehearsal import about

Finish = Callable[..., Ended]
OF_THE_RUN = ("run", "batch", "decided_at")


def _without(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in OF_THE_RUN}


def _upload(deployment: Deployment, name: str, digits: list[bytes]) -> str:
    for number, content in enumerate(digits):
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=f"skip-{name}/{number:04d}.png", Body=content)
    return f"s3://{deployment.images_bucket}/skip-{name}/"


def _times_sent(deployment: Deployment, rows: list[dict[str, Any]]) -> Counter[str]:
    """How often each of the rows' images is in captured requests, once those that the rows name are captured."""
    ours, wanted = {row["image_id"] for row in rows}, {row["inference_id"] for row in rows if row["inference_id"]}
    deadline = time.monotonic() + 60
    while True:
        times: Counter[str] = Counter()
        names = set()
        for page in deployment.s3.get_paginator("list_objects_v2").paginate(
            Bucket=deployment.results_bucket, Prefix="capture/ics-local-digits/AllTraffic/"
        ):
            for item in page.get("Contents", ()):
                body = deployment.s3.get_object(Bucket=deployment.results_bucket, Key=item["Key"])["Body"].read()
                for one in map(read_captured, body.splitlines()):
                    names.add(one.inference_id)
                    times.update(json.loads(line)["id"] for line in one.request.splitlines())
        if wanted <= names:
            return Counter({one: count for one, count in times.items() if one in ours})
        assert time.monotonic() < deadline, "not everything was captured"
        time.sleep(0.5)


def test_a_second_run_asks_nothing_and_has_the_same_rows(
    deployment: Deployment, digits: list[bytes], finish: Finish
) -> None:
    asked = {"prefix": _upload(deployment, "twice", digits[:200]), "skip_classified": True}
    first, second = finish(asked), finish(asked)
    assert list(map(_without, second.rows)) == list(map(_without, first.rows))
    assert set(_times_sent(deployment, second.rows).values()) == {1}
    judged = finish({**asked, "threshold": 1.0})  # by its own policy, on the same answers
    assert {row["decision"] for row in judged.rows if row["confidence"] < 1} == {"uncertain"}
    assert [row["inference_id"] for row in judged.rows] == [row["inference_id"] for row in first.rows]


def test_an_image_that_changed_and_one_that_is_listed_twice(
    deployment: Deployment, digits: list[bytes], finish: Finish
) -> None:
    prefix = _upload(deployment, "changed", digits[:2])
    twice = {"images": [f"{prefix}0000.png", f"{prefix}0001.png", f"{prefix}0000.png"], "skip_classified": True}
    ended = finish(twice)
    assert _without(ended.rows[0]) == _without(ended.rows[2])
    assert _times_sent(deployment, ended.rows) == Counter({row["image_id"]: 1 for row in ended.rows})
    _upload(deployment, "changed", [digits[3]])
    again = finish(twice)
    assert again.rows[0]["image_id"] != ended.rows[0]["image_id"]
    assert _without(again.rows[1]) == _without(ended.rows[1])


def test_runs_at_once_send_each_image_once(deployment: Deployment, digits: list[bytes], finish: Finish) -> None:
    """What one waits for in vain while the other takes its time fails as ClaimedElsewhere, and a resume has it."""
    asked = {"prefix": _upload(deployment, "at-once", digits[:300]), "skip_classified": True}
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(finish, [asked, asked]))
    for number, one in enumerate(ended):
        assert set(one.summary["reasons"]) <= {"BelowThreshold", "ClaimedElsewhere"}
        if one.summary["failed"]:
            ended[number] = finish(run=resuming.resume(deployment, one.run).execution)
    assert list(map(_without, ended[0].rows)) == list(map(_without, ended[1].rows))
    assert ended[0].summary["failed"] == ended[1].summary["failed"] == 0
    assert set(_times_sent(deployment, ended[0].rows).values()) == {1}


def test_workers_killed_midway_lose_and_double_nothing(
    aws: LocalAws, deployment: Deployment, digits: list[bytes], finish: Finish
) -> None:
    asked = {"prefix": _upload(deployment, "killed", digits[:300]), "skip_classified": True}
    run = runs.new_run("killed")
    runs.start(deployment, run, asked)
    for _ in runs.follow(deployment, run, every=0.2):
        for worker in about(aws, "lambda-workers"):
            if worker["function"].endswith(("serialize-image-data", "filter-low-confidence")) and worker["in_use"]:
                with suppress(ProcessLookupError):
                    os.kill(worker["pid"], signal.SIGKILL)
    ended = finish(run=run)
    for _ in range(3):
        if not ended.summary["failed"]:
            break
        ended = finish(run=resuming.resume(deployment, run).execution)
    assert (ended.summary["planned"], ended.summary["failed"]) == (300, 0)
    again = finish(asked)
    assert list(map(_without, again.rows)) == list(map(_without, ended.rows))


@pytest.mark.parametrize("value", ["true", 1, None])
def test_what_is_neither_true_nor_false_is_refused(value: Any, deployment: Deployment, finish: Finish) -> None:
    ended = finish({"prefix": f"s3://{deployment.images_bucket}/x/", "skip_classified": value})
    assert ended.execution["error"] == "InvalidRequest"


def test_a_model_whose_version_is_known_only_afterwards_cannot_be_looked_up(
    deployment: Deployment, digits: list[bytes], put: Callable[[str, bytes], str], finish: Finish
) -> None:
    images = [f"s3://{deployment.images_bucket}/{put('0.png', digits[0])}"]
    refused = finish({"images": images, "model": "objects", "skip_classified": True})
    assert (refused.execution["error"], refused.summary["planned"]) == ("InvalidRequest", 0)
    assert "Rekognition" in refused.summary["cause"]
