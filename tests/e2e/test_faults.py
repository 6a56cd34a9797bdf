"""Bad days: each run ends reconciled, told to people, nothing lost or doubled. `finish` asserts that each time."""

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from functools import partial

import pytest

from cli import runs
from cli.deployment import Deployment
from ics import paths
from ics.contracts import Batch, ImageRef
from local.control import LocalAws
from tests.e2e.harness import Ended, published
from tests.rehearsal import about, set_faults

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]
Break = Callable[..., None]


@pytest.fixture
def broken(aws: LocalAws) -> Iterator[Break]:
    """Tell the digits endpoint which faults to have, for the length of a test."""
    yield partial(set_faults, aws, "ics-local-digits")
    set_faults(aws, "ics-local-digits")


@pytest.fixture
def images(deployment: Deployment, put: Put, digits: list[bytes]) -> list[str]:
    """Ten uploaded digits, by URI."""
    keys = [put(f"{number}.png", digits[number]) for number in range(10)]
    return [f"s3://{deployment.images_bucket}/{key}" for key in keys]


@pytest.fixture(scope="module")
def thousand(deployment: Deployment, digits: list[bytes]) -> str:
    """A prefix with a thousand digits: ten batches."""
    for number, content in enumerate(digits):
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=f"faults/{number:04d}.png", Body=content)
    return f"s3://{deployment.images_bucket}/faults/"


ONCE = {
    "throttled": {"kind": "throttle"},
    "throttled twice": {"kind": "throttle", "times": 2},
    "unavailable": {"kind": "unavailable"},
    "container 500": {"kind": "model_error", "status": 500},
    "container over capacity": {"kind": "model_error", "status": 429},
    "connection broken": {"kind": "model_error", "status": 0},
    "nonsense": {"kind": "nonsense"},
    "slower than the read timeout": {"kind": "slow", "seconds": 27},
}


@pytest.mark.parametrize("name", ONCE)
def test_what_passes_is_tried_again(name: str, images: list[str], broken: Break, finish: Finish) -> None:
    broken(ONCE[name])
    assert finish({"images": images}).summary["failed"] == 0


ALWAYS = {
    "throttled": ({"kind": "throttle"}, "EndpointThrottled"),
    "unavailable": ({"kind": "unavailable"}, "EndpointUnavailable"),
    "container 500": ({"kind": "model_error", "status": 500}, "EndpointUnavailable"),
    "container 403": ({"kind": "model_error", "status": 403}, "EndpointRefused"),
    "nonsense": ({"kind": "nonsense"}, "InvalidAnswer"),
}


@pytest.mark.parametrize("name", ALWAYS)
def test_what_stays_broken_gives_failed_rows_and_an_alert(
    name: str, images: list[str], broken: Break, finish: Finish
) -> None:
    fault, reason = ALWAYS[name]
    broken({**fault, "times": 1000})
    bad = "s3://no-such-bucket-of-ours/x.png"
    ended = finish({"images": [*images, bad]})
    assert {row["reason"] for row in ended.rows if row["s3_uri"] != bad} == {reason}
    assert next(row["reason"] for row in ended.rows if row["s3_uri"] == bad) == "ObjectNotFound"  # keeps its own
    assert {row["decision"] for row in ended.rows} == {"failed"}


def test_an_image_that_the_model_refuses_fails_alone(
    deployment: Deployment, images: list[str], broken: Break, finish: Finish
) -> None:
    bucket, _, key = images[3].removeprefix("s3://").partition("/")
    etag = deployment.s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
    poison = ImageRef(bucket, key, etag)
    broken({"kind": "model_error", "status": 422, "times": 1000, "containing": poison.image_id})
    ended = finish({"images": images})
    assert {row["s3_uri"] for row in ended.rows if row["decision"] == "failed"} == {poison.uri}
    assert ended.reasons()["3.png"] == "ModelRefused"
    sent = {(row["inference_id"], row["line"]) for row in ended.rows}
    assert len(sent) == len(images), "each row names its own line of a captured body"


CHILDREN = ("ics-local-serialize-image-data", "ics-local-classify-image", "ics-local-filter-low-confidence")


def test_killed_lambda_workers_lose_nothing(aws: LocalAws, thousand: str, finish: Finish) -> None:
    killed: list[int] = []

    def kill() -> None:
        for worker in about(aws, "lambda-workers"):
            if worker["function"] in CHILDREN and worker["in_use"] and len(killed) < 6:
                with suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(worker["pid"], signal.SIGKILL)
                    killed.append(worker["pid"])

    with meanwhile(kill, times=10_000):
        ended = finish({"prefix": thousand})
    assert killed
    assert ended.summary["planned"] == 1000
    assert set(ended.summary["reasons"]) <= {"BelowThreshold", "Runtime.ExitError"}


