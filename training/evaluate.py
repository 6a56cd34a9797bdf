"""Measures an artifact as it is served: the exported graph through onnxruntime with its temperature, no torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from training.calibrate import expected_calibration_error, probabilities

THRESHOLD = 0.94
"""The confidence from which ICS accepts an answer by default."""


@dataclass(frozen=True)
class Measured:
    """What a model reaches on some labelled images; shares and errors are in 0..1.

    `ece` is the expected calibration error, `share_accepted` the share of images at a confidence of at least THRESHOLD
    and `accuracy_accepted` the accuracy among those, None where there are none.
    """

    images: int
    accuracy: float
    ece: float
    share_accepted: float
    accuracy_accepted: float | None


def graph_logits(graph: bytes, images: NDArray[np.uint8], batch: int = 100) -> NDArray[np.float32]:
    """An ONNX graph's logits [N, classes] for uint8 [N, height, width, channels], `batch` images at a time.

    The graph has one input and one output and runs on the CPU in one thread. With the networks of `nets`, an image's
    logits are equal to the bit for every `batch`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    parts = [images[start : start + batch] for start in range(0, len(images), batch)]
    return np.concatenate([session.run(None, {image.name: part})[0] for part in parts])


def measure(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> Measured:
    """The figures for logits [N, classes] at this temperature."""
    chances = probabilities(logits, temperature)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    accepted = confidence >= THRESHOLD
    return Measured(
        images=len(labels),
        accuracy=float(right.mean()),
        ece=expected_calibration_error(confidence, right),
        share_accepted=float(accepted.mean()),
        accuracy_accepted=float(right[accepted].mean()) if accepted.any() else None,
    )


def metrics(described: str, measured: Measured) -> dict[str, Any]:
    """The figures as model.json holds them, beside what they were measured on."""
    return {
        "accuracy": measured.accuracy,
        "ece": measured.ece,
        f"share_at_{THRESHOLD}": measured.share_accepted,
        f"accuracy_at_{THRESHOLD}": measured.accuracy_accepted,
        "images": measured.images,
        "data": described,
    }


def table_row(described: str, measured: Measured) -> str:
    """The figures as a row of a model card's table: source, images, accuracy, ECE, accepted, accuracy of those."""
    accepted = "-" if measured.accuracy_accepted is None else f"{measured.accuracy_accepted:.2%}"
    return (
        f"| {described} | {measured.images:,} | {measured.accuracy:.2%} | {measured.ece:.4f} "
        f"| {measured.share_accepted:.1%} | {accepted} |"
    )
