"""`ics model`: what is packed answers as its graph did, what is wrong with an artifact is found and said."""

import io
import json
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from cli import main
from cli.main import app
from ics.artifact import graph_version, load_spec
from serving.language import PROPERTY
from serving.model import load_model
from tests.artifacts import DIGITS, STRIP, write_artifact, writing

COLOURS = ["red", "green", "blue"]
PIXEL = (200, 100, 50)
Ics = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ics(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ics:
    """Run `ics model ...` in this process, in `tmp_path`: exit status, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ics", "model", *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def write_graph(
    path: Path,
    *,
    shape: Sequence[int | str | None] = ("N", 3, 4, 6),
    type_: int = TensorProto.FLOAT,
    nodes: Sequence[onnx.NodeProto] = (),
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    opset: int = 17,
) -> Path:
    """A graph whose logits are the means of an image's channels; `nodes` lead from them, `means`, to the output `y`."""
    nchw = shape[1] in (1, 3)
    means = helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3] if nchw else [1, 2], keepdims=0)
    last = nodes or [helper.make_node("Identity", ["means"], ["y"])]
    graph = helper.make_graph(
        [means, *last],
        "means",
        [
            helper.make_tensor_value_info("x", type_, shape),
            *(helper.make_tensor_value_info(name, type_, [1]) for name in inputs),
        ],
        [helper.make_tensor_value_info(name, type_, None) for name in ("y", *outputs)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def labels_file(folder: Path, labels: Sequence[str]) -> str:
    (folder / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
    return str(folder / "labels.txt")


def plain(colour: tuple[int, int, int] = PIXEL, size: tuple[int, int] = (6, 4)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def softmax_node() -> list[onnx.NodeProto]:
    return [helper.make_node("Softmax", ["means"], ["y"], axis=1)]


def unsqueezed() -> list[onnx.NodeProto]:
    """[N, 3] as [N, 3, 1, 1], as nets end that are convolutions only."""
    return [
        helper.make_node("Constant", [], ["axes"], value=numpy_helper.from_array(np.array([2, 3]))),
        helper.make_node("Unsqueeze", ["means", "axes"], ["y"]),
    ]


def reshaped(*shape: int) -> list[onnx.NodeProto]:
    """A batch of 1 written into the graph, as exporters do that trace: three images fail, or become one."""
    return [
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array(shape))),
        helper.make_node("Reshape", ["means", "shape"], ["y"]),
    ]


GRAPHS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "NCHW": ({}, []),
    "NHWC": ({"shape": ("N", 4, 6, 3)}, []),
    "float16": ({"type_": TensorProto.FLOAT16}, []),
    "float64": ({"type_": TensorProto.DOUBLE}, []),
    "a batch of one": ({"shape": (1, 3, 4, 6)}, []),
    "a batch of one in a node": ({"shape": (1, 3, 4, 6), "nodes": reshaped(1, 3)}, []),
    "a batch of one, flattened": ({"shape": (1, 3, 4, 6), "nodes": reshaped(1, -1)}, []),
    "any size": ({"shape": ("N", 3, "H", "W")}, ["--input", "6x4"]),
    "any size, unnamed": ({"shape": (None, 3, None, None)}, ["--input", "6X4"]),
    "softmax": ({"nodes": softmax_node()}, []),
    "softmax in float16": ({"nodes": softmax_node(), "type_": TensorProto.FLOAT16}, []),
    "four axes": ({"nodes": unsqueezed()}, []),
    "opset 11": ({"opset": 11}, []),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_packed_answers_as_its_graph_did(tmp_path: Path, ics: Ics, name: str) -> None:
    options, arguments = GRAPHS[name]
    file, labels = write_graph(tmp_path / "net.onnx", **options), labels_file(tmp_path, COLOURS)
    status, said, _ = ics("pack", str(file), "--labels", labels, "--colour", "rgb", "--mean", "0.5,0.4,0.3",
                          "--std", "0.1,0.2,0.3", "--temperature", "2", "--out", "flowers", *arguments)  # fmt: skip
    assert (status, "flowers is a classification model of 3 labels" in said) == (0, True)
    model = load_model(tmp_path / "flowers")
    assert (model.spec.name, model.spec.labels, model.spec.input.width) == ("flowers", tuple(COLOURS), 6)
    assert model.spec.version == graph_version(tmp_path / "flowers" / "model.onnx")
    logits = [(v / 255 - mean) / std / 2 for v, mean, std in zip(PIXEL, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), strict=True)]
    expected = [math.exp(one) / sum(map(math.exp, logits)) for one in logits]
    prediction = model.predict_one(plain())
    found = {one.label: one.confidence for one in (prediction, *prediction.alternatives)}
    assert [found[colour] for colour in COLOURS] == pytest.approx(expected, abs=2e-3 if "16" in name else 1e-6)
    status, said, _ = ics("check", "flowers")
    assert (status, "its batch is fixed at 1" in said) == (0, name.startswith("a batch of one") and "nodes" in options)


def test_pixels_arrive_undivided_where_a_graph_scales_them_itself(tmp_path: Path, ics: Ics) -> None:
    for type_, scale in ((TensorProto.FLOAT, ["--scale", "1"]), (TensorProto.UINT8, [])):
        values = "x" if type_ == TensorProto.FLOAT else "floats"
        nodes = [
            helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [values], ["y"], axes=[2, 3], keepdims=0),
        ]
        graph = helper.make_graph(
            nodes,
            "means",
            [helper.make_tensor_value_info("x", type_, ["N", 3, 4, 6])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        )
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx"
        )
        labels, out = labels_file(tmp_path, COLOURS), f"m{type_}"
        assert ics("pack", "n.onnx", "--labels", labels, "--colour", "rgb", "--out", out, *scale)[0] == 0
        prediction = load_model(tmp_path / out).predict_one(plain((12, 11, 10)))
        assert prediction.confidence == pytest.approx(1 / (1 + math.exp(-1) + math.exp(-2)))