def test_a_killed_model_server_loses_nothing(aws: LocalAws, thousand: str, finish: Finish) -> None:
    killed: list[int] = []

    def kill() -> None:
        (variant,) = about(aws, "endpoints")["ics-local-digits"]["variants"].values()
        if variant["pid"] and variant["pid"] not in killed:
            with suppress(ProcessLookupError):
                os.kill(variant["pid"], signal.SIGKILL)
                killed.append(variant["pid"])

    with meanwhile(kill, times=2, every=0.8):
        ended = finish({"prefix": thousand})
    assert killed
    assert ended.summary["planned"] == 1000
    assert set(ended.summary["reasons"]) <= {"BelowThreshold", "EndpointUnavailable"}
    until_back(aws)  # by itself; on a busy machine it may have been killed a moment ago
    again = finish({"prefix": thousand})
    assert again.summary["failed"] == 0


def test_a_batch_without_rows_and_receipt_is_lost_and_said_so(
    aws: LocalAws, thousand: str, deployment: Deployment, broken: Break, finish: Finish
) -> None:
    broken({"kind": "slow", "seconds": 2, "times": 3})  # so that the run still goes on when its first receipt is there
    run = runs.new_run("test")
    removed: list[int] = []

    def remove() -> None:
        for receipt in deployment.s3.list_objects_v2(Bucket=deployment.working_bucket, Prefix=paths.receipts(run)).get(
            "Contents", ()
        )[:1]:
            if not removed:
                number = int(receipt["Key"].rpartition("/")[2].removesuffix(".json"))
                started = runs.describe(deployment, run)["startDate"].astimezone(UTC).isoformat()
                rows = paths.rows(Batch(run, started, "digits", 0.94, number, 0, 0))
                deployment.s3.delete_object(Bucket=deployment.results_bucket, Key=rows)
                deployment.s3.delete_object(Bucket=deployment.working_bucket, Key=receipt["Key"])
                removed.append(number)

    runs.start(deployment, run, {"prefix": thousand})
    with meanwhile(remove, times=10_000):
        ended = finish(run=run)
    assert {row["batch"] for row in ended.rows if row["reason"] == "BatchLost"} == set(removed)
    assert ended.summary["reasons"]["BatchLost"] == ended.summary["failed"] == 100


def test_a_run_that_does_not_add_up_is_not_called_done_and_people_are_told(
    aws: LocalAws, thousand: str, deployment: Deployment, broken: Break
) -> None:
    broken({"kind": "slow", "seconds": 2, "times": 3})
    run = runs.new_run("test")
    forged = []

    def forge() -> None:
        found = deployment.s3.list_objects_v2(Bucket=deployment.working_bucket, Prefix=paths.receipts(run))
        for receipt in found.get("Contents", ())[:1]:
            if not forged:
                place = {"Bucket": deployment.working_bucket, "Key": receipt["Key"]}
                content = json.loads(deployment.s3.get_object(**place)["Body"].read())
                content["accepted"] += 1
                deployment.s3.put_object(**place, Body=json.dumps(content).encode())
                forged.append(receipt["Key"])

    runs.start(deployment, run, {"prefix": thousand})
    with meanwhile(forge, times=10_000):
        *_, last = runs.follow(deployment, run, every=0.1)
    assert (last.status, runs.describe(deployment, run)["error"]) == ("FAILED", "NotReconciled")
    assert runs.summary(deployment, run) is None
    (told,) = published(aws, f"digest/{run}")
    assert told.subject == "[ICS] FAILED: a run could not be summarized"
    assert "1000 planned" in told.message


def until_back(aws: LocalAws) -> None:
    """Wait until the model server of the digits answers."""
    deadline = time.monotonic() + 120
    while True:
        (variant,) = about(aws, "endpoints")["ics-local-digits"]["variants"].values()
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{variant['port']}/ping", timeout=10):
            return
        assert time.monotonic() < deadline, "the model server has not come back"
        time.sleep(0.1)


@contextmanager
def meanwhile(act: Callable[[], None], times: int, every: float = 0.05) -> Iterator[None]:
    """Do something again and again in the background, at most so many times."""
    done = threading.Event()

    def again() -> None:
        for _ in range(times):
            act()
            if done.wait(every):
                return

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
