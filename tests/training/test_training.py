"""The whole way from a data set to an artifact, on tiny made-up data; needs torch."""

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements-train.txt")

from rich.console import Console  # noqa: E402

from ics.artifact import load_spec  # noqa: E402
from training import augment, classification, train  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.data import Dataset, Labelled  # noqa: E402
from training.evaluate import graph_logits  # noqa: E402
from training.export import to_onnx  # noqa: E402
from training.nets import SmallResidualNet  # noqa: E402
from training.recipe import Schedule, load_recipe  # noqa: E402

pytestmark = pytest.mark.train

DIGITS = load_recipe("digits")
SCHEDULE = Schedule(epochs=3, batch=32, peak_rate=1e-3)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bars(count, seed):
    """Made-up digits that are easy to tell apart: digit d is a bar in row 2 + 2 d, with noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    images = random.integers(0, 40, (count, 28, 28, 1), np.uint8)
    images[np.arange(count), 2 + 2 * labels, 6:22] = 250
    return Labelled(images, labels)


def fit(checkpoint, schedule=SCHEDULE, **more):
    console = Console(file=io.StringIO())
    recipe = dataclasses.replace(DIGITS, schedule=schedule)
    dataset = Dataset(tuple("0123456789"), bars(96, 0), bars(40, 1), bars(10, 2), "made up")
    return train.fit(classification.task(recipe, dataset), schedule, checkpoint, console, **more).net, console


def bits(net):
    return b"".join(value.numpy().tobytes() for value in net.state_dict().values())


def test_data_to_artifact_by_the_command(tmp_path):
    data, out = tmp_path / "tiny.npz", tmp_path / "artifact"
    arrays = {}
    for part, count in (("train", 100), ("test", 30)):
        made = bars(count, count)
        arrays |= {f"{part}_x": made.images[..., 0], f"{part}_y": made.labels.astype(np.uint8)}
    np.savez(data, **arrays)
    command = ["digits", "--data", str(data), "--out", str(out), "--epochs", "1", "--threads", "1"]
    assert main([*command, "--checkpoint", str(tmp_path / "c.pt")]) == 0
    spec = load_spec(out)
    assert spec.metrics["images"] == 30
    assert spec.version in (out / "card.md").read_text("utf-8")
    assert sorted(path.name for path in out.iterdir()) == ["card.md", "model.json", "model.onnx", "report"]
    assert main([*command, "--checkpoint", str(tmp_path / "none.pt"), "--resume"]) == 2
    assert main(["digits", "--data", str(tmp_path / "none.npz")]) == 2


def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path, monkeypatch):
    straight, _ = fit(tmp_path / "straight.pt")

    real, calls = classification.augmented, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 5:  # in the middle of the second of three epochs of three steps
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(classification, "augmented", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "resumed.pt")
    monkeypatch.undo()
    resumed, console = fit(tmp_path / "resumed.pt", resume=True)
    assert "epoch 1 of" not in console.file.getvalue()
    assert bits(resumed) == bits(straight)
    # the weights returned are the best epoch's; what the checkpoints hold are the last one's
    ends = [torch.load(tmp_path / f"{name}.pt", weights_only=True)["states"]["net"] for name in ("straight", "resumed")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("epochs", [1, 2, 4, 8])
def test_a_training_may_be_as_short_as_one_step(tmp_path, epochs):
    short = dataclasses.replace(SCHEDULE, epochs=epochs, batch=96)
    _, console = fit(tmp_path / "c.pt", short)
    assert f"epoch {epochs} of {epochs}" in console.file.getvalue()


def test_another_seed_gives_another_model_and_does_not_resume(tmp_path):
    one = dataclasses.replace(SCHEDULE, epochs=1)
    other = dataclasses.replace(one, seed=1)
    first, _ = fit(tmp_path / "one.pt", one)
    second, _ = fit(tmp_path / "other.pt", other)
    assert bits(first) != bits(second)
    with pytest.raises(train.ResumeError, match="seed"):
        fit(tmp_path / "one.pt", other, resume=True)


def test_training_stops_when_validation_gets_no_better(tmp_path):
    nowhere = dataclasses.replace(SCHEDULE, epochs=50, peak_rate=0.0, patience=2, ema_decay=0.0)
    frozen = dataclasses.replace(nowhere, weight_decay=0.0)
    _, console = fit(tmp_path / "c.pt", frozen)
    assert "stopped" in console.file.getvalue()
    assert console.file.getvalue().count("validation loss") < 50


def test_the_exported_graph_answers_as_the_network_and_keeps_bits_in_any_batch():
    torch.manual_seed(0)
    net = SmallResidualNet(10)
    with torch.no_grad():
        net(torch.rand(64, 1, 28, 28))  # batch statistics other than the initial ones
    net.eval()
    graph = to_onnx(net, DIGITS.input)
    images = bars(33, 2).images
    alone = graph_logits(graph, images, batch=1)
    np.testing.assert_allclose(alone, train.outputs(net, torch.from_numpy(images)).numpy(), atol=1e-4)
    assert graph_logits(graph, images, batch=32).tobytes() == alone.tobytes()
    assert to_onnx(net, DIGITS.input) == graph
    assert b".py" not in graph


def test_augmented_batches_keep_range_shape_and_repeat_by_seed():
    images, labels = train.as_input(torch.from_numpy(bars(40, 3).images)), torch.arange(40) % 10

    def batch():
        even = torch.eye(10)[labels]
        return augment.augmented(images, even, DIGITS.augment, torch.Generator().manual_seed(5))

    inputs, targets = batch()
    assert len(inputs) > 40  # pictures of nothing are among them
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    assert torch.allclose(targets.sum(1), torch.ones(len(targets)))
    assert (targets[:40].argmax(1) == labels).all()
    assert torch.equal(inputs, batch()[0])


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_warping_moves_ink_no_further_than_asked(shift):
    dot = torch.zeros(200, 1, 29, 29)
    dot[:, :, 13:16, 13:16] = 1
    moved = augment.warp(
        dot, torch.Generator().manual_seed(0), degrees=0, shift=shift, scale=(1, 1), shear=0, elastic=0
    )
    places = torch.arange(29.0)
    centres = torch.stack([(moved.sum((1, 3 - axis)) * places).sum(1) / moved.sum((1, 2, 3)) for axis in (0, 1)])
    assert (centres - 14).abs().max() == pytest.approx(shift, abs=0.1)


def test_training_loads_no_deployment_code():
    code = "import sys, training.__main__; print({'aws_cdk', 'boto3', 'stacks', 'lambdas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
