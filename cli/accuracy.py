"""Evaluations of a deployed environment: bring labels, start one, follow it to its figures."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Any, cast

from botocore.exceptions import ClientError

from cli import runs
from cli.deployment import Deployment
from ics import paths
from ics.errors import InvalidLabels
from ics.joining import lines_of
from ics.labels import parse_label

STAGES = ("listing files", "dealing lines out", "finding images", "joining and counting")
"""What an evaluation does, by how many of its Maps have begun."""


class EvaluationError(Exception):
    """There are no figures; the message says why, and what to do next."""


def bring(deployment: Deployment, model: str, file: Path) -> str:
    """Check a labels file and put it among a model's labels; its URI.

    Raises:
        InvalidLabels: names the line and what is wrong with it; nothing is uploaded.
    """
    with file.open("rb") as opened:
        for number, line in enumerate(lines_of(iter(lambda: opened.read(1 << 20), b"")), 1):
            if line is None:
                raise InvalidLabels(number, "longer than 1 MiB")
            if line.strip():
                try:
                    parse_label(line)
                except (ValueError, TypeError, RecursionError) as error:
                    raise InvalidLabels(number, str(error)) from error
    now = datetime.now(UTC)
    key = f"{paths.model_labels(model)}dt={now:%Y-%m-%d}/{now:%H%M%S%f}-{file.stem}.jsonl"
    deployment.s3.upload_file(str(file), deployment.results_bucket, key)
    return f"s3://{deployment.results_bucket}/{key}"


def start(deployment: Deployment, request: Mapping[str, str]) -> str:
    """Start an evaluation; its name.

    Raises:
        EvaluationError: the environment has no state machine for it.
    """
    name = runs.new_run("accuracy")
    try:
        deployment.states.start_execution(
            stateMachineArn=_machine(deployment), name=name, input=json.dumps(request, ensure_ascii=False)
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "StateMachineDoesNotExist":
            raise
        deploy = "ics up" if deployment.name == "local" else f"make deploy ENV={deployment.name}"
        raise EvaluationError(f"Environment {deployment.name!r} cannot evaluate yet. Deploy it: {deploy}") from error
    return name


def follow(deployment: Deployment, evaluation: str, every: float = 0.3) -> Iterator[str]:
    """What the evaluation does, every so many seconds, until it has ended well.

    Raises:
        EvaluationError: it ended otherwise.
    """
    arn = f"{_machine(deployment).replace(':stateMachine:', ':execution:')}:{evaluation}"
    while True:
        found = deployment.states.describe_execution(executionArn=arn)
        if found["status"] == "SUCCEEDED":
            return
        if found["status"] != "RUNNING":
            raise EvaluationError(_why(found))
        begun = len(deployment.states.list_map_runs(executionArn=arn)["mapRuns"])
        yield STAGES[min(begun, len(STAGES) - 1)]
        sleep(every)


def figures(deployment: Deployment, key: str) -> dict[str, Any] | None:
    """The figures at a key of the results bucket, None where there are none."""
    try:
        answer = deployment.s3.get_object(Bucket=deployment.results_bucket, Key=key)
    except deployment.s3.exceptions.NoSuchKey:
        return None
    return cast("dict[str, Any]", json.load(answer["Body"]))


def _machine(deployment: Deployment) -> str:
    """The state machine's ARN, whose name is computed."""
    return deployment.state_machine.rpartition(":")[0] + f":ics-{deployment.name}-evaluate"


def _why(execution: Mapping[str, Any]) -> str:
    """Why an execution ended otherwise, in words; a function's error comes as JSON."""
    error, cause = execution.get("error") or execution["status"], execution.get("cause") or ""
    try:
        cause = json.loads(cause)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        cause = f"{cause} Execution: {execution['executionArn']}".strip()
    return f"{error}: {cause}"
