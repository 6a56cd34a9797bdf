"""Accuracy, from real digits that were really classified and what people say of them, through the local deployment."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_digits

from cli import accuracy
from cli.deployment import ROOT, Deployment
from ics import paths
from ics.contracts import dump_line
from ics.records import image_of
from local import control
from tests.e2e.harness import MAX_STATE, Ended, state_sizes

MODEL = "digits-in-lambda"
IMAGES = 60
NOON = "2026-01-31T12:00:00.000Z"
LATER = "2026-01-31T13:00:00+00:00"

Figures = dict[str, Any]


@pytest.fixture(scope="module")
def ended(deployment: Deployment, finish: Callable[..., Ended], digits: list[bytes]) -> Ended:
    """A run over real digits and a file that is none."""
    uris = []
    prefix = f"accuracy-{time.time_ns()}"
    for number, content in enumerate([*digits[:IMAGES], b"milk, bread"]):
        key = f"{prefix}/{number:04d}.png"
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=key, Body=content)
        uris.append({"s3_bucket": deployment.images_bucket, "s3_key": key})
    return finish({"images": uris, "model": MODEL, "mode": "tolerant"})


def _number(row: Mapping[str, Any]) -> int:
    return int(Path(image_of(row).key).stem)


@pytest.fixture(scope="module")
def labels(ended: Ended) -> list[Figures]:
    """What people say: half of them name the image by its id. The first images are special."""
    said = []
    for row in ended.rows:
        number = _number(row)
        truth = "0" if number >= IMAGES else str(load_digits().target[number])
        name = {"image_id": row["image_id"]} if number % 2 else {"s3_uri": row["s3_uri"]}
        other = {"s3_uri": row["s3_uri"]} if number % 2 else {"image_id": row["image_id"]}
        said.append({**name, "label": truth, "by": "ada", "at": NOON})
        if number in (0, 1):  # named in two ways, by two people: in conflict
            said.append({**other, "label": "x", "by": "bo", "at": NOON})
        if number in (2, 3):  # withdrawn, though she named it otherwise
            said.append({**other, "label": None, "by": "ada", "at": LATER})
        if number == 4:  # an earlier word of hers, which no longer counts
            said.append({**name, "label": "x", "by": "ada", "at": "2026-01-30T12:00:00Z"})
        if number == 5:  # two who agree
            said.append({**other, "label": truth, "by": "bo", "at": NOON})
    said.append({"image_id": "f" * 64, "label": "7", "by": "ada", "at": NOON})
    said.append({"s3_uri": "s3://elsewhere/no.png", "label": "7"})
    return said


@pytest.fixture(scope="module")
def evaluate(deployment: Deployment, aws: control.LocalAws) -> Callable[[Mapping[str, str]], Figures]:
    """Evaluate to the end; the figures."""

    def to_the_end(request: Mapping[str, str]) -> Figures:
        name = accuracy.start(deployment, request)
        for _ in accuracy.follow(deployment, name, every=0.1):
            pass
        found = accuracy.figures(deployment, paths.metrics(name))
        assert found is not None
        arn = deployment.state_machine.replace(":stateMachine:", ":execution:").replace("classify-images", "evaluate")
        assert state_sizes(aws)[f"{arn}:{name}"]["bytes"] <= MAX_STATE
        return found

    return to_the_end


@pytest.fixture(scope="module")
def brought(deployment: Deployment, labels: list[Figures]) -> Iterator[None]:
    """The labels as files of the model's, between them lines that nobody can read; gone at the end."""
    prefix = paths.model_labels(MODEL)
    files = {
        "dt=2026-01-31/page.jsonl": b"".join(map(dump_line, labels[::2])),
        "dt=2026-02-01/ada.jsonl": b"milk\n\n" + b"".join(map(dump_line, labels[1::2])) + b'{"label": NaN}\n',
        "dt=2026-02-01/readme.txt": b"no labels",
    }
    for name, content in files.items():
        deployment.s3.put_object(Bucket=deployment.results_bucket, Key=prefix + name, Body=content)
    yield
    for name in files:
        deployment.s3.delete_object(Bucket=deployment.results_bucket, Key=prefix + name)


