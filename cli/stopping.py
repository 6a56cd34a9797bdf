"""Stop a run, and still account for each of its images and tell people.

Step Functions cannot stop a Map run alone: UpdateMapRun changes its concurrency (0 means no limit) and its tolerance,
and StopExecution refuses Express children. StopExecution on the run's own execution ends its Map run and children too,
but then SummarizeRun and NotifyOps never run. So they are done from here: the same function is invoked on the input
that the state machine would give it, and its alert is published to the same topic.

What stopping needs beside reading: states:StopExecution, states:GetExecutionHistory, lambda:GetFunctionConfiguration,
lambda:InvokeFunction on the functions SummarizeRun and MakeContactSheet, sns:Publish, and kms:GenerateDataKey and
kms:Decrypt for the topic.
"""

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli import runs, show
from cli.deployment import Deployment
from cli.options import env_option
from ics import paths
from ics.summary import STOPPED

CAUSE = "stopped by hand; images of batches that had not finished are failed as BatchLost"

WRITERS = ("filter-low-confidence", "record-failure")
"""The functions that write rows and receipts: an invocation of theirs outlives the child that made it."""


class NotSummarized(Exception):
    """The run is stopped, but its summary could not be made, or nobody be told; the message says why."""


Entered = Sequence[tuple[str, dict[str, Any]]]
"""The states that an execution has entered, in order, and the input of each."""


def stop(deployment: Deployment, run: str, every: float) -> bool:
    """Stop a run and summarize it. An execution that was stopped elsewhere, in the console, is summarized too.

    Args:
        deployment: where the run is.
        run: its name; where it was resumed, its resume is meant, too.
        every: seconds between two looks at the Map run.

    Returns:
        Whether this call did it: False where the run has ended, or is past its images and ends by itself.

    Raises:
        RunNotFound: there is no such run.
        NotSummarized: SummarizeRun failed, or the digest could not be published.
    """
    execution = _latest(deployment, run)
    run = execution["name"]
    if execution["status"] == "RUNNING":
        images = runs.map_run(deployment, run)
        if images is not None and images["status"] != "RUNNING":
            return False
        if any(name == "SummarizeRun" for name, _ in _entered(deployment, run)):  # there were no images
            return False
        execution = _stop_execution(deployment, run)
    entered = _entered(deployment, run)
    # PlanRun's output; without it the run was not planned.
    planned = next((given for name, given in entered if name == "WhatIsLeft"), {})
    if execution["status"] != "ABORTED" or _is_told(deployment, run, planned, entered):
        return False
    _await_writers(deployment, run, every)
    answer = _summarize(deployment, execution, planned)
    with suppress(BotoCoreError, ClientError):  # a run does without its sheet rather than not be told
        _make_sheet(deployment, answer["summary"]["run"])
    try:
        _tell(deployment, run, answer["alert"])
    except (BotoCoreError, ClientError) as error:
        raise NotSummarized(
            f"Run {run} is stopped and summarized, but nobody could be told: {error}. "
            f"See {show.COMMAND} results {run}{env_option(deployment.name)}"
        ) from error
    return True


def _latest(deployment: Deployment, run: str) -> dict[str, Any]:
    """The execution of a run, or of its latest resume that runs or was aborted: PlanRun writes down which there are."""
    found = [runs.describe(deployment, run)]
    for attempt in itertools.count(1):
        try:
            key = paths.claim(run, attempt)
            claim = deployment.s3.get_object(Bucket=deployment.working_bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            break
        found.append(runs.describe(deployment, json.loads(claim)["execution"].rpartition(":")[2]))
    return next((one for one in reversed(found) if one["status"] in ("RUNNING", "ABORTED")), found[0])


def _stop_execution(deployment: Deployment, run: str) -> dict[str, Any]:
    """Stop the execution; where it ended by itself in the meantime, that is how it stays."""
    try:
        deployment.states.stop_execution(executionArn=runs.execution_arn(deployment, run), error=STOPPED, cause=CAUSE)
    except ClientError:
        ended = runs.describe(deployment, run)
        if ended["status"] == "RUNNING":
            raise
        return ended
    return runs.describe(deployment, run)


def _is_told(deployment: Deployment, run: str, planned: Mapping[str, Any], entered: Entered) -> bool:
    """Whether the state machine has come to telling people, or an earlier stop has, or a later attempt."""
    found = runs.summary(deployment, run)
    if found is not None and (found["error"] == STOPPED or found["attempt"] > planned.get("attempt", 0)):
        return True
    return any(name in ("NotifyOps", "NotifySummaryFailed") for name, _ in entered)


def _await_writers(deployment: Deployment, run: str, every: float) -> None:
    """Wait until nobody can write a row or a receipt any more, so that the summary stays true."""
    while (images := runs.map_run(deployment, run)) is not None and images["status"] == "RUNNING":
        time.sleep(every)
    if images is None:
        return
    names = [f"ics-{deployment.name}-{writer}" for writer in WRITERS]
    time.sleep(max(deployment.functions.get_function_configuration(FunctionName=name)["Timeout"] for name in names))


def _summarize(deployment: Deployment, execution: Mapping[str, Any], planned: Mapping[str, Any]) -> dict[str, Any]:
    """Invoke SummarizeRun on what the state machine would give it where its Map failed with `RunStopped`."""
    run = execution["name"]
    started = execution["startDate"].astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {
        "run": run,
        "started": started,
        "execution": execution["executionArn"],
        "state": {**planned, "failure": {"Error": STOPPED, "Cause": CAUSE}},
    }
    answer = deployment.functions.invoke(
        FunctionName=f"ics-{deployment.name}-summarize-run", Payload=json.dumps(event).encode()
    )
    body: dict[str, Any] = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise NotSummarized(
            f"Run {run} is stopped, but could not be summarized: {body.get('errorType')}: {body.get('errorMessage')}"
        )
    return body


def _make_sheet(deployment: Deployment, run: str) -> None:
    """Have the contact sheet made that the digest links."""
    deployment.functions.invoke(
        FunctionName=f"ics-{deployment.name}-make-contact-sheet", Payload=json.dumps({"run": run}).encode()
    )


def _tell(deployment: Deployment, run: str, alert: Mapping[str, Any]) -> None:
    """Publish the digest as the state NotifyOps does."""
    texts = ("alert", "environment", "status", "mode", "model")
    deployment.sns.publish(
        TopicArn=deployment.alert_topic,
        Subject=alert["subject"],
        MessageStructure="json",
        Message=alert["message"],
        MessageAttributes={
            name: {"DataType": "String" if name in texts else "Number", "StringValue": value}
            for name, value in {"alert": f"digest/{run}", **alert["attributes"]}.items()
        },
    )


def _entered(deployment: Deployment, run: str) -> Entered:
    pages = deployment.states.get_paginator("get_execution_history").paginate(
        executionArn=runs.execution_arn(deployment, run), includeExecutionData=True
    )
    details = [event.get("stateEnteredEventDetails") for page in pages for event in page["events"]]
    return [(one["name"], json.loads(one.get("input") or "{}")) for one in details if one]
