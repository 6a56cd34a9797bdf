"""A model artifact, loaded: prepared image bytes in, predictions out, the same to the bit in server and Lambda.

Images are computed one by one, on one thread: a prediction then cannot depend on what else is in its batch, and for
nets of this kind ONNX Runtime gains little or nothing from batches on a CPU. Callers get parallelism from threads of
their own: `Model` may be used by many at once, and both the decoder and the runtime let go of Python's lock.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image

from ics.artifact import InputSpec, ModelSpec, load_spec
from ics.contracts import Alternative, Prediction
from ics.errors import CorruptImage, ImageError, InvalidArtifact, ModelRefused, TruncatedImage, UnsupportedFormat
from ics.imaging import sniff
from serving.ctc import read_line

ALTERNATIVES = 4
"""How many labels beside the best a classification names, at most."""

KINDS = ("classification", "text")
"""The kinds of model that this server answers for."""

TOGETHER = 256 * 1024
"""Bytes of pixels that are decoded before any are computed: hundreds of digits, one photo."""

Given = TypeVar("Given")
Made = TypeVar("Made")

_MODES = {"grey": "L", "rgb": "RGB"}


@dataclass(frozen=True, slots=True)
class Model:
    """What `load_model` returns."""

    spec: ModelSpec
    session: ort.InferenceSession

    def predict(self, contents: Iterable[bytes]) -> Iterator[Prediction]:
        """Classify prepared images as `predict_one` does, in order.

        Small ones are decoded in a row, then computed (still one by one), then judged: each step finds its code in the
        processor's caches, which saves a seventh of a small net's CPU time.

        Raises:
            ImageError: of the first image that cannot be classified, once the predictions of all before it are given.
        """
        taken, waiting = self.spec.input, iter(contents)
        together = max(1, TOGETHER // (taken.height * taken.width * taken.channels))
        while group := list(islice(waiting, together)):
            pixels, undecoded = _until_refused(partial(decode, spec=taken), group)
            logits, refused = _until_refused(self._logits, pixels)
            yield from _judged(logits, self.spec)
            if error := refused or undecoded:
                raise error

    def predict_one(self, content: bytes) -> Prediction:
        """Classify one image, a PNG or JPEG as `ics.imaging.prepare` makes it for this model.

        Raises:
            ImageError: `decode` refuses it, or (`ModelRefused`) the net's answer to it is not finite.
        """
        return self.classify(decode(content, self.spec.input))

    def classify(self, pixels: npt.NDArray[np.uint8]) -> Prediction:
        """Classify pixels, or read the line they show, by the model's kind; uint8 [height, width, channels].

        The confidences are of softmax(logits / temperature), the calibration of Guo et al. 2017 (arXiv:1706.04599), in
        float64.

        Raises:
            ModelRefused: a logit is NaN or infinite.
            InvalidArtifact: the answer is not of the shape that the model's kind and labels ask for.
        """
        (prediction,) = _judged([self._logits(pixels)], self.spec)
        return prediction

    def _logits(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """The net's answer to one image, divided by the temperature: [classes], of a line [frames, classes]."""
        spec = self.spec
        (output,) = self.session.run([spec.output], {spec.input.tensor: pixels[np.newaxis]})
        frames = output.shape[1:-1]
        if output.shape != (1, *frames, spec.classes) or len(frames) != (spec.kind == "text") or 0 in frames:
            wanted = f"[1, {'frames, ' if spec.kind == 'text' else ''}{spec.classes}]"
            raise InvalidArtifact(
                f"the graph answers shape {list(output.shape)} for one image; "
                f"it must be {wanted} for a {spec.kind} model of {len(spec.labels)} labels"
            )
        logits: npt.NDArray[np.float64] = output[0].astype(np.float64) / spec.temperature
        if not np.isfinite(logits).all():
            raise ModelRefused("the model's answer to this image is not finite")
        return logits

    def probe(self) -> None:
        """Classify a black image, to see that the model really answers.

        Raises:
            Exception: it does not; whatever the runtime says.
        """
        taken = self.spec.input
        self.classify(np.zeros((taken.height, taken.width, taken.channels), np.uint8))


def load_model(folder: Path) -> Model:
    """Load a classification or text artifact and see that it answers.

    Raises:
        InvalidArtifact: a file is missing or wrong, or the graph is not what model.json says.
    """
    spec = load_spec(folder)
    if spec.kind not in KINDS:
        raise InvalidArtifact(f"{folder} is a {spec.kind} model; this server answers for {' and '.join(KINDS)} only")
    model = Model(spec, open_graph(folder / "model.onnx"))
    try:
        check_signature(model)
        model.probe()
    except InvalidArtifact:
        raise
    except Exception as error:
        raise InvalidArtifact(f"{folder / 'model.onnx'} does not answer: {error}") from error
    return model