@pytest.fixture(scope="module")
def found(evaluate: Callable[[Mapping[str, str]], Figures], brought: None) -> Figures:
    return evaluate({"model": MODEL})


def test_the_figures_are_those_of_the_rows_and_labels(found: Figures, ended: Ended) -> None:
    counting = [row for row in ended.rows if 4 <= _number(row) < IMAGES]
    truths = {row["image_id"]: str(load_digits().target[_number(row)]) for row in counting}
    right = [row["label"] == truths[row["image_id"]] for row in counting]
    assert found["accuracy"]["value"] == sum(right) / (IMAGES - 4)
    assert (found["images"], found["kind"], found["model"]) == (IMAGES - 4, "classification", MODEL)
    assert found["model_version"] == counting[0]["model_version"]
    cells = Counter((truths[row["image_id"]], row["label"]) for row in counting)
    names = found["confusion"]["labels"]
    assert found["confusion"]["counts"] == [[cells[truth, said] for said in names] for truth in names]
    accepted = [one for one, row in zip(right, counting, strict=True) if row["decision"] == "accepted"]
    decided = found["decisions"]["accepted"]
    assert (decided["count"], decided["of"]) == (sum(accepted), len(accepted))
    sure = [row["confidence"] >= 0.94 for row in counting]
    (used,) = [one for one in found["thresholds"] if one["threshold"] == found["threshold"] == 0.94]
    assert (used["accepted"], used["to_people"]) == (sum(sure), len(sure) - sum(sure))
    assert used["wrong_accepted"] == sum(not one for one, yes in zip(right, sure, strict=True) if yes)
    assert found["predictions"]["failed"] >= 1


def test_what_does_not_count_is_reported(found: Figures, ended: Ended, deployment: Deployment) -> None:
    assert found["labels"] == {
        "lines": IMAGES + 1 + 2 + 2 + 1 + 1 + 2,
        "images": IMAGES + 1 + 2,
        "counted": IMAGES - 4,
        "withdrawn": 2,
        "conflicting": 2,
        "failed": 1,
        "unknown": 2,
        "of_other_versions": 0,
    }
    by_number = {_number(row): row for row in ended.rows}
    assert {one["s3_uri"] for one in found["conflicts"]} == {by_number[number]["s3_uri"] for number in (0, 1)}
    for one in found["conflicts"]:
        assert [(said["by"], said["label"]) for said in one["labels"]][1] == ("bo", "x")
    assert {one["s3_uri"] for one in found["unknown"]} == {"f" * 64, "s3://elsewhere/no.png"}
    file = f"s3://{deployment.results_bucket}/{paths.model_labels(MODEL)}dt=2026-02-01/ada.jsonl"
    assert found["bad_lines"] == 2
    assert [one["file"] for one in found["bad"]] == [file, file]
    assert found["bad"][0]["line"] == 1


def test_the_models_latest_figures_are_the_same_bytes(found: Figures, deployment: Deployment) -> None:
    def content(key: str) -> bytes:
        answer: bytes = deployment.s3.get_object(Bucket=deployment.results_bucket, Key=key)["Body"].read()
        return answer

    assert content(paths.latest_metrics(MODEL)) == content(paths.metrics(found["evaluation"]))


