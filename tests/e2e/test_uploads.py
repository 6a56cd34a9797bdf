"""Runs that begin by themselves: every upload one row, whatever is told twice, killed, poisoned; outputs start none."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from cli import dead_letters, runs
from cli.deployment import ROOT, Deployment
from ics.contracts import ImageRef
from ics.uploads import Upload
from lambdas.start_run.starting import LEASE
from local.control import LocalAws
from tests.e2e.harness import Ended
from tests.rehearsal import about

PATIENCE = 180


class Uploads:
    """Uploading under the prefix, and what became of it."""

    def __init__(self, deployment: Deployment, aws: LocalAws, name: str) -> None:
        self.deployment, self.aws = deployment, aws
        self.folder = f"incoming/{name}-{time.time_ns()}"
        self.lambda_, self.sqs = deployment.functions, deployment.sqs
        self.table = deployment.session.resource("dynamodb", endpoint_url=deployment.endpoint_url).Table(
            deployment.table
        )
        (self.mapping,) = self.lambda_.list_event_source_mappings(FunctionName="ics-local-start-run")[
            "EventSourceMappings"
        ]
        self.finished: dict[str, dict[str, Any]] = {}
        self.unclaimed: set[str] = set()

    def put(self, name: str, content: bytes) -> tuple[str, str]:
        """Upload; the key and the version that it got."""
        key = f"{self.folder}/{name}"
        answer = self.deployment.s3.put_object(Bucket=self.deployment.images_bucket, Key=key, Body=content)
        image = ImageRef(self.deployment.images_bucket, key, version=answer["VersionId"])
        if not key.endswith("/"):
            self.unclaimed.add(f"upload#{Upload(image, '', datetime.now(UTC)).upload_id}")
        return key, answer["VersionId"]

    def configure(self, *, visible_after: int | None = None, **mapping: Any) -> None:
        """Change how long a message that was not settled stays hidden, and how the queue is polled."""
        if visible_after is not None:
            self.sqs.set_queue_attributes(
                QueueUrl=self.deployment.upload_queue, Attributes={"VisibilityTimeout": str(visible_after)}
            )
        if mapping:
            self.lambda_.update_event_source_mapping(UUID=self.mapping["UUID"], **mapping)

    def send(self, bodies: list[str]) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.deployment.upload_queue, MessageBody=body)

    def event(self, key: str, version: str) -> str:
        """EventBridge's event of an upload, as it would be delivered another time."""
        told = {"key": key, "version-id": version, "etag": "", "sequencer": "1"}
        told["etag"] = self.deployment.s3.head_object(Bucket=self.deployment.images_bucket, Key=key, VersionId=version)[
            "ETag"
        ].strip('"')
        detail = {"bucket": {"name": self.deployment.images_bucket}, "object": told}
        return json.dumps({"detail-type": "Object Created", "time": "2026-07-21T10:15:00Z", "detail": detail})

    def age_claims(self) -> None:
        """Make claims look old, unless one who made some is still at work."""
        claims = [item for item in self._claims() if item["at"] > time.time() - LEASE]
        if self.busy():
            return
        for item in claims:
            with contextlib.suppress(self.table.meta.client.exceptions.ConditionalCheckFailedException):
                self.table.put_item(
                    Item={**item, "at": int(time.time()) - LEASE},
                    ConditionExpression="#run = :run AND #at = :at",
                    ExpressionAttributeNames={"#run": "run", "#at": "at"},
                    ExpressionAttributeValues={":run": item["run"], ":at": item["at"]},
                )

    def busy(self) -> list[int]:
        """The processes in which StartRun is at work."""
        found = about(self.aws, "lambda-workers")
        return [one["pid"] for one in found if one["function"] == "ics-local-start-run" and one["in_use"]]

    def _claims(self) -> Iterator[dict[str, Any]]:
        given: dict[str, Any] = {}
        while True:
            page = self.table.scan(**given)
            yield from (item for item in page["Items"] if item["sk"] == "claim")
            if "LastEvaluatedKey" not in page:
                return
            given = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def is_quiet(self) -> bool:
        """Whether all that was put is claimed, no message waits or is being worked on, and no run is running.

        An event reaches the queue some time after its upload has been answered.
        """
        if self.unclaimed:
            self.unclaimed -= {item["pk"] for item in self._claims()}
        if self.unclaimed:
            return False
        waiting = self.attributes(self.deployment.upload_queue)
        running = self.deployment.states.list_executions(
            stateMachineArn=self.deployment.state_machine, statusFilter="RUNNING"
        )["executions"]
        return waiting == 0 and not running

    def attributes(self, queue: str | None) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def settle(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until all is quiet, and has been for a second."""
        deadline, quiet = time.monotonic() + PATIENCE, 0
        while quiet < 4:
            assert time.monotonic() < deadline, "uploads are still waiting"
            meanwhile()
            quiet = quiet + 1 if self.is_quiet() else 0
            time.sleep(0.25)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all runs of events over this test's uploads, each with its `run`."""
        for run in runs.names(self.deployment, 2000):
            if run.startswith("event-") and run not in self.finished:
                summary = runs.summary(self.deployment, run)
                assert summary is not None, runs.describe(self.deployment, run)
                self.finished[run] = {"rows": list(runs.rows(self.deployment, summary))}
        found = [row for run in self.finished.values() for row in run["rows"]]
        return [row for row in found if f"/{self.folder}/" in row["s3_uri"]]


@pytest.fixture
def uploads(deployment: Deployment, aws: LocalAws, request: pytest.FixtureRequest) -> Iterator[Uploads]:
    made = Uploads(deployment, aws, request.node.name[:30])
    hidden = made.sqs.get_queue_attributes(QueueUrl=deployment.upload_queue, AttributeNames=["VisibilityTimeout"])
    yield made
    made.configure(
        visible_after=int(hidden["Attributes"]["VisibilityTimeout"]),
        Enabled=True,
        MaximumBatchingWindowInSeconds=made.mapping["MaximumBatchingWindowInSeconds"],
        BatchSize=made.mapping["BatchSize"],
    )


def each_once(rows: list[dict[str, Any]], put: list[tuple[str, str]]) -> None:
    """Assert that every upload has exactly one row."""
    counted = Counter((row["s3_uri"].partition("/incoming/")[2], row["version"]) for row in rows)
    assert counted == Counter((key.removeprefix("incoming/"), version) for key, version in put)


def test_five_hundred_uploads_at_once_are_five_runs_at_most_and_each_is_classified_once(
    uploads: Uploads, deployment: Deployment, digits: list[bytes], finish: Callable[..., Ended]
) -> None:
    uploads.configure(MaximumBatchingWindowInSeconds=10)
    with ThreadPoolExecutor(16) as pool:
        put = list(pool.map(lambda number: uploads.put(f"{number}.png", digits[number]), range(500)))
    uploads.settle()
    rows = uploads.rows()
    each_once(rows, put)
    started = {row["run"] for row in rows}
    assert len(started) <= 5
    listed = {run["run"]: run["source"] for run in runs.listed(deployment, 2000)}
    for run in started:
        finish(run=run)
        assert listed[run] == "event"
    assert not [row for row in rows if row["decision"] == "failed"]


def test_events_delivered_again_shuffled_and_with_others_change_nothing(uploads: Uploads, digits: list[bytes]) -> None:
    uploads.configure(visible_after=10)
    put = [uploads.put(f"{number}.png", digits[number]) for number in range(20)]
    again = [uploads.event(*one) for one in put] * 2
    random.Random(6).shuffle(again)
    uploads.send(again[:20])  # while the first may not be started yet
    uploads.settle()
    put.append(uploads.put("new.png", digits[20]))
    uploads.send(again[20:])
    uploads.settle()
    each_once(uploads.rows(), put)


def test_what_is_uploaded_to_a_key_again_is_classified_again_and_both_versions_are_told_apart(
    uploads: Uploads, digits: list[bytes]
) -> None:
    put = [uploads.put("a.png", digits[0]), uploads.put("a.png", digits[1]), uploads.put("a.png", digits[1])]
    put += [uploads.put("a+b%20c é.png", digits[2])]
    uploads.put("folder/", b"")
    uploads.settle()
    rows = uploads.rows()
    each_once(rows, put)
    assert not [row for row in rows if row["decision"] == "failed"]


def test_a_claim_that_was_left_behind_is_taken_over(uploads: Uploads, digits: list[bytes]) -> None:
    uploads.configure(Enabled=False)
    put = [uploads.put(f"{number}.png", digits[number]) for number in range(6)]
    known = {item["pk"] for item in uploads._claims()}
    uploads.configure(Enabled=True)
    uploads.settle()
    mine = [item for item in uploads._claims() if item["pk"] not in known]
    assert len(mine) == 6
    each_once(uploads.rows(), put)
    # The same as an invocation leaves it that ended between its claims and its start, for half of them.
    for item in mine[:3]:
        uploads.table.put_item(Item={**item, "run": "event-never-started", "at": int(time.time()) - LEASE})
    uploads.send([uploads.event(*one) for one in put])
    uploads.settle()
    assert Counter(Counter(row["s3_uri"] for row in uploads.rows()).values()) == {1: 3, 2: 3}
    assert "event-never-started" not in {item["run"] for item in uploads._claims()}


def test_workers_killed_at_any_moment_lose_and_double_nothing(uploads: Uploads, digits: list[bytes]) -> None:
    uploads.configure(visible_after=4)
    put: list[tuple[str, str]] = []
    chance, killed = random.Random(6), 0
    for round_ in range(4):
        put += [uploads.put(f"{round_}-{number}.png", digits[number]) for number in range(30)]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not (busy := uploads.busy()):
            time.sleep(0.002)
        for pid in busy:
            time.sleep(chance.random() * 0.05)
            os.kill(pid, signal.SIGKILL)
            killed += 1
        uploads.age_claims()
    assert killed
    uploads.settle(uploads.age_claims)
    dead_letters.redrive(uploads.deployment)  # where the machine was so slow that five deliveries came too early
    uploads.settle(uploads.age_claims)
    each_once(uploads.rows(), put)


def test_poison_ends_among_the_dead_letters_alone_and_redrive_brings_dead_letters_back(
    uploads: Uploads, digits: list[bytes], command_environment: dict[str, str], deployment: Deployment
) -> None:
    uploads.configure(visible_after=3)  # with less, a slow machine would give up what is good, too
    uploads.send(["{", json.dumps({"detail-type": "Object Created"})])
    put = [uploads.put("good.png", digits[0])]
    deadline = time.monotonic() + PATIENCE
    while uploads.attributes(deployment.dead_letters) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "2 uploads could not be given to a run" in _ics(command_environment, "doctor")
    uploads.settle()
    each_once(uploads.rows(), put)
    # A good one may end there, too: where something was broken for long.
    uploads.configure(Enabled=False)
    put.append(uploads.put("late.png", digits[1]))
    (message,) = _receive(uploads, deployment.upload_queue)
    uploads.sqs.send_message(QueueUrl=deployment.dead_letters, MessageBody=message["Body"])
    uploads.sqs.delete_message(QueueUrl=deployment.upload_queue, ReceiptHandle=message["ReceiptHandle"])
    assert json.loads(_ics(command_environment, "redrive", "--json")) == {"sent": 3, "kept": 0}
    assert uploads.attributes(deployment.dead_letters) == 0
    assert uploads.attributes(deployment.upload_queue) == 3
    uploads.configure(Enabled=True)
    while uploads.attributes(deployment.dead_letters) < 2:  # the poison comes back
        assert time.monotonic() < deadline
        time.sleep(0.2)
    uploads.settle()
    each_once(uploads.rows(), put)
    uploads.sqs.purge_queue(QueueUrl=deployment.dead_letters)


def _receive(uploads: Uploads, queue: str | None) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found: list[dict[str, Any]] = uploads.sqs.receive_message(QueueUrl=queue, VisibilityTimeout=60).get(
            "Messages", []
        )
        if found:
            return found
        time.sleep(0.1)
    return pytest.fail("no message came")


def _ics(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_outputs_and_what_is_elsewhere_start_nothing(
    uploads: Uploads, digits: list[bytes], deployment: Deployment
) -> None:
    before = set(runs.names(deployment, 2000))
    for bucket in (deployment.results_bucket, deployment.working_bucket):
        for key in (f"{uploads.folder}/x.png", "results/model=digits/x.jsonl", "runs/x/x.png", "manifests/x.jsonl"):
            deployment.s3.put_object(Bucket=bucket, Key=key, Body=digits[0])
    for key in ("elsewhere/x.png", "uploads/x/x.png", "x/incoming/x.png", "Incoming/x.png", "incoming"):
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=key, Body=digits[0])
    put = [uploads.put("x.png", digits[0])]  # the only one, and its run writes its own outputs
    uploads.settle()
    each_once(uploads.rows(), put)
    assert len(set(runs.names(deployment, 2000)) - before) == 1


def test_a_manifest_of_ours_may_name_no_image_of_ours(
    uploads: Uploads, digits: list[bytes], deployment: Deployment, finish: Callable[..., Ended]
) -> None:
    manifest = f"manifests/forged-{time.time_ns()}.jsonl"
    line = json.dumps({"bucket": deployment.working_bucket, "key": "runs/x/images.jsonl"})
    deployment.s3.put_object(Bucket=deployment.working_bucket, Key=manifest, Body=line.encode())
    for request in (
        {"manifest": f"s3://{deployment.working_bucket}/{manifest}"},
        {"manifest": f"s3://{deployment.results_bucket}/{manifest}"},
        {"manifest": f"s3://{deployment.working_bucket}/runs/x.jsonl"},
        {"images": [f"s3://{deployment.results_bucket}/results/x.png"]},
        {"prefix": f"s3://{deployment.working_bucket}/manifests/"},
    ):
        assert finish(request).execution["error"] == "SourceUnsafe", request
