"""The shipped digits model keeps what its model.json and card promise; no torch needed."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ics.artifact import load_spec, spec_to_json
from training.calibrate import probabilities
from training.evaluate import THRESHOLD, graph_logits, measure
from training.mnist import load_mnist, load_sklearn_digits

FOLDER = Path(__file__).parents[2] / "models" / "digits"
GRAPH = (FOLDER / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def mnist_test():
    if "ICS_DATA" not in os.environ:
        pytest.skip("ICS_DATA names no folder with mnist/mnist.npz: the figures cannot be measured again")
    return load_mnist(Path(os.environ["ICS_DATA"]) / "mnist" / "mnist.npz")[1]


def test_the_artifact_is_whole():
    spec = load_spec(FOLDER)  # checks that the graph's SHA-256 is the version
    assert spec.labels == tuple("0123456789")
    assert spec_to_json(spec) == json.loads((FOLDER / "model.json").read_text("utf-8"))
    card = (FOLDER / "card.md").read_text("utf-8")
    assert spec.version in card
    assert f"{spec.metrics['accuracy']:.2%}" in card
    assert len(GRAPH) < 1_000_000


def test_the_graph_takes_and_gives_what_model_json_says():
    spec = load_spec(FOLDER)
    session = onnxruntime.InferenceSession(GRAPH, providers=["CPUExecutionProvider"])
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == (spec.input.tensor, "tensor(uint8)", ["N", 28, 28, 1])
    assert (logits.name, logits.type, logits.shape) == (spec.output, "tensor(float)", ["N", 10])


@pytest.mark.parametrize("batch", [2, 7, 32, 100])
def test_an_image_gets_the_same_bits_alone_and_in_any_batch(batch):
    digits = np.kron(load_sklearn_digits()[0][:100], np.ones((1, 3, 3), np.uint8))  # 24 x 24
    images = np.pad(digits, ((0, 50), (2, 2), (2, 2)))[..., np.newaxis]
    images[100:] = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), np.uint8)
    alone = graph_logits(GRAPH, images, batch=1)
    assert graph_logits(GRAPH, images, batch=batch).tobytes() == alone.tobytes()


def test_a_blank_page_is_accepted_as_no_digit():
    blank = np.stack([np.full((28, 28, 1), grey, np.uint8) for grey in (0, 60, 127)])
    confidence = probabilities(graph_logits(GRAPH, blank), load_spec(FOLDER).temperature).max(axis=1)
    assert (confidence < THRESHOLD).all()


def test_the_figures_in_model_json_are_reached_again(mnist_test):
    spec = load_spec(FOLDER)
    measured = measure(graph_logits(GRAPH, mnist_test.images), mnist_test.labels, spec.temperature)
    assert measured.accuracy >= 0.995
    assert measured.ece <= 0.004
    assert measured.wrong_below >= 0.9 * measured.wrong
    assert measured.accuracy == pytest.approx(spec.metrics["accuracy"], abs=2 / measured.images)
    assert measured.ece == pytest.approx(spec.metrics["ece"], abs=5e-4)
