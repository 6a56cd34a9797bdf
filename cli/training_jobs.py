"""`ics train --env`: the same training as a SageMaker job, in AWS's own PyTorch image, through the `sagemaker` SDK.

    recipe, s3:// data -> [stage] an archive of the code -> [start] the SDK uploads it, asks for the job
                       -> [follow] model.tar.gz in S3

The job has the code of this working tree, and the packages of both lock files but torch, which the image has: its CUDA
and CPU builds are AWS's. All that a job reads and writes beside its data lies under `training/` in the results bucket.
"""

import contextlib
import io
import logging
import os
import re
import secrets
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.deployment import ROOT, Deployment, EnvironmentUnavailable
from stacks.config import TRAINING_PREFIX, DeployConfig
from training.recipe import load_recipe

PYTORCH = "2.10.0"
"""The newest PyTorch for which SDK 3.27 knows AWS's images; they have Python 3.13."""

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
POLL = 5
"""Seconds between two looks at a job."""

ROOMS = ("ics", "serving", "training")

PACKAGES = (
    "fonttools[woff]",
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pillow",
    "pydantic",
    "rich",
    "safetensors",
    "scikit-learn",
    "simplejpeg",
    "typer",
)
"""What the rooms import besides torch; a test holds this against what a training loads."""

OF_THE_IMAGE = re.compile(r"torch==")
"""Pins that a job does without: what the image has."""


class JobFailed(Exception):
    """The training job ended without a model; the message has SageMaker's reason."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training job as it was asked for. `options` are those of `python -m training`: name, epochs, seed."""

    recipe: str
    data: str
    backbone: str | None = None
    instance_type: str = "ml.c7i.2xlarge"
    max_hours: float = 4
    spot: bool = False
    image: str | None = None
    options: Mapping[str, str | int | None]


@dataclass(frozen=True)
class Started:
    """A job that SageMaker accepted, and where its model will lie."""

    name: str
    model: str


def check(job: Job, deployment: Deployment, config: DeployConfig) -> None:
    """See that the job can start, before anything is uploaded for it.

    Raises:
        EnvironmentUnavailable: the environment has no role for training, or its role cannot read the data, or there is
            none; says what to do.
        RecipeError: there is no such recipe, or it is wrong.
    """
    load_recipe(job.recipe)
    if deployment.training_role is None:
        raise EnvironmentUnavailable(
            f"Environment {deployment.name!r} does not train: write training = true into "
            f"environments/{deployment.name}.toml, then make deploy ENV={deployment.name}"
        )
    _check_source("--data", job.data, deployment, config)
    if job.backbone is not None:
        _check_source("--backbone", job.backbone, deployment, config)


def _check_source(option: str, given: str, deployment: Deployment, config: DeployConfig) -> None:
    found = re.fullmatch(r"s3://([a-z0-9.-]{3,63})/?(.*)", given)
    if found is None:
        upload = f"s3://{deployment.images_bucket}/training/"
        raise EnvironmentUnavailable(
            f"{option} {given}: a job reads from S3. Upload it first: aws s3 cp --recursive {given} {upload}"
        )
    bucket, prefix = found.groups()
    readable = (deployment.images_bucket, *config.source_buckets)
    if bucket not in readable:
        raise EnvironmentUnavailable(
            f"{option} {given}: jobs of {deployment.name!r} read from {', '.join(readable)} only. Add the bucket to "
            f"source_buckets in environments/{deployment.name}.toml, then make deploy ENV={deployment.name}"
        )
    if not deployment.s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("Contents"):
        raise EnvironmentUnavailable(f"{option} {given}: there is nothing")


def start(job: Job, deployment: Deployment, config: DeployConfig) -> Started:
    """Upload the code and ask SageMaker for the job.

    Raises:
        EnvironmentUnavailable, RecipeError: as `check` says, or the SDK is not installed.
        ClientError: AWS refused.
    """
    check(job, deployment, config)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):  # the SDK talks
        archive = Path(folder) / "source.tar.gz"
        trainer = _trainer(job, stage(job.recipe, archive), archive, deployment)
        trainer.train(wait=False, logs=False)
    running = trainer._latest_training_job
    model = f"{trainer.output_data_config.s3_output_path}/{running.training_job_name}/output/model.tar.gz"
    return Started(running.training_job_name, model)


def follow(started: Started, deployment: Deployment, say: Callable[[str], None]) -> None:
    """Wait for the job to end; `say` gets what it is about whenever that changes, and each line of its log.

    Raises:
        JobFailed: it ended without a model.
    """
    about, stream, token = None, None, None
    while True:
        job = deployment.sagemaker.describe_training_job(TrainingJobName=started.name)
        if job.get("SecondaryStatus") != about:
            about = job["SecondaryStatus"]
            say(f"{started.name}: {about}")
        stream = stream or _log_stream(started.name, deployment)
        while stream is not None:
            at = {"nextToken": token} if token else {"startFromHead": True}
            page = deployment.logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, **at)
            for event in page["events"]:
                say(event["message"])
            if page["nextForwardToken"] == token:  # says CloudWatch Logs: that was the last page
                break
            token = page["nextForwardToken"]
        if job["TrainingJobStatus"] == "Completed":
            return
        if job["TrainingJobStatus"] in ("Failed", "Stopped"):
            why = job.get("FailureReason") or about
            raise JobFailed(f"{started.name} {job['TrainingJobStatus'].lower()}: {why}")
        time.sleep(POLL)


