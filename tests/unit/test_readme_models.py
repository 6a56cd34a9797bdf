"""The README's table of models says what their artifacts measured."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = dict(re.findall(r"^\| \[([a-z-]+)\]\(models/.+?\) \| (.+) \|$", (ROOT / "README.md").read_text("utf-8"), re.M))


def test_every_shipped_model_has_a_row():
    assert set(ROWS) == {path.parent.name for path in ROOT.glob("models/*/model.json")}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_holds_the_figures_of_model_json(name):
    metrics = json.loads((ROOT / "models" / name / "model.json").read_text("utf-8"))["metrics"]
    if "cer" in metrics:
        assert f"{1 - metrics['cer']:.1%} in unseen hands" in ROWS[name]
    else:
        assert f"{metrics['accuracy']:.1%}" in ROWS[name]
        seen = round(metrics["wrong_below_0.94"] * metrics["wrong"])
        assert ROWS[name].endswith(f"{seen} of {metrics['wrong']}")
