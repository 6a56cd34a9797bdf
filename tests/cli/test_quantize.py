"""`ics model quantize`: what it writes is served, its figures are those of the server, on other pictures."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from cli import main
from cli.main import app
from cli.quantization import as_sure, integers, parted
from ics.artifact import ModelSpec, spec_to_json
from ics.errors import InvalidArtifact
from serving.model import load_model, open_graph
from tests.artifacts import STRIP, picture, write_artifact, writing
from training.data import DataError
from training.evaluate import evaluate
from training.measures import figures
from training.samples import Sample, find_samples

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "models" / "digits"
LETTERS = ("ж", "д", "й")

WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from cli.main import main
sys.argv[0] = "ics"
main()
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `ics model` with these arguments, in `tmp_path`: exit status, stdout, stderr."""

    def ran(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ics", "model", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return ran


def drawn() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """scikit-learn's first 700 digits, in the middle of 28 x 28 pixels, and what they are."""
    small = load_digits()
    pictures = np.pad(np.kron(small.images, np.ones((2, 2))) * (255 / 16), ((0, 0), (6, 6), (6, 6)))
    return pictures[:700].astype(np.uint8), small.target[:700].astype(np.uint8)


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in MNIST's form, with 400 digits to measure on."""
    pictures, labels = drawn()
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    np.savez(path, train_x=pictures[:300], train_y=labels[:300], test_x=pictures[300:], test_y=labels[300:])
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same 400 digits as files in folders named after them."""
    root = tmp_path_factory.mktemp("folders")
    for number, (pixels, label) in enumerate(zip(*drawn(), strict=True)):
        if number >= 300:
            (root / str(label)).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / str(label) / f"{number}.png")
    return root


def write_reader(folder: Path) -> ModelSpec:
    """As `write_artifact`'s text model, but of two convolutions: the logits less what all labels have in common."""
    spec = write_artifact(folder, name="reader", kind="text", labels=LETTERS, width=64, sharpness=400.0)
    shades, height = np.linspace(0, 1, spec.classes), spec.input.height
    weights = {
        "mean": np.full((1, 1, height, STRIP), 1 / (255 * height * STRIP)),
        "slope": (800 * shades).reshape(-1, 1, 1, 1),
        "offset": -400 * shades**2,
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "mean"], ["brightness"], strides=[1, STRIP]),
        helper.make_node("Conv", ["brightness", "slope", "offset"], ["columns"]),
        helper.make_node("Squeeze", ["columns", "axes"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["logits"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "reader",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", height, 64, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 64 // STRIP, spec.classes])],
        [
            *(numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()),
            numpy_helper.from_array(np.array([2]), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return written(folder, model.SerializeToString(), spec)


def written(folder: Path, graph: bytes, spec: ModelSpec) -> ModelSpec:
    spec = replace(spec, version=hashlib.sha256(graph).hexdigest())
    (folder / "model.onnx").write_bytes(graph)
    (folder / "model.json").write_text(json.dumps(spec_to_json(spec)), "utf-8")
    return spec


def lines(folder: Path, spec: ModelSpec, count: int) -> Path:
    """A TSV of lines and their pictures: every second letter's place is random."""
    (folder / "lines").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for number in range(count):
        text = "".join(rng.choice(LETTERS, rng.integers(1, 5)))
        (folder / "lines" / f"{number}.png").write_bytes(writing(spec, text))
        rows.append(f"{number}.png\t{text if number % 8 else text + 'ж'}\n")  # each eighth is read wrongly
    (folder / "lines.tsv").write_text("".join(rows), "utf-8")
    return folder / "lines.tsv"


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "model.json").read_text("utf-8"))["metrics"]
    return found


def test_its_figures_are_what_the_served_model_answers_to_pictures_that_did_not_calibrate(
    run: Run, tmp_path: Path, folders: Path
) -> None:
    before = {path.name: path.read_bytes() for path in DIGITS.iterdir() if path.is_file()}
    code, out, err = run("quantize", "digits", "--data", folders, "--out", "small", "--images", 60, "--json")
    assert code == 0, err
    found = json.loads(out)
    original, quantized = load_model(DIGITS), load_model(tmp_path / "small")
    assert (quantized.spec.name, quantized.spec.labels) == ("small", original.spec.labels)
    assert len(found["original"]["version"]) == 64
    assert (found["original"]["version"], found["int8"]["version"]) == (original.spec.version, quantized.spec.version)

    calibrating, measuring = parted(find_samples(folders, original.spec).samples, 60)
    assert (found["calibrated_on"], found["images"]) == (len(calibrating), len(measuring)) == (60, 340)
    sides = [evaluate(model, measuring, lambda: None).answers for model in (original, quantized)]
    for side, answers in zip(("original", "int8"), sides, strict=True):
        expected = figures(answers, "classification", original.spec.labels)
        assert {name: found[side][name] for name in ("accuracy", "ece", "accepted")} == {
            name: expected[name] for name in ("accuracy", "ece", "accepted")
        }
    assert found["accuracy_change"] == pytest.approx(sides[1].right.mean() - sides[0].right.mean())
    same = sum(one == other for one, other in zip(sides[0].said, sides[1].said, strict=True))
    assert found["agreement"]["count"] == same >= 335
    assert sides[1].right.mean() > 0.9
    told = metrics(tmp_path / "small")
    assert (told["accuracy"], told["images"]) == (sides[1].right.mean(), 340)
    assert told["quantized"]["from"] == original.spec.version
    assert (told["quantized"]["original_accuracy"], told["quantized"]["int8_accuracy"]) == (
        sides[0].right.mean(), sides[1].right.mean()
    )  # fmt: skip

    card = (tmp_path / "small" / "card.md").read_text("utf-8")
    for side in ("original", "int8"):
        one = found[side]["accuracy"]
        assert f"{one['value']:.2%} ({one['low']:.1%} to {one['high']:.1%})" in card
    assert f"accuracy changes by {found['accuracy_change'] * 100:+.2f} points" in card
    kept = before["card.md"].decode().partition("## Use and limits")[2]
    assert card.startswith("# small\n")
    assert kept in card
    assert "](report/" not in card  # what is not here is not linked to
    checked = json.loads(run("check", "small", "--json")[1])
    assert {one["level"] for one in checked} == {"ok"}
    assert {path.name: path.read_bytes() for path in DIGITS.iterdir() if path.is_file()} == before


def test_all_weights_are_integers_and_an_image_has_the_same_answer_in_a_batch_to_the_bit(
    run: Run, tmp_path: Path, folders: Path
) -> None:
    assert run("quantize", DIGITS, "--data", folders, "--out", "small")[0] == 0
    net = onnx.load(tmp_path / "small" / "model.onnx")
    made = {output: node for node in net.graph.node for output in node.output}
    types = {one.name: one.data_type for one in net.graph.initializer}
    convolutions = [node for node in net.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 8
    for node in convolutions:
        assert types[made[node.input[1]].input[0]] == TensorProto.INT8
        assert made[node.input[0]].op_type == "DequantizeLinear"
    weights = [numpy_helper.to_array(one) for one in net.graph.initializer if one.data_type == TensorProto.INT8]
    assert max(np.abs(one.astype(int)).max() for one in weights) <= 64  # the sum of two products fits 16 bits
    (first,) = (node for node in net.graph.node if "image" in node.input and node.op_type != "Shape")
    assert first.op_type in ("Transpose", "Cast")  # pixels are normalised in floats
    assert (tmp_path / "small" / "model.onnx").stat().st_size < (DIGITS / "model.onnx").stat().st_size / 2

    model = load_model(tmp_path / "small")
    images: NDArray[np.uint8] = np.stack([one.pixels(model.spec) for one in find_samples(folders, model.spec).samples])
    alone = np.concatenate([model.session.run(None, {"image": one[np.newaxis]})[0] for one in images[:64]])
    for batch in (2, 7, 64):
        together = [model.session.run(None, {"image": images[at : at + batch]})[0] for at in range(0, 64, batch)]
        assert np.array_equal(np.concatenate(together)[:64], alone)


def test_the_example_of_the_help_text_runs_without_torch_and_again_gives_the_same_graph(
    tmp_path: Path, mnist: Path
) -> None:
    shown = CliRunner().invoke(app, ["model", "quantize", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    example = shown.output.partition("Example: ")[2].partition("\n")[0].strip(" │`")
    line = shlex.split(example.replace("/tmp/", f"{tmp_path}/").replace("mnist.npz", str(mnist)))
    assert line[:3] == ["ics", "model", "quantize"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *line[1:]],
        capture_output=True, text=True, cwd=tmp_path, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "times as many images per CPU second" in done.stdout
    assert "measured on 300" in done.stdout
    assert done.stderr.strip() == ""  # nothing of what the quantizer would say to its own users
    made = load_model(tmp_path / "digits-int8").spec
    samples = [Sample("", str(label), pixels[..., np.newaxis]) for pixels, label in zip(*drawn(), strict=True)]
    images = [one.pixels(made) for one in parted(samples[300:], None)[0]]
    again = integers(DIGITS / "model.onnx", made, images)
    assert hashlib.sha256(again).hexdigest() == made.version


def test_a_text_model_is_measured_by_lines_and_characters(run: Run, tmp_path: Path) -> None:
    table = lines(tmp_path / "data", write_reader(tmp_path / "reader"), 80)
    code, out, err = run("quantize", "reader", "--data", table, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert Path(found["folder"]) == tmp_path / "reader-int8"
    _, measuring = parted(find_samples(table, load_model(tmp_path / "reader").spec).samples, None)
    model = load_model(tmp_path / "reader-int8")
    answers = evaluate(model, measuring, lambda: None).answers
    expected = figures(answers, "text", LETTERS)
    assert 0 < expected["cer"]["value"] < 0.2
    assert (found["int8"]["cer"], found["int8"]["accuracy"]) == (expected["cer"], expected["accuracy"])
    assert metrics(tmp_path / "reader-int8")["cer"] == expected["cer"]["value"]
    assert found["agreement"]["value"] == 1
    assert "| lines read without a mistake |" in (tmp_path / "reader-int8" / "card.md").read_text("utf-8")


def write_one_convolution(path: Path, *, opset: int, type_: int) -> None:
    """A graph of three labels, whose weights are of this type."""
    weights = np.random.default_rng(0).normal(size=(3, 1, 28, 28)) / 255
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=type_),
        helper.make_node("Transpose", ["values"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["columns"]),
        helper.make_node("Flatten", ["columns"], ["rows"]),
        helper.make_node("Cast", ["rows"], ["logits"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 28, 28, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weights.astype(helper.tensor_dtype_to_np_dtype(type_)), "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)


def test_a_graph_of_an_old_opset_is_quantized_and_one_of_another_type_refused(tmp_path: Path) -> None:
    path, images = tmp_path / "model.onnx", [one[..., np.newaxis] for one in drawn()[0][:40]]
    spec = write_artifact(tmp_path / "like", labels=LETTERS)
    write_one_convolution(path, opset=9, type_=TensorProto.FLOAT)
    sessions = [open_graph(path), open_graph(integers(path, spec, images))]
    precise, rounded = (session.run(None, {"image": np.stack(images)})[0] for session in sessions)
    assert 0 < np.abs(rounded - precise).max() < 0.1 * precise.std()
    write_one_convolution(path, opset=17, type_=TensorProto.DOUBLE)
    with pytest.raises(InvalidArtifact, match="cannot be quantized"):
        integers(path, spec, images)


def test_a_picture_that_is_there_twice_is_on_one_side_and_order_does_not_decide() -> None:
    rng = np.random.default_rng(0)
    once = [Sample(f"{number}", "0", rng.integers(0, 256, (4, 4, 1), np.uint8)) for number in range(60)]
    again = [replace(one, source=f"copy of {one.source}") for one in once]
    calibrating, measuring = parted([*once, *again], 20)
    names = [{one.source.removeprefix("copy of ") for one in side} for side in (calibrating, measuring)]
    assert not names[0] & names[1]
    assert len(calibrating) + len(measuring) == 120
    turned = parted([*again, *once][::-1], 20)
    assert {one.source for one in turned[0]} == {one.source for one in calibrating}
    with pytest.raises(DataError, match="of 39 pictures 10 would calibrate and 29 be measured on"):
        parted(once[:39], None)


def test_the_temperature_makes_it_as_sure_as_the_original(tmp_path: Path) -> None:
    for name, sharpness in (("original", 30.0), ("sharper", 60.0), ("sure", 1e6)):
        write_artifact(tmp_path / name, sharpness=sharpness, temperature=1.5)
    original, sharper, sure = (load_model(tmp_path / name) for name in ("original", "sharper", "sure"))
    images = [np.full((28, 28, 1), brightness, np.uint8) for brightness in range(0, 256, 9)]
    assert as_sure(original, sharper, images) == pytest.approx(3.0, rel=1e-4)
    white = [np.full((28, 28, 1), 255, np.uint8)]
    assert as_sure(sure, sure, white) == 1.5  # where every temperature is as good, its own


REFUSED = {
    "no model": (("nothing", "--data", "shades"), "no folder or model 'nothing'"),
    "no data": (("digits", "--data", "nothing"), "no such file or folder"),
    "no labels": (("bright", "--data", "unlabelled"), "no recipe is called 'bright'"),
    "too few": (("bright", "--data", "few"), "of 12 pictures 10 would calibrate and 2 be measured on"),
    "too many calibrate": (("bright", "--data", "shades", "--images", "50"), "50 would calibrate and 10"),
    "unreadable": (("bright", "--data", "broken"), "cannot be used; "),
    "no weights": (("bright", "--data", "shades"), "there is nothing to quantize"),
    "quantized": (("quantized", "--data", "shades"), "is quantized already"),
    "of another kind": (("detector", "--data", "shades"), "is a detection model"),
    "no card": (("cardless", "--data", "shades"), "cardless lacks card.md"),
    "an artifact there": (("bright", "--data", "shades", "--out", "quantized"), "holds an artifact already"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_is_wrong_and_writes_nothing(name: str, run: Run, tmp_path: Path) -> None:
    spec = write_artifact(tmp_path / "bright", name="bright")
    for folder, count in (("few/3", 12), ("shades/3", 60), ("broken/3", 60), ("unlabelled", 60)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(count):
            content = b"broken %d" % number if folder == "broken/3" else picture(number)
            (tmp_path / folder / f"{number}.png").write_bytes(content)
    for kind in ("quantized", "detector", "cardless"):
        write_artifact(tmp_path / kind)
    (tmp_path / "cardless" / "card.md").unlink()
    write_quantized(tmp_path / "quantized", spec)
    net = (tmp_path / "detector" / "model.onnx").read_bytes()
    written(tmp_path / "detector", net, replace(spec, kind="detection"))
    arguments, says = REFUSED[name]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run("quantize", *(() if "--out" in arguments else ("--out", "made")), *arguments)
    assert (code, out) == (2, "")
    assert says in " ".join(err.replace("│", "").split())
    assert sorted(tmp_path.rglob("*")) == before


def write_quantized(folder: Path, spec: ModelSpec) -> None:
    """The artifact's graph with a pair of quantizing nodes at its end."""
    net = onnx.load(folder / "model.onnx")
    net.graph.node[-1].output[0] = "precise"
    for kind, taken, made in (("QuantizeLinear", "precise", "integers"), ("DequantizeLinear", "integers", "logits")):
        net.graph.node.append(helper.make_node(kind, [taken, "scale", "zero"], [made]))
    net.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(8, np.float32), "scale"),
            numpy_helper.from_array(np.array(255, np.uint8), "zero"),
        ]
    )
    written(folder, net.SerializeToString(), spec)
