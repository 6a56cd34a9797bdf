"""Measures an artifact as it is served: through onnxruntime with its temperature, no torch."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ics.contracts import Prediction
from ics.errors import ImageError
from ics.measures import wilson
from ics.routing import DEFAULT_THRESHOLD
from serving.model import Model
from training.calibrate import expected_calibration_error, probabilities
from training.data import Skipped
from training.measures import Answers
from training.samples import Sample

THRESHOLD = DEFAULT_THRESHOLD


@dataclass(frozen=True)
class Measured:
    """What a model reaches on some labelled images; shares and errors are in 0..1.

    `ece` is the expected calibration error, `share_accepted` the share of images at a confidence of at least THRESHOLD
    and `accuracy_accepted` the accuracy among those, None where there are none. `wrong_below` of the `wrong` answers
    are of a lower confidence: people look at those, nobody at the rest.
    """

    images: int
    accuracy: float
    ece: float
    share_accepted: float
    accuracy_accepted: float | None
    wrong: int
    wrong_below: int


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
    return measured(chances.max(axis=1), chances.argmax(axis=1) == labels)


def measured(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> Measured:
    """The figures for answers of which are known how sure the model was, and whether it was right."""
    accepted = confidence >= THRESHOLD
    return Measured(
        images=len(right),
        accuracy=float(right.mean()),
        ece=expected_calibration_error(confidence, right),
        share_accepted=float(accepted.mean()),
        accuracy_accepted=float(right[accepted].mean()) if accepted.any() else None,
        wrong=int((~right).sum()),
        wrong_below=int((~right & ~accepted).sum()),
    )


def answers(
    logits: NDArray[np.float32], labels: NDArray[np.int64], names: Sequence[str], temperature: float
) -> Answers:
    """What a classifier with these logits [N, classes] says of pictures of these labels, by name."""
    chances = probabilities(logits, temperature)
    return Answers(
        true=tuple(names[label] for label in labels),
        said=tuple(names[label] for label in chances.argmax(axis=1)),
        confidence=chances.max(axis=1),
    )


def metrics(described: str, measured: Measured) -> dict[str, Any]:
    """The figures as model.json holds them, beside what they were measured on."""
    return {
        "accuracy": measured.accuracy,
        "ece": measured.ece,
        f"share_at_{THRESHOLD}": measured.share_accepted,
        f"accuracy_at_{THRESHOLD}": measured.accuracy_accepted,
        f"wrong_below_{THRESHOLD}": measured.wrong_below / measured.wrong if measured.wrong else None,
        "wrong": measured.wrong,
        "images": measured.images,
        "data": described,
    }


TABLE_HEAD = (
    f"| source | images | accuracy (95% interval) | ECE | accepted | accuracy of those | wrong below {THRESHOLD} |",
    "|---|---|---|---|---|---|---|",
)


def table_row(described: str, measured: Measured) -> str:
    """The figures as a row of a model card's table, as TABLE_HEAD names them."""
    low, high = wilson(measured.images - measured.wrong, measured.images)
    accepted = "-" if measured.accuracy_accepted is None else f"{measured.accuracy_accepted:.2%}"
    return (
        f"| {described} | {measured.images:,} | {measured.accuracy:.2%} ({low:.1%} to {high:.1%}) | {measured.ece:.4f} "
        f"| {measured.share_accepted:.1%} | {accepted} | {measured.wrong_below:,} of {measured.wrong:,} |"
    )


@dataclass(frozen=True)
class Evaluated:
    """What a model said of `samples`, row by row, less those that were `skipped` because they cannot be classified."""

    samples: tuple[Sample, ...]
    answers: Answers
    skipped: tuple[Skipped, ...]

    def worst(self, most: int) -> list[int]:
        """The rows of wrong answers, the surest first: where the model is most mistaken."""
        wrong = np.flatnonzero(~self.answers.right)
        order = np.argsort(-self.answers.confidence[wrong], kind="stable")
        return [int(row) for row in wrong[order][:most]]


def evaluate(model: Model, samples: Sequence[Sample], advance: Callable[[], object]) -> Evaluated:
    """Have a model answer for each sample, as it does when it is served; `advance` is called after each."""
    kept: list[Sample] = []
    said: list[Prediction] = []
    skipped: list[Skipped] = []
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        # in parts, so that an interruption need not wait for all
        for start in range(0, len(samples), 256):
            part = samples[start : start + 256]
            for sample, answer in zip(part, workers.map(lambda one: _answer(model, one), part), strict=True):
                advance()
                if isinstance(answer, Skipped):
                    skipped.append(answer)
                else:
                    kept.append(sample)
                    said.append(answer)
    answers = Answers(
        true=tuple(sample.true for sample in kept),
        said=tuple(prediction.label for prediction in said),
        confidence=np.array([prediction.confidence for prediction in said], np.float64),
    )
    return Evaluated(tuple(kept), answers, tuple(skipped))


def _answer(model: Model, sample: Sample) -> Prediction | Skipped:
    try:
        return model.classify(sample.pixels(model.spec))
    except ImageError as error:
        return Skipped(sample.source, f"{error.reason}: {error}")
    except OSError as error:
        return Skipped(sample.source, str(error))
