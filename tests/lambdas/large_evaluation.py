"""An evaluation of so many pairs in a process of its own, which prints its peak memory: S3 is a folder on disk.

    python -m tests.lambdas.large_evaluation 1000000

A second argument makes shards, and all that is held of them, smaller by that factor. Predictions come in files of 100
lines and labels in one file, as a model's do; every function runs as it is deployed, one child after the other.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore

from ics import evaluation as planned
from ics.contracts import ImageRef, dump_line
from lambdas import evaluation, s3
from lambdas.count_partition import handler as count_partition
from lambdas.locate_images import handler as locate_images
from lambdas.partition_shard import handler as partition_shard
from lambdas.plan_evaluation import handler as plan_evaluation
from lambdas.plan_evaluation import listing
from lambdas.reduce_counts import handler as reduce_counts
from tests.soak.__main__ import peak_mib

A_FILE = 100
LABELS = "0123456789"


class Folder:
    """S3 as the functions use it: a bucket a folder, an object a file."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def put(self, bucket: str, key: str, content: bytes, **_: object) -> None:
        place = self.top / bucket / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def get_range(self, bucket: str, key: str, *, start: int, length: int) -> bytes:
        with (self.top / bucket / key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def read_range(self, ref: ImageRef, offset: int, length: int) -> s3.Content:
        place = self.top / ref.bucket / ref.key
        return s3.Content(ref, self.get_range(ref.bucket, ref.key, start=offset, length=length), place.stat().st_size)

    def list(self, bucket: str, prefix: str) -> Iterator[tuple[ImageRef, int]]:
        folder = self.top / bucket / prefix
        for place in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if place.is_file():
                yield ImageRef(bucket, place.relative_to(self.top / bucket).as_posix()), place.stat().st_size

    @contextmanager
    def open_writer(self, bucket: str, key: str, **_: object) -> Iterator[Any]:
        place = self.top / bucket / key
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            yield file


def fill(folder: Folder, pairs: int) -> None:
    """So many rows, of which nine of ten are right, and as many labels; every other label names the image by its id."""
    row = {
        "version": "0123456789abcdef", "member": None, "model": "digits", "model_version": "f" * 64,
        "reason": None, "alternatives": [{"label": label, "confidence": 0.01} for label in "123"], "boxes": [],
        "text": None, "threshold": 0.94, "policy": "e" * 64, "run": "r", "batch": 0, "inference_id": "i", "line": 1,
        "decided_at": "2026-01-31T12:00:00.000Z",
    }  # fmt: skip
    with folder.open_writer("results", "labels/model=digits/dt=2026-01-31/all.jsonl") as labels:
        for start in range(0, pairs, A_FILE):
            rows = []
            for number in range(start, min(start + A_FILE, pairs)):
                truth, sure = LABELS[number % 10], 0.5 + number % 500 / 1000
                said = truth if number % 10 < 9 else "0"
                name = {"image_id": f"{number:064x}", "s3_uri": f"s3://my-bucket/incoming/{number:08}.png"}
                decision = "accepted" if sure >= 0.94 else "uncertain"
                rows.append(dump_line({**name, **row, "decision": decision, "label": said, "confidence": sure}))
                named = {"image_id": name["image_id"]} if number % 2 else {"s3_uri": name["s3_uri"]}
                labels.write(dump_line({**named, "label": truth, "by": "ada", "at": "2026-01-31T12:00:00.000Z"}))
            folder.put("results", f"results/model=digits/dt=2026-01-31/run=r/batch-{start}.jsonl", b"".join(rows))


def main(pairs: int, smaller: int) -> None:
    os.environ |= {"WORKING_BUCKET": "working", "RESULTS_BUCKET": "results", "AWS_REGION": "us-east-1"}
    os.environ["LOG_LEVEL"] = "ERROR"
    planned.SHARD_BYTES //= smaller
    planned.LABEL_BYTES //= smaller
    planned.FILE_BYTES //= smaller
    evaluation.HELD //= smaller
    with tempfile.TemporaryDirectory() as top:
        folder = Folder(Path(top))
        fill(folder, pairs)
        obstore.put, obstore.get_range = folder.put, folder.get_range  # type: ignore[assignment]
        obstore.open_writer = folder.open_writer  # type: ignore[assignment]
        s3.store = evaluation.store = lambda bucket: bucket  # type: ignore[assignment,return-value]
        s3.read_range = folder.read_range
        evaluation.list_images = listing.list_images = folder.list
        plan_evaluation.read_results = lambda _: None
        began = time.perf_counter()
        event = {"evaluation": "e", "started": "2026-01-31T12:00:00.000Z", "request": {"model": "digits"}}
        state = plan_evaluation.handler(event, None)
        common = {name: state[name] for name in ("evaluation", "partitions")}
        peaks = {}
        for name, function, plan in (
            ("partition", partition_shard, "shards"),
            ("locate", locate_images, "parts"),
            ("count", count_partition, "parts"),
        ):
            for line in (Path(top) / "working" / state[plan]["key"]).read_bytes().splitlines():
                function.handler(common | json.loads(line), None)
            peaks[name] = peak_mib()
        answer = reduce_counts.handler(state, None)
        found = {
            "images": answer["images"],
            "accuracy": answer["accuracy"],
            "partitions": state["partitions"],
            "shards": state["counted"] - state["partitions"],
            "seconds": round(time.perf_counter() - began, 1),
            "peaks": peaks,
            "mib": peak_mib(),
        }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 1)