@pytest.mark.parametrize("frames_first", [False, True])
def test_a_graph_that_reads_text_is_packed(tmp_path: Path, ics: Ics, frames_first: bool) -> None:
    charset = [*DIGITS, " "]
    spec = write_artifact(tmp_path / "made", kind="text", labels=charset, width=20 * STRIP, height=32, sharpness=3000)
    graph = onnx.load(tmp_path / "made" / "model.onnx")
    if frames_first:
        graph.graph.node.append(helper.make_node("Transpose", ["logits"], ["frames"], perm=[1, 0, 2]))
        graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("frames", TensorProto.FLOAT, None))
    onnx.save(graph, tmp_path / "reader.onnx")
    status, said, _ = ics(
        "pack", "reader.onnx", "--labels", labels_file(tmp_path, charset), "--colour", "grey", "--out", "reader"
    )
    assert (status, "a text model of 11 labels" in said) == (0, True)
    assert load_model(tmp_path / "reader").predict_one(writing(spec, "4 07 1")).text == "4 07 1"


def mixed() -> list[onnx.NodeProto]:
    """A batch whose images influence each other, as batch normalisation does that was exported while training."""
    return [
        helper.make_node("ReduceMean", ["means"], ["centre"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["means", "centre"], ["y"]),
    ]


REFUSED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "two inputs": ({"inputs": ["mask"]}, [], "takes 2 inputs (x, mask)"),
    "two outputs": ({"outputs": ["means"]}, [], "answers 2 tensors (y, means)"),
    "a batch of four": ({"shape": (4, 3, 4, 6)}, [], "takes 4 images at a time, no fewer; export it with a dynamic"),
    "batches mixed": ({"nodes": mixed()}, [], "another answer among others than alone"),
    "grey": ({}, ["--colour", "grey"], "[?, 3, 4, 6], where neither the second nor the last axis has 1"),
    "three axes": ({"shape": (3, 4, 6)}, [], "an image has four axes"),
    "another size": ({}, ["--input", "4x6"], "takes 6x4 (width x height), not 4x6"),
    "no size": ({"shape": ("N", 3, "H", "W")}, [], "say with --input WIDTHxHEIGHT of which"),
    "a huge size": ({"shape": ("N", 3, "H", "W")}, ["--input", "9999x9999"], "from 1 to 1024"),
    "no such size": ({}, ["--input", "6"], "must be width x height"),
    "labels": ({}, ["--labels", "two.txt"], "answers [1, 3] for one image, and there are 2 labels"),
    "no labels": ({}, ["--labels", "none.txt"], "--labels"),
    "equal labels": ({}, ["--labels", "same.txt"], "labels must be different"),
    "mean": ({}, ["--mean", "0.1,0.2"], "one for each of the 3 channels"),
    "mean in words": ({}, ["--mean", "half"], "must be numbers"),
    "std": ({}, ["--std", "0"], "must be finite numbers, and not 0"),
    "temperature": ({}, ["--temperature", "0"], "temperature is 0.0; it must be a number above 0"),
    "whole numbers": ({"type_": TensorProto.INT32}, [], "takes int32; ICS can give it float32"),
    "mean of uint8": ({"type_": TensorProto.UINT8}, ["--mean", "0.5"], "leave out --mean and --std"),
    "a file": ({}, ["--out", "two.txt"], "File exists: 'two.txt'"),
    "opset 6": ({"opset": 6}, [], "is of opset 6; export it with opset 7 or later"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_packed_is_refused_by_name_and_nothing_is_written(tmp_path: Path, ics: Ics, name: str) -> None:
    options, arguments, says = REFUSED[name]
    write_graph(tmp_path / "net.onnx", **options)
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "same.txt").write_text("a\nb\na\n")
    labels = labels_file(tmp_path, COLOURS)
    status, said, refusal = ics(
        "pack", "net.onnx", "--labels", labels, "--colour", "rgb", "--out", "flowers", *arguments
    )
    assert (status, said) == (2, "")
    assert says in " ".join(refusal.replace("│", " ").split())
    assert not (tmp_path / "flowers").exists()


def test_what_is_no_graph_and_what_would_be_lost_is_refused(tmp_path: Path, ics: Ics) -> None:
    labels = labels_file(tmp_path, COLOURS)
    (tmp_path / "net.onnx").write_bytes(b"\xffno graph")
    arguments = ("pack", "net.onnx", "--labels", labels, "--colour", "rgb", "--out", "flowers")
    assert "cannot be read as ONNX" in ics(*arguments)[2]
    write_graph(tmp_path / "net.onnx")
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers" / "card.md").write_text("mine")
    assert ics(*arguments)[0] == 0
    assert (tmp_path / "flowers" / "card.md").read_text() == "mine"
    status, _, refusal = ics(*arguments)
    assert (status, "holds an artifact already" in refusal) == (2, True)


def findings(ics: Ics, folder: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit status, and level and words of each finding that is not ok."""
    status, said, _ = ics("check", str(folder), "--json")
    found = json.loads(said)
    assert all(one["do"] for one in found if one["level"] != "ok")
    return status, {one["name"]: (one["level"], one["found"]) for one in found if one["level"] != "ok"}


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An artifact of which nothing can be said."""
    folder = tmp_path / "fine"
    write_artifact(folder, temperature=1.5, sharpness=100)
    describe(folder, metrics={"accuracy": 0.98, "images": 1200})
    (folder / "card.md").write_text("# fine\n\n## Data\n\nOurs, CC BY 4.0.\n\n## Limits\n\nOnly bright things.\n")
    return folder


def describe(folder: Path, **changes: object) -> None:
    fields = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**fields, **changes}))


