"""`ics train --env`: the SDK's own requests, caught on their way out, and their container's script run for real."""

import ast
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from urllib.parse import unquote, urlsplit

import boto3
import numpy as np
import pytest
from botocore.awsrequest import AWSResponse
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from cli import training_commands, training_jobs
from cli.deployment import Deployment, EnvironmentUnavailable
from cli.options import app
from cli.training_jobs import PACKAGES, Job, JobFailed
from stacks.config import load_config

CONFIG = load_config("dev")
ROLE = "arn:aws:iam::123456789012:role/training"
JOB = Job(recipe="digits", data="s3://images/mnist/tiny.npz", options={"name": None, "epochs": 1, "seed": 7})


class Aws:
    """Answers a session's requests in place of AWS. botocore writes, checks and signs them; none leaves the process."""

    def __init__(self, end: str = "Completed") -> None:
        self.objects: dict[str, bytes] = {"images/mnist/tiny.npz": b"data", "images/net.onnx": b"net"}
        self.asked: list[dict] = []
        self.services: set[str] = set()
        self.end = end
        self.looks = 0
        self.session = boto3.Session("testing", "testing", region_name="eu-central-1")
        self.session.events.register("before-send.*.*", self.answer)
        self.deployment = Deployment(
            name="dev", session=self.session, endpoint_url=None, images_bucket="images", results_bucket="results",
            working_bucket="working", table="table", alert_topic="", mail_topic="", state_machine="",
            models=("digits",), endpoints=("digits",), reviewer_role="", training_role=ROLE,
        )  # fmt: skip

    def answer(self, request, **_) -> AWSResponse:
        url = urlsplit(request.url)
        self.services.add(url.hostname.removesuffix(".amazonaws.com"))
        if url.hostname.startswith("s3.") and url.path == "/":  # a list of all buckets: denied, as to most people
            status, body = 403, b"<Error><Code>AccessDenied</Code></Error>"
        elif ".s3." in f".{url.hostname}":
            status, body = self.s3(request, url)
        elif url.hostname.startswith("api.sagemaker"):
            status, body = self.sagemaker(request)
        elif url.hostname.startswith("logs."):
            status, body = self.logs(request)
        else:  # whoever starts jobs may not simulate policies
            status, body = 403, b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
        return AWSResponse(request.url, status, {"content-type": "text/xml", "etag": "1"}, Raw(body))

    def s3(self, request, url) -> tuple[int, bytes]:
        bucket = url.hostname.partition(".s3.")[0] if ".s3." in url.hostname else ""  # else by path
        name = f"{bucket}{unquote(url.path)}".strip("/")
        part = re.search("partNumber=([0-9]+)", request.url)
        if request.method == "POST":  # the beginning and the end of an upload of several parts
            if "uploads" in url.query:
                return 200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            parts = sorted((key for key in self.objects if key.startswith(f"{name}?")), key=lambda key: int(key[-3:]))
            self.objects[name] = b"".join(self.objects.pop(key) for key in parts)
            return 200, b"<CompleteMultipartUploadResult/>"
        if request.method == "PUT":
            body = request.body if isinstance(request.body, bytes) else request.body.read()
            self.objects[f"{name}?{int(part[1]):03}" if part else name] = body
            return 200, b""
        found = [key for key in self.objects if key.startswith(f"{name}/")]
        prefix = re.search("[?&]prefix=([^&]*)", request.url)
        wanted = f"{name}/{unquote(prefix[1])}" if prefix else name
        listed = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in found if key.startswith(wanted))
        return 200, f"<ListBucketResult>{listed}</ListBucketResult>".encode()

    def sagemaker(self, request) -> tuple[int, bytes]:
        body = json.loads(request.body)
        if request.headers["X-Amz-Target"].decode().endswith("CreateTrainingJob"):
            self.asked.append(body)
            return 200, json.dumps({"TrainingJobArn": f"arn:aws:sagemaker:::training-job/{len(self.asked)}"}).encode()
        self.looks += 1
        under_way = {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}
        ended = {"TrainingJobStatus": self.end, "SecondaryStatus": self.end, "FailureReason": "no more disk"}
        described = self.asked[-1] | (under_way if self.looks < 3 else ended)
        return 200, json.dumps(described | {"ModelArtifacts": {"S3ModelArtifacts": "s3://x"}}).encode()

    def logs(self, request) -> tuple[int, bytes]:
        """The group is there from the second look on; the log has two pages."""
        if self.looks < 2:
            return 400, b'{"__type": "ResourceNotFoundException"}'
        body = json.loads(request.body)
        if "logStreamNamePrefix" in body:
            return 200, json.dumps({"logStreams": [{"logStreamName": body["logStreamNamePrefix"] + "algo-1"}]}).encode()
        page = int(body.get("nextToken", 0))
        events = [{"message": f"line [{page + 1}]"}] if page < 2 else []
        return 200, json.dumps({"events": events, "nextForwardToken": str(min(page + 1, 2))}).encode()


