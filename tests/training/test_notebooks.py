"""The notebooks run from beginning to end on pictures and a backbone made here, and are kept without outputs."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from PIL import Image

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements-train.txt")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient: pip install -r requirements-train.txt")
nbformat = pytest.importorskip("nbformat")

pytestmark = pytest.mark.train

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def write_pictures(folder: Path) -> None:
    """Three classes that are a form each, in any colour, and a file that is no picture."""
    random = np.random.default_rng(0)
    for label in ("ring", "stripes", "plain"):
        (folder / label).mkdir(parents=True)
        for number in range(24):
            y, x = np.mgrid[:40, :40] / 20 - 1
            form = {"ring": np.hypot(x, y) < 0.8, "stripes": np.sin(12 * x) > 0, "plain": x > 2}[label]
            picture = np.where(form[..., None], random.integers(120, 256, 3), random.integers(0, 120, 3))
            noisy = (picture + random.integers(-10, 10, picture.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / label / f"{number}.png")
    (folder / "ring" / "notes.txt").write_text("rings")


def write_backbone(path: Path) -> None:
    """Edges, by random convolutions, pooled; for pictures of 32 x 32."""
    random = np.random.default_rng(1)
    kernels = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32) / 4, name)
        for name, shape in (("first", (8, 3, 5, 5)), ("second", (16, 8, 3, 3)))
    ]
    nodes = [
        helper.make_node("Conv", ["pictures", "first"], ["edges"], strides=[2, 2], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["edges"], ["lit"]),
        helper.make_node("Conv", ["lit", "second"], ["forms"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["forms"], ["seen"]),
        helper.make_node("GlobalAveragePool", ["seen"], ["features"]),
    ]
    taken = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["N", 3, 32, 32])
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 16, 1, 1])
    graph = helper.make_graph(nodes, "edges", [taken], [given], kernels)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_transfer_learning_runs_to_its_end(tmp_path, monkeypatch):
    write_pictures(tmp_path / "pictures")
    write_backbone(tmp_path / "backbone.onnx")
    settings = {
        "ICS_PICTURES": tmp_path / "pictures",
        "ICS_BACKBONE": tmp_path / "backbone.onnx",
        "ICS_CHECKPOINTS": tmp_path / "checkpoints",
        "ICS_EPOCHS": 2,
        "ICS_THREADS": 1,
        "IPYTHONDIR": tmp_path / "ipython",
        "JUPYTER_RUNTIME_DIR": tmp_path / "jupyter",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    notebook = nbformat.read(ROOT / "notebooks" / "transfer-learning.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}})
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 6
    tables = [output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {})]
    assert [table.partition(",")[0] for table in tables] == ["**from scratch**", "**on from a backbone**"]
    assert all("| 12 |" in table for table in tables)  # 15% of 24 of each class, rounded, are the test part
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "skipped ring/notes.txt: NotAnImage" in printed
    assert "last layer alone: validation loss" in printed
    assert "".join(output.text for output in outputs if output.get("name") == "stderr") == ""
