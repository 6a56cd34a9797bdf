"""The shipped models of photographs keep what their model.json and cards promise; no torch needed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ics.artifact import load_spec, spec_to_json
from training.evaluate import graph_logits, measure
from training.folders import class_folders
from training.recipe import load_recipe

MODELS = Path(__file__).parents[2] / "models"
# name: where its data lies, the accuracy that it must reach, the share of wrong answers that must be below 0.94
SHIPPED = {
    "bicycle-motorcycle": ("cifar100-bicycle-motorcycle", 0.88, 0.9),
    "products": ("clothing-dataset-small", 0.75, 0.9),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_artifact_is_whole(name):
    spec, recipe = load_spec(MODELS / name), load_recipe(name)  # checks that the graph's SHA-256 is the version
    assert spec_to_json(spec) == json.loads((MODELS / name / "model.json").read_text("utf-8"))
    assert (spec.name, spec.input) == (name, recipe.input)
    card = (MODELS / name / "card.md").read_text("utf-8")
    assert spec.version in card
    assert f"{spec.metrics['accuracy']:.2%}" in card
    for text in (recipe.card.reads, recipe.card.data, recipe.card.limits):  # what the recipe says is what was shipped
        assert text.strip() in card
    schedule = json.loads((MODELS / name / "report" / "metrics.json").read_text("utf-8"))["schedule"]
    assert schedule["epochs"] == recipe.schedule.epochs
    assert (MODELS / name / "model.onnx").stat().st_size < 5_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_an_image_gets_the_same_bits_alone_and_in_any_batch(name):
    spec, graph = load_spec(MODELS / name), (MODELS / name / "model.onnx").read_bytes()
    shape = (24, spec.input.height, spec.input.width, 3)
    random = np.random.default_rng(0)
    images = (random.integers(0, 2, (24, 1, 1, 3)) * random.integers(0, 256, shape)).astype(np.uint8)
    alone = graph_logits(graph, images, batch=1)
    assert alone.shape == (24, len(spec.labels))
    for batch in (2, 7, 24):
        assert graph_logits(graph, images, batch=batch).tobytes() == alone.tobytes()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_figures_in_model_json_are_reached_again(name):
    if "ICS_DATA" not in os.environ:
        pytest.skip("ICS_DATA names no folder with the photographs: the figures cannot be measured again")
    spec, (folder, accuracy, below) = load_spec(MODELS / name), SHIPPED[name]
    dataset = class_folders(load_recipe(name), Path(os.environ["ICS_DATA"]) / folder, 0)
    assert dataset.labels == spec.labels
    logits = graph_logits((MODELS / name / "model.onnx").read_bytes(), dataset.test.images)
    measured = measure(logits, dataset.test.labels, spec.temperature)
    assert measured.accuracy >= accuracy
    assert measured.wrong_below >= below * measured.wrong
    assert measured.accuracy == pytest.approx(spec.metrics["accuracy"], abs=1.5 / measured.images)
    assert measured.ece == pytest.approx(spec.metrics["ece"], abs=0.005)
