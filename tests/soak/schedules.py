"""`python -m tests.soak.schedules --schedules 1000`: random bad days, each a schedule of faults while a run goes on.

Whatever happens, an execution that ends by itself ends reconciled, and what was interrupted is finished by resuming: in
the end each image has exactly one row, and each row that is no failure says what a run on a calm day says.
"""

# ruff: noqa: T201

import argparse
import io
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image

from cli import runs
from cli.deployment import ROOT, Deployment, connect
from ics import paths
from ics.contracts import ImageRef
from ics.uploads import Upload
from local import control, deploy
from tests.rehearsal import about, set_faults

ENDPOINT = "ics-local-digits"
CHILDREN = ("ics-local-serialize-image-data", "ics-local-classify-image", "ics-local-filter-low-confidence")
IMAGES = 400
"""Images of a run: four batches."""

RESUMES = 3
"""So many times a run is taken up again before what is left counts as lost."""

LONGEST = 600
"""Seconds that an execution may take."""

QUIET = 6
"""Times, a quarter of a second apart, that no upload waits and no run runs, until none comes any more."""

SHORT = ("throttle", "unavailable", "model_error", "nonsense")
WRITES = (
    "/staging/",
    "/predictions/",
    "/batches/",
    "/results/",
    "/plan.jsonl",
    "/images.jsonl",
    "/summary.json",
    "/manifests/",
)
SAID = ("decision", "reason", "label", "confidence", "alternatives", "model_version", "threshold")


class Broken(AssertionError):
    """A promise that was broken; the message names the seed, with which the schedule can be played again."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong, `at` so many seconds after the run was started."""

    at: float
    kind: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """Where schedules are played: a local deployment of their own, the pictures of a run, and what a calm run says."""

    state: Path
    deployment: Deployment
    images: Sequence[bytes]
    expected: Mapping[str, Mapping[str, Any]]


def schedule(seed: int) -> list[Fault]:
    """One to four faults of this seed, in the order of their time.

    While images are dropped, events come twice and out of order instead of images going or the local AWS restarting,
    under which nobody could say what was dropped.
    """
    chance = random.Random(seed)
    kinds = (
        "endpoint",
        "write",
        "kill worker",
        "kill server",
        *(("again",) if by_events(seed) else ("delete", "restart")),
    )
    chosen = chance.choices(kinds, weights=(5, 4, 4, 2, *((5,) if by_events(seed) else (2, 2))), k=chance.randint(1, 4))
    faults = [Fault(round(chance.uniform(0, 3), 2), kind, _arguments(kind, chance)) for kind in chosen]
    return sorted(faults, key=lambda fault: fault.at)


def _arguments(kind: str, chance: random.Random) -> Mapping[str, Any]:
    match kind:
        case "endpoint":
            status = chance.choice((0, 400, 413, 422, 429, 500, 503))
            return {"kind": chance.choice(SHORT), "status": status, "times": chance.choice((1, 2, 3, 50))}
        case "write":
            containing, times = chance.choice(WRITES), chance.choice((1, 2, 8, 60))
            # StartRun is given uploads again after three minutes, and after five times they are dead letters.
            times = min(times, 8) if containing == "/manifests/" else times
            return {"kind": "unavailable", "containing": containing, "times": times}
        case "kill worker":
            return {"times": chance.randint(1, 6)}
        case "again":
            return {"seed": chance.random(), "events": chance.randint(1, 40)}
        case "delete":
            return {"images": chance.sample(range(IMAGES), chance.randint(1, 20))}
    return {}


def set_stage(state: Path, images: Sequence[bytes]) -> Stage:
    """Start a local AWS in `state`, deploy, and let a calm run say what is right. End it with `control.stop`."""
    deploy.deploy(control.start(state), ROOT, lambda _: None)
    deployment = connect("local", state)
    run = runs.new_run("calm")
    runs.start(deployment, run, {"prefix": _upload(deployment, f"schedules/{run}/", images)})
    _wait(deployment, run)
    said = {_name(row): {key: row[key] for key in SAID} for row in _rows(deployment, run)}
    assert len(said) == IMAGES
    return Stage(state, deployment, images, said)


