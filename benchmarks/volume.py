"""Runs of one image, and of one, ten and a hundred thousand: the time to a row; CPU time and memory.

The images of a run are listed in a manifest, which names each of a thousand objects as often as it takes. What counts
is as in `benchmarks.pipeline`; of memory, what the Lambda workers hold at most, each by itself: the emulator keeps all
objects of all buckets in its memory, and grows with them.
"""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, alternate
from benchmarks.pipeline import POLL_SECONDS, Bench, pictures, upload
from cli import runs
from cli.deployment import Deployment

OBJECTS = 1_000
SMALLEST = 1_000
PREFIX = "volume/"


def measure(bench: Bench, volumes: list[int], repeats: int) -> Iterator[Figure]:
    """Each volume beside a run of `SMALLEST`: the CPU time of an image stays the same, and so does the memory."""
    keys = upload(bench.deployment, PREFIX, OBJECTS)
    for images in (SMALLEST, *volumes):
        _write_manifest(bench.deployment, keys, images)
    peaks: dict[int, list[float]] = {images: [] for images in (SMALLEST, *volumes)}
    for images in volumes:
        large = partial(_cost, bench, images, peaks[images])
        pairs = alternate(partial(_cost, bench, SMALLEST, peaks[SMALLEST]), large, repeats)
        few, many = peaks[SMALLEST][0], max(peaks[images])  # the first run of all had fresh workers
        yield Figure(
            name=f"a run of {images:,} images",
            other=f"a run of {SMALLEST:,}",
            unit="CPU-ms an image",
            goal=1.15,
            to_reach=False,
            pairs=pairs,
            details={f"MiB of the largest worker, {few:.0f} with {SMALLEST:,} images;": many, "memory": many / few},
            limits={"memory": 1.25},
        )


def measure_upload(bench: Bench, repeats: int) -> Figure:
    """How long an upload takes to have its row, where StartRun waits for no others; one that does not count is first.

    Raises:
        TimeoutError: a row did not come.
    """
    deployment = bench.deployment
    (mapping,) = deployment.functions.list_event_source_mappings(FunctionName=f"ics-{deployment.name}-start-run")[
        "EventSourceMappings"
    ]
    window = "MaximumBatchingWindowInSeconds"
    deployment.functions.update_event_source_mapping(UUID=mapping["UUID"], **{window: 0})
    try:
        taken = [_seconds_to_row(deployment, content) for content in pictures(repeats + 1)][1:]
    finally:
        deployment.functions.update_event_source_mapping(UUID=mapping["UUID"], **{window: mapping[window]})
    return Figure(
        name="an upload, to its row, one at a time",
        other="three seconds",
        unit="s",
        goal=1.0,
        to_reach=False,
        pairs=[(3.0, seconds) for seconds in taken],
    )


def _seconds_to_row(deployment: Deployment, content: bytes) -> float:
    """From the upload's end to the moment at which its row is listed."""
    before = _event_rows(deployment)
    key = f"incoming/bench/{runs.new_run('upload')}.png"
    deployment.s3.put_object(Bucket=deployment.images_bucket, Key=key, Body=content)
    started = time.monotonic()
    while not _event_rows(deployment) - before:
        if time.monotonic() > started + 60:
            raise TimeoutError(f"{key} has no row after a minute")
        time.sleep(0.02)
    return time.monotonic() - started


def _event_rows(deployment: Deployment) -> set[str]:
    """The row files of runs that uploads began, of today and, around midnight, yesterday."""
    found = set()
    for back in (0, 1):
        day = f"{datetime.now(UTC) - timedelta(days=back):%Y-%m-%d}"
        prefix = f"results/model=digits/dt={day}/run=event-"
        listed = deployment.s3.list_objects_v2(Bucket=deployment.results_bucket, Prefix=prefix)
        found |= {item["Key"] for item in listed.get("Contents", ())}
    return found


def run_manifest(deployment: Deployment, images: int) -> str:
    """Classify a manifest of so many images; return the run, which has ended."""
    run = runs.new_run("volume")
    manifest = f"s3://{deployment.images_bucket}/{_manifest(images)}"
    runs.start(deployment, run, {"manifest": manifest, "mode": "tolerant", "tolerated_percent": 100})
    while runs.describe(deployment, run)["status"] == "RUNNING":
        time.sleep(POLL_SECONDS)
    return run


def reconcile(deployment: Deployment, run: str, images: int) -> None:
    """See that each image of a run has its row.

    Raises:
        RuntimeError: the run failed, or its rows are not those of its images, each as often as it is listed.
    """
    summary = runs.summary(deployment, run)
    if summary is None or (summary["status"], summary["planned"], summary["failed"]) != ("SUCCEEDED", images, 0):
        raise RuntimeError(f"the run {run} of {images:,} images did not succeed: {summary}")
    counted: dict[str, int] = {}
    for row in runs.rows(deployment, summary):
        counted[row["s3_uri"]] = counted.get(row["s3_uri"], 0) + 1
    if len(counted) != OBJECTS or set(counted.values()) != {images // OBJECTS}:
        raise RuntimeError(f"the run {run} has not each of {images:,} images as often as it is listed")


@contextmanager
def peak_of_workers(endpoint_url: str, peaks: list[float], every: float = 0.25) -> Iterator[None]:
    """Add to `peaks` the MiB that the largest Lambda worker held at any time while this lasts (VmHWM of proc(5))."""
    done = threading.Event()
    found = [0.0]
    for pid in _workers(endpoint_url):
        with suppress(OSError):  # ended since it was listed
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget its peak so far

    def watch() -> None:
        while True:
            found.extend(map(_peak_mib, _workers(endpoint_url)))
            if done.wait(every):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        peaks.append(max(found))


def _cost(bench: Bench, images: int, peaks: list[float]) -> float:
    """CPU milliseconds an image of one run, whose rows are looked at when it is over."""
    ran: list[str] = []
    with peak_of_workers(str(bench.deployment.endpoint_url), peaks):
        spent = bench.milliseconds(lambda: ran.append(run_manifest(bench.deployment, images)))
    reconcile(bench.deployment, ran[0], images)
    return spent / images


def _workers(endpoint_url: str) -> list[int]:
    with urllib.request.urlopen(f"{endpoint_url}/_local/lambda-workers", timeout=60) as answer:
        return [worker["pid"] for worker in json.load(answer)]


def _peak_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # ended since it was listed
        return 0.0
    kib = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")]
    return kib[0] / 1024 if kib else 0.0  # a process that is ending has no memory any more


def _manifest(images: int) -> str:
    return f"{PREFIX[:-1]}-{images}.jsonl"


def _write_manifest(deployment: Deployment, keys: list[str], images: int) -> None:
    lines = [json.dumps({"bucket": deployment.images_bucket, "key": key}) + "\n" for key in keys]
    body = "".join(lines * (images // OBJECTS)).encode()
    deployment.s3.put_object(Bucket=deployment.images_bucket, Key=_manifest(images), Body=body)
