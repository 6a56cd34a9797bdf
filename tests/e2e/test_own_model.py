"""Several models at once, in an environment of their own: the commands of docs/own-model.md, and a text model."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cli import runs
from cli.deployment import ROOT, Deployment, connect
from ics.artifact import ModelSpec, load_spec
from local import control
from local.deploy import INPUTS
from tests.artifacts import DIGITS, write_artifact, writing
from tests.e2e.harness import Ended, hold

RECIPE = ROOT / "docs" / "own-model.md"
LABELS = ("rose", "leaf", "sky")
READER = """
[models.reader]
artifact = "models/reader"
instance_type = "ml.c6g.large"
batch_images = 2
"""
Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository whose local environment names the digits and a text model; nothing runs there yet."""
    root = tmp_path_factory.mktemp("checkout")
    for name in {*INPUTS, "local", "cli"} - {"models"}:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "models" / "digits", root / "models" / "digits")
    (root / "node_modules").symlink_to(ROOT / "node_modules")
    write_artifact(
        root / "models" / "reader", name="reader", kind="text", labels=[*DIGITS, " "], width=160, height=32,
        sharpness=3000,
    )  # fmt: skip
    environment = root / "environments" / "local.toml"
    head, *models = re.split(r"(?m)^(?=\[models\.)", environment.read_text())
    (digits,) = (one for one in models if one.startswith("[models.digits]"))
    head = re.sub(r"(?ms)^\[web\].*?(?=^\[|\Z)", "", head)  # the page is built of more than is copied
    environment.write_text(head + digits + READER)
    try:
        yield root
    finally:
        control.stop(root / ".ics")


@pytest.fixture(scope="module")
def shell(checkout: Path) -> Shell:
    """Run a command line in the copy, with its own `ics`."""
    ics = f'set -e; ics() {{ {shlex.quote(sys.executable)} -m cli "$@"; }}\n'
    environment = {**os.environ, "ICS_STATE": str(checkout / ".ics"), "COLUMNS": "120", "PYTHONPATH": str(checkout)}

    def run(line: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", ics + line], env=environment, capture_output=True, text=True, check=False, cwd=checkout
        )

    return run


@pytest.fixture(scope="module")
def followed(checkout: Path, shell: Shell) -> list[str]:
    """What each command block of the recipe printed, on a graph that tells red, green and blue, done in order."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("Mul", ["flat", "ten"], ["sharp"]),
            helper.make_node("Softmax", ["sharp"], ["y"], axis=1),
        ],
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.array(10, np.float32), "ten")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), checkout / "flowers.onnx"
    )
    (checkout / "labels.txt").write_text("\n".join(LABELS) + "\n")
    (checkout / "bouquet").mkdir()
    for label, colour in zip(LABELS, ((220, 40, 60), (30, 190, 40), (60, 90, 230)), strict=True):
        Image.new("RGB", (300, 200), colour).save(checkout / "bouquet" / f"{label}.jpg")
    printed = []
    for language, block in re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", RECIPE.read_text("utf-8")):
        if language == "toml":
            with (checkout / "environments" / "local.toml").open("a") as file:
                file.write("\n" + block)
            continue
        assert language == "sh"
        done = shell(block)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    return printed


@pytest.fixture(scope="module")
def deployed(followed: list[str], checkout: Path) -> Deployment:
    assert followed
    return connect("local", checkout / ".ics")


@pytest.fixture(scope="module")
def spec(checkout: Path) -> ModelSpec:
    return load_spec(checkout / "models" / "reader")


def ended(deployment: Deployment, checkout: Path, run: str) -> Ended:
    """A run that has ended, held to what must be true of any."""
    summary, aws = runs.summary(deployment, run), control.status(checkout / ".ics")
    assert summary is not None
    assert aws is not None
    one = Ended(run, runs.describe(deployment, run), summary, list(runs.rows(deployment, summary)))
    hold(one, aws, deployment)
    return one


def test_the_recipe_deploys_a_model_that_classifies(followed: list[str], deployed: Deployment, checkout: Path) -> None:
    packed, checked, classified = followed
    assert "models/flowers is a classification model of 3 labels" in packed
    assert "It can be served. 0 problems" in checked
    run = re.search(r"Run (classify-\S+) SUCCEEDED", classified)
    assert run is not None
    one = ended(deployed, checkout, run[1])
    assert one.summary["model"] == "flowers"
    assert "/results/model=flowers/dt=" in one.summary["links"]["rows"]
    version = load_spec(checkout / "models" / "flowers").version
    assert {row["model_version"] for row in one.rows} == {version}
    assert {row["s3_uri"].rpartition("/")[2]: row["label"] for row in one.rows} == {
        f"{label}.jpg": label for label in LABELS
    }


def test_lines_are_read_by_name_and_an_empty_one_reaches_a_person(
    shell: Shell, deployed: Deployment, checkout: Path, spec: ModelSpec
) -> None:
    texts = ["42", "1 000 000", "7 7", "0", ""]
    (checkout / "lines").mkdir()
    for number, text in enumerate(texts):
        (checkout / "lines" / f"{number}.png").write_bytes(writing(spec, text))
    done = shell("ics classify lines/ --model reader --threshold 0.9")
    assert done.returncode == 1, done.stderr  # the empty line needs a person
    run = re.search(r"Run (classify-\S+) FAILED", done.stdout)
    assert run is not None
    one = ended(deployed, checkout, run[1])
    assert one.summary["batches"] == 3  # of two, as the environment says for this model
    found = {row["s3_uri"].rpartition("/")[2]: row for row in one.rows}
    for number, text in enumerate(texts):
        row = found[f"{number}.png"]
        assert (row["model"], row["text"], row["label"]) == ("reader", text, text)
        assert "".join(other["label"] for other in row["alternatives"]) == text
        assert (row["decision"], row["reason"]) == (("accepted", None) if text else ("uncertain", "NothingRead"))
    for said in ("1 000 000", "(nothing)", "uncertain: nothing read", "NothingRead: the model read no character"):
        assert said in done.stdout
    assert "/results/model=reader/dt=" in one.summary["links"]["rows"]


def test_all_models_answer_at_once_each_under_its_name(
    shell: Shell, deployed: Deployment, checkout: Path, digits: list[bytes]
) -> None:
    status = json.loads(shell("ics status --json").stdout)
    assert status["models"] == dict.fromkeys(("digits", "reader", "flowers"), "InService")
    (checkout / "seven.png").write_bytes(digits[7])
    lines = [f"ics classify {what} --mode tolerant --json{model} &" for what, model in (
        ("seven.png", ""), ("bouquet/", " --model flowers"), ("lines/0.png", " --model reader"),
    )]  # fmt: skip
    done = shell("\n".join([*lines, "wait"]))
    told = [json.loads(line) for line in done.stdout.splitlines()]
    models = [ended(deployed, checkout, one["run"]).summary["model"] for one in told]
    assert sorted(models) == ["digits", "flowers", "reader"]


def test_an_unknown_model_is_refused_by_naming_those_there_are(
    shell: Shell, deployed: Deployment, checkout: Path
) -> None:
    before = deployed.s3.list_objects_v2(Bucket=deployed.images_bucket)["KeyCount"]
    for line in ("ics classify bouquet/ --model roses", "ics start --prefix s3://b/p --model roses"):
        refused = shell(line)
        assert (refused.returncode, refused.stdout) == (2, "")
        said = " ".join(refused.stderr.split())
        assert "no model 'roses' in environment 'local'. There are: digits, reader, flowers" in said
    assert deployed.s3.list_objects_v2(Bucket=deployed.images_bucket)["KeyCount"] == before
