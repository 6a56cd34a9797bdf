"""Runs of the whole pipeline on the local AWS, against the usual design and against a plain loop.

What counts is the CPU time of everything that takes part: the emulator, its Lambda workers, the model server, and this
process as the client. The images are uploaded before, by none of those compared.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.cpu import tree_seconds
from benchmarks.figures import Figure, alternate
from benchmarks.naive import design
from cli import runs
from cli.deployment import ROOT, Deployment, connect
from ics.imaging import prepare
from serving.model import Model, decode, load_model

POLL_SECONDS = 0.5
"""How often the client of either design asks whether its execution has ended."""

MODEL = ROOT / "models" / "digits"


@dataclass(frozen=True)
class Bench:
    """A deployment of its own, and the processes whose CPU time counts."""

    deployment: Deployment
    processes: tuple[int, ...]

    def milliseconds(self, work: Callable[[], object]) -> float:
        """CPU milliseconds of all processes together while `work` is done."""
        started = tree_seconds(self.processes)
        work()
        return 1000 * (tree_seconds(self.processes) - started)


@contextmanager
def local_aws() -> Iterator[Bench]:
    """ICS deployed into a local AWS that lives as long as this context; `ics up` and `ics down` do it."""
    with tempfile.TemporaryDirectory(prefix="ics-bench-") as folder:
        environment = {**os.environ, "ICS_STATE": folder}
        command = [sys.executable, "-m", "cli"]
        try:
            subprocess.run([*command, "up"], cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
            daemon = json.loads((Path(folder) / "local.json").read_text())["pid"]
            yield Bench(connect("local", Path(folder)), (daemon, os.getpid()))
        finally:
            subprocess.run([*command, "down"], cwd=ROOT, env=environment, check=True, stdout=sys.stderr)


def pictures(count: int) -> Iterator[bytes]:
    """scikit-learn's handwritten digits as 28 x 28 PNG, light on dark as the model takes them, over and over."""
    images = load_digits().images
    for number in range(count):
        ink = Image.fromarray((images[number % len(images)] * 255 / 16).astype("uint8"))
        page = Image.new("L", (28, 28), 0)
        page.paste(ink.resize((20, 20), Image.Resampling.BICUBIC), (4, 4))
        out = io.BytesIO()
        page.save(out, "PNG")
        yield out.getvalue()


def upload(deployment: Deployment, prefix: str, count: int) -> list[str]:
    """Put so many pictures under a prefix of the images bucket; return their keys, in order."""
    keys = [f"{prefix}{number:06d}.png" for number in range(count)]

    def put(item: tuple[str, bytes]) -> None:
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=item[0], Body=item[1])

    with ThreadPoolExecutor(8) as uploads:
        list(uploads.map(put, zip(keys, pictures(count), strict=True)))
    return keys


def run_ics(deployment: Deployment, prefix: str) -> str:
    """Classify a prefix by ICS, 100 images a batch; return the run."""
    run = runs.new_run("bench")
    request = {"prefix": f"s3://{deployment.images_bucket}/{prefix}", "mode": "tolerant", "tolerated_percent": 100}
    runs.start(deployment, run, request)
    while runs.describe(deployment, run)["status"] == "RUNNING":
        time.sleep(POLL_SECONDS)
    return run


def labels_of(deployment: Deployment, run: str) -> list[str]:
    """The labels that a run gave, in the order of the images' keys.

    Raises:
        RuntimeError: it did not succeed, or images of it failed; its cost would say nothing.
    """
    summary = runs.summary(deployment, run)
    if summary is None or summary["status"] != "SUCCEEDED" or summary["failed"]:
        raise RuntimeError(f"the run {run} did not succeed: {summary}")
    return [row["label"] for row in sorted(runs.rows(deployment, summary), key=lambda row: row["s3_uri"])]


def run_loop(deployment: Deployment, model: Model, keys: Sequence[str]) -> list[str]:
    """The labels of these images by a plain loop in this process: GET with boto3, prepare, infer."""
    labels = []
    for key in keys:
        content = deployment.s3.get_object(Bucket=deployment.images_bucket, Key=key)["Body"].read()
        labels.append(model.predict_one(prepare(content, model.spec.input)).label)
    return labels


def model_milliseconds(images: int = 200) -> float:
    """CPU milliseconds an image of what no design can save: the model's own computing, in this process."""
    model = load_model(MODEL)
    pixels = [decode(prepare(content, model.spec.input), model.spec.input) for content in pictures(images)]
    started = time.process_time()
    for one in pixels:
        model.classify(one)
    return 1000 * (time.process_time() - started) / images


def measure_naive(bench: Bench, images: int, repeats: int) -> Figure:
    """The usual design against ICS, with equal labels."""
    deployment = bench.deployment
    keys = upload(deployment, f"naive-{images}/", images)
    machine = design.deploy(deployment, f"ics-{deployment.name}-{MODEL.name}")
    labels: list[list[str]] = []

    def naive() -> float:
        answers: list[list[dict[str, str]]] = []
        spent = bench.milliseconds(
            lambda: answers.append(design.run(deployment, machine, deployment.images_bucket, keys, POLL_SECONDS))
        )
        labels.append([answer["label"] for answer in answers[0]])
        return spent / images

    try:
        pairs = alternate(naive, lambda: _ics(bench, f"naive-{images}/", images, labels), repeats)
    finally:
        design.remove(deployment)
    return Figure(
        name=f"a run of {images:,} images, 100 a batch",
        other="the usual design: inline Map, 3 Lambdas an image, base64 in state",
        unit="CPU-ms an image",
        goal=8.0,
        to_reach=True,
        pairs=pairs,
        details={"CPU-ms of the model alone, on either side": model_milliseconds()},
    )


def measure_loop(bench: Bench, images: int, repeats: int) -> Figure:
    """A plain loop against ICS, with equal labels."""
    deployment, model = bench.deployment, load_model(MODEL)
    keys = upload(deployment, f"loop-{images}/", images)
    labels: list[list[str]] = []

    def loop() -> float:
        return bench.milliseconds(lambda: labels.append(run_loop(deployment, model, keys))) / images

    return Figure(
        name=f"a run of {images:,} images, all its steps and records",
        other="a plain loop: boto3 GET, prepare, infer",
        unit="CPU-ms an image",
        goal=1.0,
        to_reach=False,
        pairs=alternate(loop, lambda: _ics(bench, f"loop-{images}/", images, labels), repeats),
    )


def _ics(bench: Bench, prefix: str, images: int, labels: list[list[str]]) -> float:
    """CPU milliseconds an image of a run; its labels must be those that the other gave last."""
    ran: list[str] = []
    spent = bench.milliseconds(lambda: ran.append(run_ics(bench.deployment, prefix)))
    if labels_of(bench.deployment, ran[0]) != labels[-1]:
        raise RuntimeError("the designs disagree on labels: they do not do the same work")
    return spent / images
