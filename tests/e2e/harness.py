"""What end-to-end tests know of a run that has ended, and what must be true of any."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cli.deployment import Deployment
from ics import paths
from ics.contracts import ImageRef
from local import control, outbox
from tests.rehearsal import about

MAX_STATE = 32 * 1024
"""Bytes that any state's input or output may have in any run here; AWS's own limit is 262,144."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended: its execution, its summary and its rows."""

    run: str
    execution: Mapping[str, Any]
    summary: Mapping[str, Any]
    rows: list[dict[str, Any]]

    def reasons(self) -> dict[str, str | None]:
        """By the end of each image's key, why it was not accepted."""
        return {row["s3_uri"].rpartition("/")[2]: row["reason"] for row in self.rows}


def packed(files: Sequence[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of files by their names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def hold(ended: Ended, aws: control.LocalAws, deployment: Deployment) -> None:
    """Assert what must be true of any run, from its rows, its plan and what was sent."""
    decisions = Counter(row["decision"] for row in ended.rows)
    assert ended.summary["planned"] == len(ended.rows) == sum(decisions.values())
    for decision in ("accepted", "uncertain", "flagged", "failed"):
        assert ended.summary[decision] == decisions[decision]
    status = ended.execution["status"]
    assert ended.summary["status"] == ("FAILED" if status == "ABORTED" else status)  # what was stopped has failed
    if ended.summary["planned"]:
        key = paths.images(ended.summary["run"])  # which an execution that resumes it has another name than
        planned = deployment.s3.get_object(Bucket=deployment.working_bucket, Key=key)["Body"].read()
        expected = Counter(ImageRef(**json.loads(line)).uri for line in planned.splitlines())
        assert Counter(row["s3_uri"] for row in ended.rows) == expected  # nothing lost, nothing doubled
    digests = published(aws, f"digest/{ended.run}")
    assert len(digests) == 1, "exactly one digest a run"
    assert ended.summary["status"] in (digests[0].subject or "")
    largest = state_sizes(aws)[ended.execution["executionArn"]]
    assert largest["bytes"] <= MAX_STATE, largest


@contextmanager
def policy_of(deployment: Deployment, content: bytes) -> Iterator[None]:
    """Give the environment a routing policy for a while; before and after it has none."""
    place = {"Bucket": deployment.results_bucket, "Key": paths.POLICY}
    deployment.s3.put_object(**place, Body=content)
    try:
        yield
    finally:
        deployment.s3.delete_object(**place)


def published(aws: control.LocalAws, alert: str) -> list[outbox.Delivery]:
    """What was published under the id of an alert, as the environment's queue got it."""
    told = outbox.queued(aws.state, "ics-local-alerts")
    return [one for one in told if one.attributes.get("alert", {}).get("Value") == alert]


def state_sizes(aws: control.LocalAws) -> dict[str, dict[str, Any]]:
    """By execution, the largest input or output of any state, its children's included."""
    found: dict[str, dict[str, Any]] = about(aws, "state-sizes")
    return found