def by_events(seed: int) -> bool:
    """Whether the images of this seed are dropped under the upload prefix, each told of by an event, or more."""
    return seed % 4 == 3


def play(seed: int, stage: Stage) -> str:
    """Play a seed's schedule while a run goes on; return how it went, in a line.

    Raises:
        Broken: an image was lost or doubled, counts differ from rows, or a row says what a calm day does not.
    """
    faults, folder = schedule(seed), runs.new_run(f"seed{seed}")
    deleted = {f"{number:04d}.png" for fault in faults for number in fault.arguments.get("images", ())}
    try:
        if not by_events(seed):
            prefix = _upload(stage.deployment, _under(seed, folder), stage.images)
            runs.start(stage.deployment, folder, {"prefix": prefix})
        with _meanwhile(faults, stage, _under(seed, folder)):
            started = _dropped(stage, folder) if by_events(seed) else _awaited(stage, folder)
        for name in (ENDPOINT, "s3"):
            set_faults(stage.deployment, name)
        ends = [_finished(stage.deployment, run, deleted) for run in started]
        rows = [row for run in started for row in _rows(stage.deployment, run) if f"/{folder}/" in row["s3_uri"]]
        _check(len({_name(row) for row in rows}) == len(rows), "more than one row for an image")
        found = {_name(row): {key: row[key] for key in SAID} for row in rows}
        odd = found.keys() - stage.expected.keys() | stage.expected.keys() - found.keys() - deleted
        _check(not odd, f"lost or new: {odd}")  # what was deleted before it was listed is in no plan, and has no row
        for name, said in found.items():
            right = said == stage.expected[name] or (said["reason"] == "ObjectNotFound" and name in deleted)
            _check(right, f"{name} is {said}, on a calm day {stage.expected[name]}")
    except Broken as error:
        raise Broken(f"seed {seed}, {folder}, {faults}: {error}") from error
    return f"{', '.join(fault.kind for fault in faults)}: {'; '.join(ends)}"


def _under(seed: int, folder: str) -> str:
    return f"{'incoming' if by_events(seed) else 'schedules'}/{folder}/"


def _awaited(stage: Stage, run: str) -> list[str]:
    """The run, once it has ended."""
    _wait(stage.deployment, run)
    return [run]


def _dropped(stage: Stage, folder: str) -> list[str]:
    """Drop the images under the upload prefix; the runs that began by themselves, once all is quiet."""
    deployment, known = stage.deployment, set(runs.names(stage.deployment, 1000))
    _upload(deployment, f"incoming/{folder}/", stage.images)
    deadline, quiet = time.monotonic() + LONGEST, 0
    while quiet < QUIET:
        _check(time.monotonic() < deadline, f"uploads are still waiting after {LONGEST} s")
        time.sleep(0.25)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        waiting = deployment.sqs.get_queue_attributes(QueueUrl=deployment.upload_queue, AttributeNames=names)
        running = deployment.states.list_executions(stateMachineArn=deployment.state_machine, statusFilter="RUNNING")
        busy = any(map(int, waiting["Attributes"].values())) or running["executions"]
        quiet = 0 if busy or not _all_claimed(deployment, f"incoming/{folder}/") else quiet + 1
    return [run for run in runs.names(deployment, 1000) if run not in known]


