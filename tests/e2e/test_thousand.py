"""A thousand digits by `ics classify`: reconciled, equal to the bit to the model itself, joined to captured traffic."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.deployment import ROOT, Deployment
from ics.artifact import load_spec
from ics.capture import read_captured
from ics.imaging import prepare
from serving.model import load_model
from tests.e2e.harness import Ended


@pytest.fixture(scope="module")
def ended(digits_folder: Path, command_environment: dict[str, str], finish: Callable[..., Ended]) -> Iterator[Ended]:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "classify", str(digits_folder), "--json"],
        env=command_environment, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert list(said) == ["run", "status", "planned", "accepted", "uncertain", "flagged", "failed", "seconds"]
    assert (done.returncode, said["status"]) in ((0, "SUCCEEDED"), (1, "FAILED"))
    ended = finish(run=said["run"])
    assert {name: ended.summary[name] for name in said} == said
    assert said["planned"] == 1000
    return ended


def test_every_row_equals_the_models_own_answer_to_the_bit(ended: Ended, digits: list[bytes]) -> None:
    model = load_model(ROOT / "models" / "digits")
    for row in ended.rows:
        content = prepare(digits[int(row["s3_uri"].rpartition("/")[2].removesuffix(".png"))], model.spec.input)
        (own,) = model.predict([content])
        assert (row["label"], row["confidence"]) == (own.label, own.confidence)
        assert row["alternatives"] == [{"label": a.label, "confidence": a.confidence} for a in own.alternatives]
        assert row["model_version"] == load_spec(ROOT / "models" / "digits").version
        assert (row["decision"] == "accepted") == (own.confidence >= 0.94)


def test_every_row_joins_to_one_captured_line(ended: Ended, deployment: Deployment) -> None:
    wanted = {row["inference_id"] for row in ended.rows}
    captured: dict[str, tuple[list[bytes], list[bytes]]] = {}
    prefix = "capture/ics-local-digits/AllTraffic/"
    deadline = time.monotonic() + 30
    while wanted - captured.keys() and time.monotonic() < deadline:
        for page in deployment.s3.get_paginator("list_objects_v2").paginate(
            Bucket=deployment.results_bucket, Prefix=prefix
        ):
            for item in page.get("Contents", ()):
                body = deployment.s3.get_object(Bucket=deployment.results_bucket, Key=item["Key"])["Body"].read()
                for line in body.splitlines():
                    one = read_captured(line)
                    captured[one.inference_id] = (one.request.splitlines(), one.response.splitlines())
    assert wanted <= captured.keys()
    for row in ended.rows:
        asked, answered = captured[row["inference_id"]]
        assert json.loads(asked[row["line"] - 1])["id"] == row["image_id"]
        answer = json.loads(answered[row["line"] - 1])
        assert (answer["id"], answer["label"], answer["confidence"]) == (
            row["image_id"],
            row["label"],
            row["confidence"],
        )
