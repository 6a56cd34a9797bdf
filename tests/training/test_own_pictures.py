"""The commands of docs/training.md's section "Your own pictures", from folders to artifacts; needs torch."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements-train.txt")

from PIL import Image  # noqa: E402

import cli.main  # noqa: E402
from ics.artifact import load_spec  # noqa: E402
from ics.imaging import prepare  # noqa: E402
from serving.model import load_model  # noqa: E402
from tests.training.test_notebooks import write_backbone  # noqa: E402

pytestmark = pytest.mark.train

SECTION = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8").partition("## Your own pictures")[2]
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"(?s)```sh\n(.*?)```", SECTION.partition("\n## ")[0])
    for line in block.replace("\\\n", " ").splitlines()
]
SNIPPET = re.search(r"(?s)```python\n(.*?)```", SECTION)[1]


def run(command, *more):
    done = CliRunner().invoke(cli.main.app, [*command[1:], *more])
    assert done.exit_code == 0, f"{command}: {done.output} {done.exception}"
    return done.output


def write_fruit(root: Path) -> None:
    """Photographs of one colour each, of all sizes, lit differently."""
    random = np.random.default_rng(0)
    for label, colour in (("apple", (190, 40, 40)), ("pear", (150, 170, 50)), ("plum", (90, 50, 130))):
        (root / label).mkdir(parents=True)
        for number in range(20):
            height, width = random.integers(60, 160, 2)
            light = random.uniform(0.7, 1.2) + random.normal(0, 0.06, (height, width, 1))
            Image.fromarray((colour * light).clip(0, 255).astype(np.uint8)).save(root / label / f"{number}.jpg")


def test_the_page_holds_at_every_word(tmp_path, monkeypatch):
    assert [command[:2] for command in COMMANDS] == [
        ["ics", "train"],
        ["ics", "model"],
        ["ics", "evaluate"],
        ["ics", "train"],
    ]
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    write_fruit(Path("pictures"))
    write_backbone(Path("mobilenet.onnx"))
    learn, check, measure, carry = COMMANDS
    try:
        run(learn, "--epochs", "25", "--threads", "1")
        fruit = load_spec(Path("models/fruit"))
        assert (fruit.name, fruit.labels) == ("fruit", ("apple", "pear", "plum"))
        assert fruit.metrics["accuracy"] == 1.0
        run(check)
        assert "9 of 9" in run(measure)
        run(carry, "--threads", "1")
        exec(compile(SNIPPET, "docs/training.md", "exec"), {})
        run(learn, "--backbone", "fruit.safetensors", "--out", "models/again", "--threads", "1")
    finally:
        torch.set_num_threads(threads)
    for folder in ("fruit", "fruit-backbone", "again"):
        model = load_model(Path("models") / folder)
        assert "Write here" in (Path("models") / folder / "card.md").read_text("utf-8")
        (plum,) = model.predict([prepare(Path("pictures/plum/3.jpg").read_bytes(), model.spec.input)])
        assert plum.label == "plum"
        assert plum.confidence > 0.5