def _all_claimed(deployment: Deployment, prefix: str) -> bool:
    """Whether StartRun has heard of each upload: an event reaches the queue some time after its upload is answered."""
    place = {"Bucket": deployment.images_bucket, "Prefix": prefix}
    there = deployment.s3.get_paginator("list_object_versions").paginate(**place).search("Versions[].[Key, VersionId]")
    uploads = [
        Upload(ImageRef(deployment.images_bucket, key, version=one), "", datetime.now(UTC)) for key, one in there
    ]
    table = deployment.session.client("dynamodb", endpoint_url=deployment.endpoint_url)
    found = 0
    for start in range(0, len(uploads), 100):
        some = uploads[start : start + 100]
        keys = [{"pk": {"S": f"upload#{one.upload_id}"}, "sk": {"S": "claim"}} for one in some]
        answer = table.batch_get_item(RequestItems={deployment.table: {"Keys": keys}})
        found += len(answer["Responses"][deployment.table])
    return found == IMAGES


def _finished(deployment: Deployment, run: str, deleted: Collection[str]) -> str:
    """How a run ended, and how each that resumed it."""
    ends = [_ended(deployment, run)]
    while not _done(deployment, run, deleted):
        _check(len(ends) <= RESUMES, f"not finished after {RESUMES} resumes: {ends}")
        again = runs.new_run("again")
        runs.start(deployment, again, {"resume": run})
        _wait(deployment, again)
        ends.append(_ended(deployment, again))
    return ", then ".join(ends)


def _done(deployment: Deployment, run: str, deleted: Collection[str]) -> bool:
    """Whether the run is finished. One that has a summary must be reconciled, finished or not."""
    summary, rows = runs.summary(deployment, run), _rows(deployment, run)
    if summary is None or not summary["planned"]:
        return False
    decisions = Counter(row["decision"] for row in rows)
    counted = {name: summary[name] for name in ("accepted", "uncertain", "flagged", "failed")}
    _check(counted == {name: decisions[name] for name in counted}, f"rows {dict(decisions)}, summary {counted}")
    _check(summary["planned"] == sum(counted.values()), f"{summary['planned']} planned, {counted}")
    planned, said = _listed(deployment, summary["run"]), Counter(row["s3_uri"] for row in rows)
    _check(planned == said, f"planned, but no row, or the other way round: {planned - said}, {said - planned}")
    left = [row for row in rows if row["decision"] == "failed"]
    return all(row["reason"] == "ObjectNotFound" and _name(row) in deleted for row in left)


def _listed(deployment: Deployment, run: str) -> Counter[str]:
    """The images of a run's plan, by URI, as often as they are listed."""
    content = deployment.s3.get_object(Bucket=deployment.working_bucket, Key=paths.images(run))["Body"].read()
    return Counter(ImageRef(**json.loads(line)).uri for line in content.splitlines())


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise Broken(problem)


def _ended(deployment: Deployment, run: str) -> str:
    described = runs.describe(deployment, run)
    return str(described.get("error", described["status"]))


