"""`ics train` and `python -m training`: what they write, how an interrupted one goes on, how a job is told where."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements-train.txt")

from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402

from ics.artifact import load_spec  # noqa: E402
from training import __main__ as module  # noqa: E402
from training import classification, command  # noqa: E402
from training.command import Order  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data(tmp_path):
    """A folder with a tiny MNIST: bars, whose row tells the digit."""
    folder = tmp_path / "channel"
    folder.mkdir()
    random, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 120), ("test", 40)):
        labels = np.arange(count) % 10
        images = random.integers(0, 40, (count, 28, 28), np.uint8)
        images[np.arange(count), 2 + 2 * labels, 6:22] = 250
        arrays |= {f"{part}_x": images, f"{part}_y": labels.astype(np.uint8)}
    np.savez(folder / "mnist.npz", **arrays)
    return folder


def trained(order, *words):
    console = Console(file=io.StringIO(), width=200)
    return command.train(order, console, *words), console.file.getvalue()


def order(tmp_path, data, out="out", **changes):
    common = {"epochs": 1, "threads": 1, "checkpoint": tmp_path / f"{out}.pt"}
    return Order(recipe="digits", data=data / "mnist.npz", out=tmp_path / out, **(common | changes))


def test_a_training_leaves_its_artifact_and_all_that_was_seen_on_the_way(tmp_path, data):
    for out in ("one", "two"):
        assert trained(order(tmp_path, data, out, name="bars"))[0] == 0
    spec = load_spec(tmp_path / "one")
    assert spec.name == "bars"
    report = tmp_path / "one" / "report"
    found = json.loads((report / "metrics.json").read_text("utf-8"))
    assert found["version"] == spec.version
    assert found["test"]["images"] == found["data"]["test"] == 40
    assert found["test"]["accuracy"]["value"] == spec.metrics["accuracy"]
    assert found["test"]["wrong_below_threshold"]["of"] == spec.metrics["wrong"]
    assert [each["epoch"] for each in found["history"]] == [1]
    card = (tmp_path / "one" / "card.md").read_text("utf-8")
    linked = {name for name in ("curves", "confusion", "reliability", "risk-coverage") if f"report/{name}.png" in card}
    assert linked == {path.stem for path in report.glob("*.png")}
    for path in report.glob("*.png"):
        with Image.open(path) as picture:
            picture.verify()
    for path in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_an_interruption_says_how_to_go_on_and_that_works(tmp_path, data, monkeypatch):
    asked = order(tmp_path, data, epochs=2)
    real, calls = classification.augmented, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(classification, "augmented", interrupted)
    stop = 1
    code, said = trained(asked)
    assert code == 130
    assert "nothing to resume" in said
    calls.clear()
    stop = 2  # an epoch is one batch
    code, said = trained(asked)
    assert code == 130
    hint = said.partition("go on with: ")[2].strip()
    assert hint.startswith(f"ics train digits --data {data / 'mnist.npz'} --out {tmp_path / 'out'} --epochs 2")
    assert hint.endswith("--resume")
    monkeypatch.undo()
    assert module.main(hint.split()[2:]) == 0
    assert load_spec(tmp_path / "out").name == "digits"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipe": "nothing"}, "no recipe 'nothing'"),
        ({"data": Path("nothing.npz")}, "nothing.npz"),
        ({"resume": True}, "no checkpoint"),
        ({"name": "No Name"}, "--name No Name"),
    ],
)
def test_what_cannot_be_done_is_said_with_status_2(tmp_path, data, changes, says):
    fields = {"recipe": "digits", "data": data / "mnist.npz", "checkpoint": tmp_path / "c.pt", "out": tmp_path / "out"}
    code, said = trained(Order(**(fields | {"threads": 1} | changes)))
    assert (code, says in said) == (2, True), said
    assert not (tmp_path / "out").exists()


def test_a_job_is_told_by_its_environment_and_goes_on_from_its_checkpoint(tmp_path, data, monkeypatch, capsys):
    for name in ("SM_MODEL_DIR", "SM_CHANNEL_TRAINING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setenv("SM_MODEL_DIR", str(tmp_path / "model"))
    monkeypatch.setenv("SM_CHANNEL_TRAINING", str(data))
    hyperparameters = ["--epochs", "1", "--recipe", "digits", "--threads", "1"]
    assert module.main(hyperparameters) == 0
    assert load_spec(tmp_path / "model").name == "digits"
    assert "epoch 1 of 1" in capsys.readouterr().out
    assert module.main(hyperparameters) == 0  # the checkpoint is of the whole training: nothing is left to learn
    assert "epoch 1 of 1" not in capsys.readouterr().out


def test_a_channel_is_found_by_name_or_as_the_only_one_and_else_asked_for(tmp_path, data):
    assert module.channel("TRAINING", {"SM_CHANNEL_TRAINING": str(data), "SM_CHANNEL_X": "/x"}) == data / "mnist.npz"
    assert module.channel("TRAINING", {"SM_CHANNEL_DIGITS": str(data)}) == data / "mnist.npz"
    (data / "more").mkdir()
    assert module.channel("TRAINING", {"SM_CHANNEL_DIGITS": str(data)}) == data
    with pytest.raises(ValueError, match="channels: A, B"):
        module.channel("TRAINING", {"SM_CHANNEL_A": "/a", "SM_CHANNEL_B": "/b"})
    with pytest.raises(ValueError, match="channels: none"):
        module.channel("TRAINING", {})
    job = {"SM_MODEL_DIR": "/m", "SM_CHANNEL_DIGITS": str(data), "SM_CHANNEL_BACKBONE": str(tmp_path / "b")}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "net.onnx").write_bytes(b"")
    assert module.channel("TRAINING", job) == data
    assert module.as_job(Order(recipe="digits", data=data), job).backbone == tmp_path / "b" / "net.onnx"
    here = Order(recipe="digits", data=data)
    assert module.as_job(here, {}) == here
