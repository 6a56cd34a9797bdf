"""The shipped letters model keeps what its model.json and card promise; no torch needed."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ics.artifact import load_spec, spec_to_json
from training.calibrate import probabilities
from training.evaluate import THRESHOLD, graph_logits, measure
from training.letters import Track, drawn, packed_letters
from training.pictures import prepared
from training.recipe import load_recipe

FOLDER = Path(__file__).parents[2] / "models" / "cyrillic-letters"
GRAPH = (FOLDER / "model.onnx").read_bytes()
RECIPE = load_recipe("cyrillic-letters")


@pytest.fixture(scope="module")
def data():
    if "ICS_DATA" not in os.environ:
        pytest.skip("ICS_DATA names no folder with the recipe's files: the figures cannot be measured again")
    return packed_letters(RECIPE, Path(os.environ["ICS_DATA"]), 0)


def test_the_artifact_is_whole():
    spec = load_spec(FOLDER)  # checks that the graph's SHA-256 is the version
    assert "".join(spec.labels) == "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
    assert spec.input == RECIPE.input
    assert spec_to_json(spec) == json.loads((FOLDER / "model.json").read_text("utf-8"))
    card = (FOLDER / "card.md").read_text("utf-8")
    assert spec.version in card
    assert f"{spec.metrics['accuracy']:.2%}" in card
    for said in ("No licence", "GNU GPL 3.0", "not promised"):
        assert said in card
    assert len(GRAPH) < 1_500_000


def test_the_graph_takes_and_gives_what_model_json_says():
    spec = load_spec(FOLDER)
    session = onnxruntime.InferenceSession(GRAPH, providers=["CPUExecutionProvider"])
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == (spec.input.tensor, "tensor(uint8)", ["N", 28, 28, 1])
    assert (logits.name, logits.type, logits.shape) == (spec.output, "tensor(float)", ["N", 33])


@pytest.mark.parametrize("batch", [2, 7, 32, 100])
def test_an_image_gets_the_same_bits_alone_and_in_any_batch(batch):
    images = np.random.default_rng(0).integers(0, 256, (130, 28, 28, 1), np.uint8)
    images[65:] = np.where(images[65:] > 190, np.uint8(255), np.uint8(0))
    alone = graph_logits(GRAPH, images, batch=1)
    assert graph_logits(GRAPH, images, batch=batch).tobytes() == alone.tobytes()


def test_a_letter_that_a_pen_wrote_is_read_at_any_width_of_its_line():
    points = [(0, 0), (0, 60), (0, 60), (40, 60), (40, 60), (40, 0)]  # two uprights, and between them a bar on top
    pen = Track(
        writer=1, label="П", x=[x for x, _ in points], y=[y for _, y in points], dt_ms=[0, 10, 100, 10, 100, 10]
    )
    images = prepared([drawn(pen, width) for width in (0.04, 0.07, 0.1, 0.14)], RECIPE.input)
    chances = probabilities(graph_logits(GRAPH, images), load_spec(FOLDER).temperature)
    assert [load_spec(FOLDER).labels[number] for number in chances.argmax(axis=1)] == ["П"] * 4


def test_a_blank_page_is_accepted_as_no_letter():
    blank = np.stack([np.full((28, 28, 1), grey, np.uint8) for grey in (0, 60, 127)])
    confidence = probabilities(graph_logits(GRAPH, blank), load_spec(FOLDER).temperature).max(axis=1)
    assert (confidence < THRESHOLD).all()


def test_the_figures_in_model_json_are_reached_again(data):
    spec = load_spec(FOLDER)
    measured = measure(graph_logits(GRAPH, data.test.images), data.test.labels, spec.temperature)
    assert measured.accuracy >= 0.98
    assert measured.ece <= 0.02  # on purpose: the recipe is cautious by 0.015
    assert measured.wrong_below >= 0.9 * measured.wrong
    assert measured.accuracy == pytest.approx(spec.metrics["accuracy"], abs=2 / measured.images)
    assert measured.ece == pytest.approx(spec.metrics["ece"], abs=5e-4)
    for promised in spec.metrics["elsewhere"]:
        part = data.elsewhere[promised["data"]]
        elsewhere = measure(graph_logits(GRAPH, part.images), part.labels, spec.temperature)
        assert elsewhere.accuracy >= 0.86
        assert elsewhere.accuracy == pytest.approx(promised["accuracy"], abs=3 / elsewhere.images)