def _wait(deployment: Deployment, run: str) -> None:
    """Until the run has ended, whether or not the local AWS answers meanwhile."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        with suppress(BotoCoreError, ClientError):
            if runs.describe(deployment, run)["status"] != "RUNNING":
                return
        time.sleep(0.1)
    raise Broken(f"{run} did not end within {LONGEST} s")


def _rows(deployment: Deployment, run: str) -> list[dict[str, Any]]:
    summary = runs.summary(deployment, run)
    return list(runs.rows(deployment, summary)) if summary else []


def _name(row: Mapping[str, Any]) -> str:
    return str(row["s3_uri"]).rpartition("/")[2]


@contextmanager
def _meanwhile(faults: Sequence[Fault], stage: Stage, folder: str) -> Iterator[None]:
    """Let the faults happen in the background, each at its time; all have happened when this ends."""
    began = time.monotonic()
    failed: list[str] = []

    def happen() -> None:
        for fault in faults:
            time.sleep(max(0.0, began + fault.at - time.monotonic()))
            try:
                _happen(fault, stage, folder)
            except Exception as error:
                failed.append(f"{fault.kind}: {error!r}")

    thread = threading.Thread(target=happen)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    _check(not failed, f"a fault could not be made: {failed}")


def _happen(fault: Fault, stage: Stage, folder: str) -> None:
    deployment = stage.deployment
    match fault.kind:
        case "endpoint":
            set_faults(deployment, ENDPOINT, fault.arguments)
        case "write":
            set_faults(deployment, "s3", fault.arguments)
        case "kill worker":
            _kill_workers(deployment, fault.arguments["times"])
        case "kill server":
            (variant,) = about(deployment, "endpoints")[ENDPOINT]["variants"].values()
            with suppress(ProcessLookupError):
                os.kill(variant["pid"], signal.SIGKILL)
        case "delete":
            for number in fault.arguments["images"]:
                deployment.s3.delete_object(Bucket=deployment.images_bucket, Key=f"{folder}{number:04d}.png")
        case "again":
            _tell_again(deployment, folder, fault.arguments["events"], random.Random(fault.arguments["seed"]))
        case "restart":
            control.stop(stage.state)
            control.start(stage.state)


def _tell_again(deployment: Deployment, folder: str, events: int, chance: random.Random) -> None:
    """Send events of images that are there once more, in any order, as EventBridge may and SQS may."""
    there = deployment.s3.list_object_versions(Bucket=deployment.images_bucket, Prefix=folder).get("Versions", ())
    for one in chance.sample(there, min(events, len(there))):
        told = {"key": one["Key"], "version-id": one["VersionId"], "etag": one["ETag"].strip('"'), "sequencer": "1"}
        detail = {"bucket": {"name": deployment.images_bucket}, "object": told}
        event = {"detail-type": "Object Created", "time": "2026-07-21T10:15:00Z", "detail": detail}
        deployment.sqs.send_message(QueueUrl=deployment.upload_queue, MessageBody=json.dumps(event))


def _kill_workers(deployment: Deployment, times: int) -> None:
    """Kill so many workers of a batch's functions while they work, or as many as there are within two seconds."""
    deadline = time.monotonic() + 2
    killed: set[int] = set()
    while len(killed) < times and time.monotonic() < deadline:
        for worker in about(deployment, "lambda-workers"):
            if worker["function"] in CHILDREN and worker["in_use"] and worker["pid"] not in killed:
                with suppress(ProcessLookupError):
                    os.kill(worker["pid"], signal.SIGKILL)
                killed.add(worker["pid"])
                break
        time.sleep(0.02)


def _upload(deployment: Deployment, prefix: str, images: Sequence[bytes]) -> str:
    def put(number: int) -> None:
        deployment.s3.put_object(
            Bucket=deployment.images_bucket, Key=f"{prefix}{number:04d}.png", Body=images[number % len(images)]
        )

    with ThreadPoolExecutor(4) as uploads:
        list(uploads.map(put, range(IMAGES)))
    return f"s3://{deployment.images_bucket}/{prefix}"


def pictures() -> list[bytes]:
    """IMAGES real handwritten digits as PNG, light on dark."""
    from sklearn.datasets import load_digits

    made = []
    for digit in load_digits().images[:IMAGES]:
        out = io.BytesIO()
        Image.fromarray((digit * 255 / 16).astype("uint8")).resize((28, 28), Image.Resampling.BICUBIC).save(out, "PNG")
        made.append(out.getvalue())
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: play schedules, say how each went, and exit with 1 where one broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.schedules", description=__doc__.partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one's seed")
    given = parser.parse_args(arguments)
    broken = 0
    with tempfile.TemporaryDirectory(prefix="ics-schedules-") as folder:
        state = Path(folder)
        try:
            stage = set_stage(state, pictures())
            for seed in range(given.start, given.start + given.schedules):
                began = time.monotonic()
                try:
                    went = play(seed, stage)
                except Broken as error:
                    went, broken = f"BROKEN {error}", broken + 1
                print(f"{seed:>6}  {time.monotonic() - began:5.1f} s  {went}", flush=True)
        finally:
            control.stop(state)
    print(f"{given.schedules:,} schedules from seed {given.start}; {broken} broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