class Raw:
    """A response's body as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self.body = io.BytesIO(body)

    def stream(self, *_, **__):
        yield self.body.read()

    def read(self, *_, **__) -> bytes:
        return self.body.read()


@pytest.fixture
def aws(monkeypatch) -> Aws:
    if importlib.util.find_spec("sagemaker") is None:
        pytest.skip("jobs need sagemaker: pip install -r requirements-train.txt")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")  # else bodies come in chunks with sums
    return Aws()


def test_the_request_names_role_image_data_limits_and_where_the_model_goes(aws):
    started = training_jobs.start(JOB, aws.deployment, CONFIG)
    (asked,) = aws.asked
    assert re.fullmatch(r"ics-dev-digits-[0-9a-f]{6}-\d{14}", started.name)
    assert asked["TrainingJobName"] == started.name
    assert len(started.name) <= 63
    assert asked["RoleArn"] == ROLE
    image = asked["AlgorithmSpecification"]["TrainingImage"]
    assert re.fullmatch(r"\d{12}\.dkr\.ecr\.eu-central-1\.amazonaws\.com/pytorch-training:.*-cpu-py313", image)
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 4 * 3600}
    assert asked["ResourceConfig"] == {"InstanceType": "ml.c7i.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    assert not asked.get("EnableManagedSpotTraining")
    assert "CheckpointConfig" not in asked
    output = asked["OutputDataConfig"]["S3OutputPath"]
    assert started.model == f"{output}/{started.name}/output/model.tar.gz"
    channels = {each["ChannelName"]: each["DataSource"]["S3DataSource"]["S3Uri"] for each in asked["InputDataConfig"]}
    assert channels.keys() == {"training", "code", "sm_drivers"}
    assert channels.pop("training") == JOB.data
    wrote = [f"s3://{key}" for key in aws.objects if not key.startswith("images/")]
    assert all(one.startswith("s3://results/training/") for one in [output, *wrote, *channels.values()])
    code = [one for one in wrote if "/input/code/" in one]
    assert len(code) == 1, "the SDK uploads one file after the other"
    assert aws.services <= {"images.s3.eu-central-1", "s3.eu-central-1", "results.s3.eu-central-1", "iam"} | {
        "api.sagemaker.eu-central-1"
    }, "nothing reports how it is used"


def test_a_spot_job_keeps_checkpoints_and_may_wait_and_no_two_jobs_share_a_name(aws):
    name = "a" * 40
    job = Job(
        recipe="digits",
        data="s3://images/mnist/",
        backbone="s3://images/net.onnx",
        spot=True,
        max_hours=0.5,
        options={"name": name},
    )
    first, second = (training_jobs.start(job, aws.deployment, CONFIG) for _ in range(2))
    assert first.name != second.name
    asked = aws.asked[0]
    assert asked["EnableManagedSpotTraining"] is True
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 1800, "MaxWaitTimeInSeconds": 3600}
    channels = {each["ChannelName"]: each["DataSource"]["S3DataSource"]["S3Uri"] for each in asked["InputDataConfig"]}
    assert channels["backbone"] == job.backbone
    kept = asked["CheckpointConfig"]
    assert kept["LocalPath"] == "/opt/ml/checkpoints"
    assert kept["S3Uri"] != aws.asked[1]["CheckpointConfig"]["S3Uri"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("mnist.npz", "aws s3 cp --recursive mnist.npz s3://images/training/"),
        ("s3://elsewhere/mnist/", "source_buckets in environments/dev.toml"),
        ("s3://images/none/", "there is nothing"),
    ],
)
def test_data_that_a_job_could_not_read_is_told_before_anything_is_uploaded(data, says):
    aws = Aws()
    with pytest.raises(EnvironmentUnavailable, match=re.escape(says)):
        training_jobs.start(Job(recipe="digits", data=data, options={}), aws.deployment, CONFIG)
    assert aws.objects.keys() == {"images/mnist/tiny.npz", "images/net.onnx"}


def test_the_command_prints_one_document_and_a_failed_job_is_exit_status_1(aws, monkeypatch):
    monkeypatch.setattr(training_commands, "connect", lambda name, state: aws.deployment)
    command = ["train", "digits", "--data", JOB.data, "--env", "dev", "--json"]
    done = CliRunner().invoke(app, [*command, "--no-wait"])
    assert done.exit_code == 0, done.output
    (asked,) = aws.asked
    assert json.loads(done.stdout)["job"] == asked["TrainingJobName"]
    aws.end = "Failed"
    monkeypatch.setattr(training_jobs, "POLL", 0)
    failed = CliRunner().invoke(app, command)
    assert failed.exit_code == 1
    assert failed.stdout == ""
    assert "no more disk" in failed.stderr
    assert CliRunner().invoke(app, [*command, "--out", "x"]).exit_code == 2


def test_a_job_is_followed_to_its_end_with_every_line_of_its_log_once(aws, monkeypatch):
    monkeypatch.setattr(training_jobs, "POLL", 0)
    started = training_jobs.start(JOB, aws.deployment, CONFIG)
    said: list[str] = []
    aws.looks = 0
    training_jobs.follow(started, aws.deployment, said.append)
    name = started.name
    assert said == [f"{name}: Training", "line [1]", "line [2]", f"{name}: Completed"]
    aws.end, aws.looks = "Stopped", 0
    with pytest.raises(JobFailed, match="stopped"):
        training_jobs.follow(started, aws.deployment, said.append)


@pytest.mark.train
def test_what_the_job_uploads_trains_in_its_container(aws, tmp_path):
    """The SDK's own script runs what was uploaded; /opt/ml lies elsewhere, and pip has nothing to do."""
    pytest.importorskip("torch", reason="training needs torch: pip install -r requirements-train.txt")
    training_jobs.start(JOB, aws.deployment, CONFIG)
    (asked,) = aws.asked
    ml = tmp_path / "opt" / "ml"
    for channel in asked["InputDataConfig"]:
        where = channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://")
        for key, body in aws.objects.items():
            if key == where or key.startswith(f"{where}/"):
                inside = key.removeprefix(f"{where}/") if key != where else Path(key).name
                path = ml / "input/data" / channel["ChannelName"] / inside
                path.parent.mkdir(parents=True, exist_ok=True)
                text = path.suffix in (".py", ".sh")
                path.write_bytes(body.replace(b"/opt/ml", str(ml).encode()) if text else body)
    random = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"{part}_y"] = np.arange(60, dtype=np.uint8) % 10
        arrays[f"{part}_x"] = random.integers(0, 40, (60, 28, 28), np.uint8)
        arrays[f"{part}_x"][np.arange(60), 2 + 2 * arrays[f"{part}_y"], 6:22] = 250
    for folder in ("input/config", "input/data/training", "output", "model", "bin"):
        (ml / folder).mkdir(parents=True, exist_ok=True)
    np.savez(ml / "input/data/training/tiny.npz", **arrays)
    host = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
    config = ml / "input/config"
    (config / "resourceconfig.json").write_text(json.dumps(host | {"current_instance_type": "ml.c7i.2xlarge"}))
    channels = {each["ChannelName"]: {} for each in asked["InputDataConfig"]}
    (config / "inputdataconfig.json").write_text(json.dumps(channels))
    (config / "hyperparameters.json").write_text(json.dumps(asked.get("HyperParameters", {})))

    # -S: no .pth file, so the repository's editable installation is not there, only packages and the working directory
    moved = f"sed -i.bak s,/opt/ml,{ml}, training/__main__.py"
    python = f'#!/bin/sh\ncase "$*" in *install_requirements*) {moved}; exit;; esac\n'
    python += f'exec {sys.executable} -S "$@"\n'
    for name in ("python", "python3", "pip3"):
        (ml / "bin" / name).write_text(python)
        (ml / "bin" / name).chmod(0o755)
    ran = subprocess.run(
        ["bash", str(ml / "input/data/sm_drivers/sm_train.sh")],
        env={
            "PATH": f"{ml / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "TRAINING_JOB_NAME": asked["TrainingJobName"],
            "HOME": str(tmp_path),
            "OMP_NUM_THREADS": "1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert {path.name for path in (ml / "model").iterdir()} == {"card.md", "model.json", "model.onnx", "report"}
    assert json.loads((ml / "model/model.json").read_text())["metrics"]["images"] == 60
    assert (ml / "checkpoints/training.pt").is_file()


def closure(names: list[str]) -> set[str]:
    """The distributions that pip installs for these."""
    found: set[str] = set()
    open_ = [Requirement(name) for name in names]
    while open_:
        one = open_.pop()
        name = canonicalize_name(one.name)
        if name in found:
            continue
        found.add(name)
        extras = one.extras or {""}
        try:
            needed = [Requirement(text) for text in requires(name) or ()]
        except ModuleNotFoundError:  # of another platform
            continue
        open_ += [
            each for each in needed if each.marker is None or any(each.marker.evaluate({"extra": x}) for x in extras)
        ]
    return found


def test_every_package_that_a_job_installs_is_pinned_and_only_code_is_packed(tmp_path):
    recipe = training_jobs.ROOT / "training/recipes/digits.toml"
    assert training_jobs.stage("digits", tmp_path / "named.tar.gz") == "digits"
    assert training_jobs.stage(str(recipe), tmp_path / "own.tar.gz") == "recipe.toml"
    with tarfile.open(tmp_path / "own.tar.gz") as tar:
        names = tar.getnames()
        pins = [Requirement(line) for line in tar.extractfile("constraints.txt").read().decode().splitlines()]
        assert tar.extractfile("recipe.toml").read().strip() == recipe.read_bytes().strip()
    rooms = {name.partition("/")[0] for name in names}
    assert rooms == {"ics", "serving", "training", "constraints.txt", "requirements.txt", "recipe.toml"}
    assert not [name for name in names if "__pycache__" in name]
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in pins)
    pinned = {canonicalize_name(pin.name) for pin in pins}
    assert closure(list(PACKAGES)) <= pinned
    assert "torch" not in pinned


def test_a_job_installs_whatever_its_code_imports():
    pytest.importorskip("onnxscript", reason="training needs its packages: pip install -r requirements-train.txt")
    imported = set()
    for room in training_jobs.ROOMS:
        for path in (training_jobs.ROOT / room).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add(node.module.partition(".")[0])
    of_the_server = {"uvloop", "httptools", "orjson", "pybase64"}
    imported -= {*sys.stdlib_module_names, *training_jobs.ROOMS, "torch", *of_the_server}
    owners = packages_distributions()
    installed = closure(list(PACKAGES))
    assert {"numpy", "onnx", "PIL"} <= imported
    assert not [name for name in imported if not {canonicalize_name(one) for one in owners[name]} & installed]
