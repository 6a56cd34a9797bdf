"""Where everything of a run lies in S3. Nobody else composes a key.

Working bucket (expires in days):

    runs/<run>/images.jsonl                         a line an image
    runs/<run>/plan.jsonl                           a line a child of the Map: its batches
    runs/<run>/policy.json                          what of the routing policy applies to the run
    runs/<run>/run.json                             PlanRun's answer, written last: what a resume goes on from
    runs/<run>/staging/<batch>/images.jsonl         a line an image: what became of it, and where it was put
    runs/<run>/staging/<batch>/body-<n>.jsonl       a request body for the model
    runs/<run>/predictions/<batch>/body-<n>.jsonl   the model's answer to it, a line an image
    runs/<run>/worst.json                           the images that a person should see first
    runs/<run>/batches/<batch>.json                 the batch's receipt: written last, it makes the batch count
    runs/<run>/attempts/<n>/execution.json          the execution that resumes the run for the n-th time
    runs/<run>/attempts/<n>/plan.jsonl              the batches it does again; beside it its staging/, predictions/

    evaluations/<id>/files.jsonl                    the labels and predictions of an evaluation: a line a file
    evaluations/<id>/shards.jsonl                   a line a child of its first Map: a range of these lines
    evaluations/<id>/partitions.jsonl               a line a child of its other Maps
    evaluations/<id>/<kind>/<partition>/<n>.jsonl   what shard n, or partition n, has for a partition
    evaluations/<id>/counts/<n>.json                what a shard, or a partition, counted

    manifests/<run>.jsonl                           the uploads that a run of events is over: a line an image

Results bucket (the record):

    results/model=<m>/dt=<start date>/run=<id>/batch-<n>.jsonl
    results/model=<m>/dt=<date>/run=api/<image id>.jsonl    the row of an image that came by the HTTP API
    labels/model=<m>/dt=<date>/<image id>-<time>-<hex>.jsonl    a truth label that came by the HTTP API
    runs/<run>/summary.json                         of a resume also under the name of its execution
    runs/<run>/contact-sheet.jpg                    the images that a person should see first, as pictures
    labels/model=<m>/dt=<date>/<any name>.jsonl     truth labels, by people, the page or the command
    evaluations/<id>/metrics.json                   the figures of an evaluation
    evaluations/model=<m>/latest.json               those of a model's latest
    policy/policy.toml                              the routing policy, put there by people
    quarantine/<image id>.json                      an image in quarantine
    audit/quarantine/<image id>/<time>-<did>.json   who released it, or put it there by hand, when and why
    capture/...                                     what the endpoint was asked and answered, written by SageMaker
"""

from typing import Literal

from ics.contracts import Batch

POLICY = "policy/policy.toml"
"""The environment's routing policy."""


def images(run: str) -> str:
    """The images of a run, a line each."""
    return f"runs/{run}/images.jsonl"


MANIFESTS = "manifests/"
"""Where, in the working bucket, the manifests lie that ICS itself writes."""


def event_manifest(run: str) -> str:
    """The uploads that a run of events is over."""
    return f"{MANIFESTS}{run}.jsonl"


def plan(run: str, attempt: int = 0) -> str:
    """The batches of a run, or of its n-th resume, a line a child: what the Map reads."""
    return f"{_attempt(run, attempt)}plan.jsonl"


def record(run: str) -> str:
    """What PlanRun answered for a run."""
    return f"runs/{run}/run.json"


def claim(run: str, attempt: int) -> str:
    """Which execution is a run's n-th resume."""
    return f"{_attempt(run, attempt)}execution.json"


def policy(run: str) -> str:
    """What of the routing policy applies to a run, from its start to its end."""
    return f"runs/{run}/policy.json"


def staged_images(batch: Batch) -> str:
    """What became of each image of a batch."""
    return f"{_attempt(batch.run, batch.attempt)}staging/{batch.batch}/images.jsonl"


def staged_body(batch: Batch, body: int) -> str:
    """A request body for the model."""
    return f"{_attempt(batch.run, batch.attempt)}staging/{batch.batch}/body-{body}.jsonl"


def predictions(batch: Batch, body: int) -> str:
    """The model's answer to a body."""
    return f"{_attempt(batch.run, batch.attempt)}predictions/{batch.batch}/body-{body}.jsonl"


def receipts(run: str) -> str:
    """The prefix under which a run's receipts lie."""
    return f"runs/{run}/batches/"


def receipt(run: str, batch: int) -> str:
    """A batch's receipt."""
    return f"{receipts(run)}{batch}.json"


def results(model: str, date: str, run: str) -> str:
    """The prefix under which a run's rows lie."""
    return f"{model_results(model)}dt={date}/run={run}/"


def rows(batch: Batch) -> str:
    """A batch's rows."""
    return f"{results(batch.model, batch.date, batch.run)}batch-{batch.batch}.jsonl"


def summary(run: str) -> str:
    """A run's summary."""
    return f"runs/{run}/summary.json"


API_IMAGES = "api/"
"""Where, in the images bucket, the images lie that came by the HTTP API, each under a random name."""

API_RUN = "api"
"""What rows of images that came by the HTTP API say as their run."""


def api_row(model: str, date: str, image_id: str) -> str:
    """The row of an image that came by the HTTP API."""
    return f"{results(model, date, API_RUN)}{image_id}.jsonl"


def label(model: str, image_id: str, at: str, distinct: str) -> str:
    """One truth label that came by the HTTP API; `at` is ISO 8601 UTC, `distinct` tells equal times apart."""
    return f"{model_labels(model)}dt={at[:10]}/{image_id}-{at}-{distinct}.jsonl"


QUARANTINE = "quarantine/"
"""The prefix under which the images in quarantine are listed."""


def quarantined(image_id: str) -> str:
    """The entry of an image in quarantine."""
    return f"{QUARANTINE}{image_id}.json"


def quarantine_record(image_id: str, at: str, did: Literal["quarantined", "released"]) -> str:
    """The record of what a person did; `at` is ISO 8601 UTC."""
    return f"audit/quarantine/{image_id}/{at}-{did}.json"


def worst(run: str) -> str:
    """The images that a person should see first."""
    return f"runs/{run}/worst.json"


def contact_sheet(run: str) -> str:
    """The same as pictures, on one sheet."""
    return f"runs/{run}/contact-sheet.jpg"


def model_labels(model: str) -> str:
    """The prefix under which a model's truth labels lie."""
    return f"labels/model={model}/"


def model_results(model: str) -> str:
    """The prefix under which a model's rows lie."""
    return f"results/model={model}/"


def evaluation_file(evaluation: str, name: str) -> str:
    """A working file of an evaluation: `files.jsonl`, `shards.jsonl`, `partitions.jsonl`."""
    return f"evaluations/{evaluation}/{name}"


def evaluation_parts(evaluation: str, kind: str, partition: int) -> str:
    """The prefix under which lies what a partition of an evaluation gets of a kind."""
    return f"evaluations/{evaluation}/{kind}/{partition}/"


def evaluation_counts(evaluation: str) -> str:
    """The prefix under which lies what the shards and partitions of an evaluation counted."""
    return f"evaluations/{evaluation}/counts/"


def metrics(evaluation: str) -> str:
    """The figures of an evaluation."""
    return f"evaluations/{evaluation}/metrics.json"


def latest_metrics(model: str) -> str:
    """The figures of a model's latest evaluation."""
    return f"evaluations/model={model}/latest.json"


def _attempt(run: str, attempt: int) -> str:
    return f"runs/{run}/attempts/{attempt}/" if attempt else f"runs/{run}/"