def test_files_of_somebodys_own_are_evaluated_and_leave_the_models_figures_alone(
    evaluate: Callable[[Mapping[str, str]], Figures], found: Figures, ended: Ended, deployment: Deployment
) -> None:
    prefix = f"own-{time.time_ns()}"
    rows = [row for row in ended.rows if row["decision"] != "failed"]
    files = {
        "labels.jsonl": [{"image_id": row["image_id"], "label": row["label"]} for row in rows],
        "predictions/a.jsonl": rows[: IMAGES // 2],
        "predictions/b.jsonl": [{**row, "decided_at": NOON, "label": "x"} for row in rows],  # earlier: do not count
        "predictions/c.jsonl": rows[IMAGES // 2 :],
        "predictions/c.jsonl.bak": rows,
        "read/truth.jsonl": [{"s3_uri": "s3://b/1", "label": "кит и пёс"}, {"s3_uri": "s3://b/2", "label": "дом"}],
        "read/said.jsonl": [
            {"s3_uri": "s3://b/1", "label": "кит ы пёс", "text": "кит ы пёс", "confidence": 0.5},
            {"s3_uri": "s3://b/2", "label": "дом", "text": "дом", "confidence": 0.9},
        ],
        "pairs.jsonl": [{"truth": "7", "label": "7" if number < 15 else "1"} for number in range(25)],
    }
    for name, lines in files.items():
        body = b"".join(map(dump_line, lines))
        deployment.s3.put_object(Bucket=deployment.images_bucket, Key=f"{prefix}/{name}", Body=body)
    place = f"s3://{deployment.images_bucket}/{prefix}"
    own = evaluate({"labels": f"{place}/labels.jsonl", "predictions": f"{place}/predictions/", "model": MODEL})
    assert (own["accuracy"]["value"], own["images"]) == (1.0, IMAGES)
    assert own["predictions"]["lines"] == 2 * IMAGES
    read = evaluate({"labels": f"{place}/read/truth.jsonl", "predictions": f"{place}/read/said.jsonl"})
    assert (read["kind"], read["confusion"], read["model"]) == ("text", None, "")
    assert (read["exact"]["value"], read["cer"]["value"], read["wer"]["value"]) == (0.5, 1 / 12, 1 / 4)
    pairs = evaluate({"pairs": f"{place}/pairs.jsonl"})
    assert (pairs["accuracy"]["value"], pairs["ece"]) == (0.6, None)
    latest = accuracy.figures(deployment, paths.latest_metrics(MODEL))
    assert latest is not None
    assert latest["evaluation"] == found["evaluation"]


REFUSED = {
    "EmptySource: no labels": {"model": "nobody-labelled-this"},
    "InvalidRequest: unknown key": {"modle": "digits"},
    "EmptySource: no pairs": {"pairs": "s3://IMAGES/no-such-file.jsonl"},
    "SourceNotFound": {"pairs": "s3://no-such-bucket-of-ours/pairs.jsonl"},
    "EmptySource: no predictions": {"model": MODEL, "since": "2001-01-01", "until": "2001-01-02"},
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_cannot_be_evaluated_is_refused_by_name(says: str, deployment: Deployment, brought: None) -> None:
    request = {name: value.replace("IMAGES", deployment.images_bucket) for name, value in REFUSED[says].items()}
    name = accuracy.start(deployment, request)
    with pytest.raises(accuracy.EvaluationError, match=says):
        list(accuracy.follow(deployment, name, every=0.1))


def _ics(environment: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cli", "accuracy", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_adds_labels_evaluates_and_shows_what_people_need(
    command_environment: dict[str, str], labels: list[Figures], found: Figures, deployment: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "bo.jsonl"
    file.write_bytes(b"".join(dump_line({**label, "by": "bo", "at": LATER}) for label in labels if label["label"]))
    done = _ics(command_environment, "--model", MODEL, "--labels", str(file))
    added = done.stderr.split()[1].partition("/labels/")[2]
    try:
        assert done.returncode == 0, done.stderr
        assert "% right" in done.stdout
        for word in ("precision", "truth \\ answer", "errors that pass", "conflict: s3://", "conflicting"):
            assert word in done.stdout, word
        again = json.loads(_ics(command_environment, "--model", MODEL, "--last", "--json").stdout)
        assert again["labels"]["lines"] > found["labels"]["lines"]
        assert again["images"] >= found["images"]
    finally:
        deployment.s3.delete_object(Bucket=deployment.results_bucket, Key=f"labels/{added}")


def test_the_command_says_what_is_wrong_and_uploads_nothing(
    command_environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"s3_uri": "s3://b/k", "label": "7"}\n{"s3_uri": "s3://b/k", "lable": "7"}\n')
    done = _ics(command_environment, "--labels", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 2: unknown key 'lable'" in done.stderr
    assert "Added" not in done.stderr
    none = _ics(command_environment, "--model", "products", "--last")
    assert (none.returncode, "ics accuracy --model products" in none.stderr) == (2, True)
    nobody = _ics(command_environment, "--model", "products")
    assert (nobody.returncode, "EmptySource: no labels" in nobody.stderr) == (2, True)