def rewrite(folder: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    """Change the graph, and its version with it."""
    graph = onnx.load(folder / "model.onnx")
    change(graph)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    describe(folder, version=graph_version(folder / "model.onnx"))


def test_an_artifact_in_order_is_praised_in_every_line(ics: Ics, artifact: Path) -> None:
    assert findings(ics, artifact) == (0, {})
    status, said, _ = ics("check", str(artifact))
    assert status == 0
    assert said.count("✓ ok") == 11
    assert "figures: accuracy 0.98, images 1,200" in said
    assert said.endswith("It can be served. 0 problems, 0 warnings.\n")


def test_a_text_artifact_in_order_has_no_problem(ics: Ics, tmp_path: Path) -> None:
    write_artifact(tmp_path / "text", kind="text", labels=[*DIGITS, " "], width=64)
    status, found = findings(ics, tmp_path / "text")
    assert status == 0
    assert {level for level, _ in found.values()} == {"warning"}
    assert "frames: 8: it reads at most as many characters" in ics("check", str(tmp_path / "text"))[1]


def external(graph: onnx.ModelProto) -> None:
    tensor = next(one for one in graph.graph.initializer if one.name == "shades")
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")


def fixed(batch: int) -> Callable[[onnx.ModelProto], object]:
    def change(graph: onnx.ModelProto) -> None:
        for tensor in (graph.graph.input[0], graph.graph.output[0]):
            tensor.type.tensor_type.shape.dim[0].dim_value = batch

    return change


def divided_by_zero(graph: onnx.ModelProto) -> None:
    (white,) = (one for one in graph.graph.initializer if one.name == "white")
    white.CopyFrom(numpy_helper.from_array(np.array(0, np.float32), "white"))


TAKEN = {"tensor": "image", "width": 28, "height": 28, "colour": "grey"}
FAULTS: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "no folder": (lambda folder: (folder.rename(folder.with_name("away"))), "files", "problem", "is no folder"),
    "no card": (lambda folder: (folder / "card.md").unlink(), "files", "problem", "lacks card.md"),
    "no graph": (lambda folder: (folder / "model.onnx").unlink(), "files", "problem", "lacks model.onnx"),
    "not JSON": (lambda folder: (folder / "model.json").write_text("{"), "model.json", "problem", "is not JSON"),
    "deep": (lambda folder: (folder / "model.json").write_text("[" * 99_999), "model.json", "problem", "is not JSON"),
    "a field": (lambda folder: describe(folder, labels=3), "model.json", "problem", "labels must be a list"),
    "metrics": (lambda folder: describe(folder, metrics=[1]), "model.json", "problem", "metrics is '[1]'"),
    "version": (lambda folder: describe(folder, version="0" * 64), "version", "problem", "is another graph"),
    "kind": (lambda folder: describe(folder, kind="detection"), "kind", "problem", "classification and text only"),
    "no ONNX": (lambda folder: (folder / "model.onnx").write_bytes(b"\xff?"), "graph", "problem", "is no ONNX file"),
    "empty": (lambda folder: (folder / "model.onnx").write_bytes(b""), "graph", "problem", "cannot be loaded"),
    "external": (lambda folder: rewrite(folder, external), "graph", "problem", "weights lie in another file"),
    "IR": (lambda folder: rewrite(folder, lambda graph: setattr(graph, "ir_version", 99)), "graph", "problem",
           "ONNX IR version 99"),
    "opset": (lambda folder: rewrite(folder, lambda graph: setattr(graph.opset_import[0], "version", 99)), "graph",
              "problem", "opset 99"),
    "language": (lambda folder: rewrite(folder, lambda graph: helper.set_model_props(graph, {PROPERTY: "{}"})),
                 "language", "problem", "no JSON object with letters"),
    "input": (lambda folder: describe(folder, input=TAKEN | {"tensor": "x"}), "signature", "problem", "(x: tensor"),
    "size": (lambda folder: describe(folder, input=TAKEN | {"width": 32}), "signature", "problem", "[28, 32, 1]"),
    "output": (lambda folder: describe(folder, output={"tensor": "y"}), "signature", "problem", "answers logits"),
    "labels": (lambda folder: describe(folder, labels=["a", "b"]), "answers", "problem", "it must be [1, 2]"),
    "a batch of four": (lambda folder: rewrite(folder, fixed(4)), "answers", "problem", "to a black picture"),
    "not finite": (lambda folder: rewrite(folder, divided_by_zero), "answers", "problem", "not finite"),
    "a batch of one": (lambda folder: rewrite(folder, fixed(1)), "batch", "warning", "its batch is fixed at 1"),
    "size of the file": (lambda folder: rewrite(folder, lambda graph: setattr(graph, "doc_string", "x" * 5_000_001)),
                         "size", "warning", "5.0 MB"),
    "temperature": (lambda folder: describe(folder, temperature=1), "temperature", "warning", "not calibrated"),
    "figures": (lambda folder: describe(folder, metrics={}), "figures", "warning", "nobody knows"),
    "licence": (lambda folder: (folder / "card.md").write_text("# Data\n\nFrom a friend.\n## Limits\nMany.\n"),
                "card, data", "warning", "licence"),
    "limits": (lambda folder: (folder / "card.md").write_text("# Data\n\nOurs, MIT licence.\n## Limits\n\n# End\nx"),
               "card, limits", "warning", "nothing is said"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_and_it_is_the_only_one(ics: Ics, artifact: Path, name: str) -> None:
    break_, finding, level, says = FAULTS[name]
    break_(artifact)
    status, found = findings(ics, artifact)
    assert found.pop(finding)[0] == level, found
    assert status == (2 if level == "problem" else 0)
    # Without its model.json or its graph, an artifact's version cannot fit.
    assert set(found) <= ({"version"} if name in ("no ONNX", "empty") else set())
    assert says in " ".join(ics("check", str(artifact))[1].split())


def test_a_card_that_packing_left_is_still_to_be_filled_in(ics: Ics, tmp_path: Path) -> None:
    write_graph(tmp_path / "net.onnx")
    labels = labels_file(tmp_path, COLOURS)
    assert ics("pack", "net.onnx", "--labels", labels, "--colour", "rgb", "--out", "flowers")[0] == 0
    status, found = findings(ics, tmp_path / "flowers")
    assert status == 0
    assert {name: level for name, (level, _) in found.items()} == dict.fromkeys(
        ("card, data", "card, limits", "temperature", "figures"), "warning"
    )


def test_an_answer_that_depends_on_the_batch_is_a_warning(ics: Ics, tmp_path: Path, artifact: Path) -> None:
    def centred(graph: onnx.ModelProto) -> None:
        nodes = [
            helper.make_node("ReduceMean", ["raw"], ["centre"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["raw", "centre"], ["logits"]),
        ]
        graph.graph.node[-1].output[0] = "raw"
        graph.graph.node.extend(nodes)

    rewrite(artifact, centred)
    assert findings(ics, artifact) == (0, {"batch": ("warning", "an image gets another answer in a batch than alone")})


def test_the_models_of_an_environment_are_listed_with_what_they_are(ics: Ics) -> None:
    root = Path(__file__).parents[2]
    spec = load_spec(root / "models" / "digits")
    listed = json.loads(ics("list", "--json")[1])
    (digits,) = (one for one in listed if one["name"] == "digits")
    assert (digits["version"], digits["kind"], digits["default"]) == (spec.version, "classification", True)
    shown = ics("list", "--env", "dev")[1]
    for said in (spec.version[:12], "28 x 28 grey", "10: 0, 1, 2", "accuracy 0.99"):
        assert said in shown
    status, _, refusal = ics("list", "--env", "nowhere")
    assert (status, "environments: dev, local, prod, staging" in refusal) == (2, True)


@pytest.mark.parametrize("command", ["list", "check", "pack"])
def test_the_example_of_each_help_text_runs(ics: Ics, tmp_path: Path, command: str) -> None:
    shown = CliRunner().invoke(app, ["model", command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    example = shlex.split(shown.output.partition("Example: ")[2].partition("\n")[0].strip(" │`"))
    assert example[:3] == ["ics", "model", command]
    write_artifact(tmp_path / "models" / "digits")
    write_graph(tmp_path / "flowers.onnx")
    labels_file(tmp_path, COLOURS)
    assert ics(*example[2:])[0] == 0