def open_graph(graph: Path | bytes) -> ort.InferenceSession:
    """An ONNX file, or its content, in the runtime as it is served: on the CPU, on the caller's thread.

    Raises:
        InvalidArtifact: the runtime does not take it; the message is the runtime's.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what goes wrong is raised, and need not be printed, too
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no common base class for what it finds wrong
        what = graph if isinstance(graph, Path) else "the graph"
        raise InvalidArtifact(f"{what} cannot be loaded: {error}") from error


def check_signature(model: Model) -> None:
    """Hold the graph's signature to model.json, for messages better than the runtime's.

    Raises:
        InvalidArtifact: names what the graph has and what model.json says.
    """
    spec, inputs = model.spec, model.session.get_inputs()
    size = [spec.input.height, spec.input.width, spec.input.channels]
    if len(inputs) != 1 or inputs[0].name != spec.input.tensor or inputs[0].type != "tensor(uint8)":
        found = ", ".join(f"{tensor.name}: {tensor.type}" for tensor in inputs)
        raise InvalidArtifact(f"the graph takes ({found}); model.json says ({spec.input.tensor}: tensor(uint8))")
    if inputs[0].shape[1:] != size:
        raise InvalidArtifact(f"the graph's images are {inputs[0].shape[1:]}; model.json says {size}")
    names = [tensor.name for tensor in model.session.get_outputs()]
    if spec.output not in names:
        raise InvalidArtifact(f"the graph answers {', '.join(names)}; model.json says {spec.output}")


def decode(content: bytes, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """The pixels of a prepared image, uint8 [height, width, channels].

    Nothing is resized, converted or turned: that is what `ics.imaging.prepare` is for. Size and colour are read from
    the header, so that a wrong or huge image is refused before any of it is decoded.

    Raises:
        EmptyObject, NotAnImage, UnsupportedFormat, TruncatedImage, CorruptImage: as their names say.
        ModelRefused: an image, but not of this model's size and colour.
    """
    format_ = sniff(content)
    if format_ not in ("PNG", "JPEG"):
        raise UnsupportedFormat(f"{format_} is not taken; ics.imaging.prepare makes the PNG or JPEG that is")
    try:
        image = Image.open(io.BytesIO(content), formats=(format_,))
        _check_prepared(image, spec)
        image.load()
    except ImageError:
        raise
    except Exception as error:  # whatever a decoder stumbles over is that image's fault, and no other's
        problem = str(error) or type(error).__name__
        if "truncated" in problem.lower() or isinstance(error, EOFError):
            raise TruncatedImage(problem) from error
        raise CorruptImage(problem) from error
    return np.frombuffer(image.tobytes(), np.uint8).reshape(spec.height, spec.width, spec.channels)


def _until_refused(step: Callable[[Given], Made], images: Iterable[Given]) -> tuple[list[Made], ImageError | None]:
    """What a step makes of these images, up to the first that it refuses, and why it does."""
    made = []
    try:
        for image in images:
            made.append(step(image))  # noqa: PERF401  (what was made before an error is wanted)
    except ImageError as error:
        return made, error
    return made, None


def _judged(logits: Sequence[npt.NDArray[np.float64]], spec: ModelSpec) -> Sequence[Prediction]:
    """The predictions of images, by the model's kind."""
    if spec.kind == "text":
        return [_read(one, spec) for one in logits]
    return _classified(np.stack(logits), spec) if logits else ()


def _classified(logits: npt.NDArray[np.float64], spec: ModelSpec) -> list[Prediction]:
    """Of logits [images, classes]: each row by itself, but in few calls."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidences = (weights / weights.sum(axis=1, keepdims=True)).tolist()
    ranks = np.argsort(-logits, axis=1, kind="stable")[:, : 1 + ALTERNATIVES].tolist()
    return [
        Prediction(
            label=spec.labels[best],
            confidence=confident[best],
            alternatives=tuple([Alternative(spec.labels[other], confident[other]) for other in others]),
            model=spec.version,
        )
        for (best, *others), confident in zip(ranks, confidences, strict=True)
    ]


def _read(logits: npt.NDArray[np.float64], spec: ModelSpec) -> Prediction:
    line = read_line(logits, spec.labels)
    return Prediction(
        label=line.text,
        confidence=line.confidence,
        alternatives=tuple(Alternative(character, confidence) for character, confidence in line.characters),
        text=line.text,
        model=spec.version,
    )


def _check_prepared(image: Image.Image, spec: InputSpec) -> None:
    if image.size != (spec.width, spec.height):
        found, wanted = f"{image.width} x {image.height}", f"{spec.width} x {spec.height}"
        raise ModelRefused(f"{found} pixels; this model takes {wanted}, as ics.imaging.prepare makes them")
    if image.mode != _MODES[spec.colour]:
        wanted = f"{_MODES[spec.colour]} (8-bit {spec.colour})"
        raise ModelRefused(f"mode {image.mode}; this model takes {wanted}, as ics.imaging.prepare makes it")
    if "transparency" in image.info:
        raise ModelRefused("the image has transparency; ics.imaging.prepare lays it on white")