def _log_stream(name: str, deployment: Deployment) -> str | None:
    """The job's log, None until its container has written; an account has the group from its first job on."""
    try:
        found = deployment.logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/")
    except deployment.logs.exceptions.ResourceNotFoundException:
        return None
    return next((str(one["logStreamName"]) for one in found["logStreams"]), None)


def stage(recipe: str, archive: Path) -> str:
    """Pack into a tar.gz all that the job's container runs, and return the recipe's name there.

    The rooms that training imports, with npm's fonts where the recipe draws text; the recipe where it is a file of its
    own; and `requirements.txt`, whose packages `constraints.txt` pins as the lock files do: without hashes, and without
    what the image has. One file, because the SDK uploads one after the other, and fonts are many.
    """
    pins = {
        line.split(" \\")[0].strip()
        for name in ("requirements.txt", "requirements-train.txt")
        for line in (ROOT / name).read_text().splitlines()
        if re.match(r"[A-Za-z0-9]", line) and not OF_THE_IMAGE.match(line)
    }
    texts = {
        "constraints.txt": "\n".join(sorted(pins)),
        "requirements.txt": "\n".join(("-c constraints.txt", *PACKAGES)),
    }
    if recipe.endswith(".toml"):
        texts["recipe.toml"] = Path(recipe).read_text("utf-8")
    left_out = {"__pycache__"} if load_recipe(recipe).kind == "text" else {"__pycache__", "node_modules"}
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for room in ROOMS:
            tar.add(ROOT / room, room, filter=lambda one: None if Path(one.name).name in left_out else one)
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            content = f"{text}\n".encode()
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return "recipe.toml" if recipe.endswith(".toml") else recipe


def _trainer(job: Job, recipe: str, archive: Path, deployment: Deployment) -> Any:
    """The job as the SDK has it; nothing is uploaded or asked for yet."""
    try:
        # It takes seconds to import, only those who train on AWS have it, and its own code makes Python warn.
        with warnings.catch_warnings(action="ignore"):
            from sagemaker.core import image_uris  # noqa: PLC0415
            from sagemaker.core.helper.session_helper import Session  # noqa: PLC0415
            from sagemaker.train import ModelTrainer  # noqa: PLC0415
            from sagemaker.train import configs as sdk  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise EnvironmentUnavailable(f"Jobs need {error.name}: pip install -r requirements-train.txt") from error
    logging.getLogger("sagemaker").setLevel(logging.WARNING)
    where = f"s3://{deployment.results_bucket}/{TRAINING_PREFIX}"
    # The SDK adds a hyphen and 14 digits, and cuts what is longer than 63; two in one second are told apart here.
    base = f"ics-{deployment.name}-{load_recipe(job.recipe).name}"[:40].rstrip("-") + f"-{secrets.token_hex(3)}"
    session = Session(
        boto_session=deployment.session,
        default_bucket=deployment.results_bucket,
        default_bucket_prefix=TRAINING_PREFIX,
        # Nothing here reports to anyone how it is used.
        sagemaker_config={
            "SchemaVersion": "1.0",
            "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
        },
    )
    seconds = max(1, round(job.max_hours * 3600))
    given = [word for key, value in job.options.items() if value is not None for word in (f"--{key}", str(value))]
    with _unvalidated_role():
        return ModelTrainer(
            sagemaker_session=session,
            role=deployment.training_role,
            base_job_name=base,
            training_image=job.image
            or image_uris.retrieve(
                framework="pytorch",
                region=session.boto_region_name,
                version=PYTORCH,
                instance_type=job.instance_type,
                image_scope="training",
            ),
            source_code=sdk.SourceCode(
                source_dir=str(archive),
                requirements="requirements.txt",
                command="python -m training",
                args=[recipe, *given],
            ),
            compute=sdk.Compute(
                instance_type=job.instance_type, instance_count=1, enable_managed_spot_training=job.spot
            ),
            input_data_config=[
                sdk.InputData(channel_name=name, data_source=uri)
                for name, uri in (("training", job.data), ("backbone", job.backbone))
                if uri is not None
            ],
            stopping_condition=sdk.StoppingCondition(
                max_runtime_in_seconds=seconds,
                # a spot job may wait as long again for an instance
                **({"max_wait_time_in_seconds": 2 * seconds} if job.spot else {}),
            ),
            output_data_config=sdk.OutputDataConfig(s3_output_path=f"{where}/{base}", compression_type="GZIP"),
            checkpoint_config=sdk.CheckpointConfig(s3_uri=f"{where}/{base}/checkpoints") if job.spot else None,
        )


@contextlib.contextmanager
def _unvalidated_role() -> Iterator[None]:
    """Keep the SDK from refusing a role that may not do all that any training could want, networks of its own too."""
    name = "SAGEMAKER_VALIDATE_ROLE"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
