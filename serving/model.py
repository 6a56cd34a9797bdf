"""A model artifact, loaded: prepared image bytes in, predictions out, the same to the bit in server and Lambda.

A net computes images one by one, or in small batches where `measured` found that these are faster and give the same
answers to the bit, on one thread: a prediction does not depend on what else is in its batch. Callers get parallelism
from threads or processes of their own: `Model` may be used by many at once, and both the decoders and the runtime let
go of Python's lock.
"""

import io
import math
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import simplejpeg

from ics.artifact import InputSpec, ModelSpec, load_spec
from ics.contracts import Prediction, prediction_from_json
from ics.errors import CorruptImage, ImageError, InvalidArtifact, ModelRefused, TruncatedImage, UnsupportedFormat
from serving.ctc import read_line
from serving.language import PROPERTY, Language, read_language

if TYPE_CHECKING:
    import onnxruntime as ort
    from PIL import Image

ALTERNATIVES = 4
"""How many labels beside the best a classification names, at most."""

KINDS = ("classification", "text")
"""The kinds of model that this server answers for."""

TOGETHER = 256 * 1024
"""Bytes of pixels that are decoded before any are computed: hundreds of digits, one photo."""

FEW = 64
"""Classes that are sorted as fast as the best of them are looked for."""

BATCHES = (2, 4, 8, 16, 32)
"""The batches that `measured` tries beside single images."""

SLOW = 0.001
"""Seconds: a net that takes longer for an image gains little from a batch on a CPU, and is not tried with any."""

ALIKE = 1.05
"""Batches that take up to so many times the shortest time are as fast, but for chance."""

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float64]

_MODES = {"grey": "L", "rgb": "RGB"}
_JPEG_COLOURS = {"grey": "GRAY", "rgb": "RGB"}


@dataclass(frozen=True, slots=True)
class Model:
    """What `load_model` returns.

    `batch` is how many images the net computes at once, and `seconds` what it then takes for each, decoding not
    included; `measured` finds both. `language` is a text model's own, where its graph carries one.
    """

    spec: ModelSpec
    session: "ort.InferenceSession"
    batch: int = 1
    seconds: float = math.nan
    language: Language | None = None

    def predict(self, contents: Iterable[bytes]) -> Iterator[Prediction]:
        """Classify prepared images, or read the lines they show, in order; as `answers` does."""
        return map(prediction_from_json, self.answers(contents))

    def predict_one(self, content: bytes) -> Prediction:
        """Classify one image, a PNG or JPEG as `ics.imaging.prepare` makes it for this model.

        Raises:
            ImageError: `decode` refuses it, or (`ModelRefused`) the net's answer to it is not finite.
        """
        (prediction,) = self.predict([content])
        return prediction

    def answers(self, contents: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """What the wire format says of each prepared image but its id, in order; raises what `computed` does."""
        for logits in self.computed(contents):
            yield from said(logits, self.spec, self.language)

    def computed(self, contents: Iterable[bytes]) -> Iterator[Logits]:
        """The logits of prepared images, in order, of some at a time; all are finite.

        Small images are decoded in a row, then computed, then judged: each step finds its code in the processor's
        caches, which saves a seventh of a small net's CPU time.

        Raises:
            ImageError: of the first image that cannot be classified, once the logits of all before it are given.
            InvalidArtifact: the net's answer is not of the shape that the model's kind and labels ask for.
        """
        taken, waiting = self.spec.input, iter(contents)
        most = together(taken)
        while group := list(islice(waiting, most - most % self.batch)):
            pixels, undecoded = _decoded(group, taken)
            logits = self.logits(pixels)
            good = len(logits) if math.isfinite(np.add.reduce(logits, axis=None)) else _finite(logits)
            if good:
                yield logits[:good]
            if good < len(logits):
                raise ModelRefused("the model's answer to this image is not finite")
            if undecoded:
                raise undecoded

    def logits(self, pixels: Pixels) -> Logits:
        """The net's answers to images [N, height, width, channels], divided by the temperature.

        [N, classes], and of lines [N, frames, classes]. Softmax of them is the calibration of Guo et al. 2017
        (arXiv:1706.04599).

        Raises:
            InvalidArtifact: they are of another shape.
        """
        found, start, size = [], 0, self.batch
        while start < len(pixels):
            while size > len(pixels) - start:  # the rest in the smaller batches that were tried
                size //= 2
            found.append(self._run(pixels[start : start + size]))
            start += size
        if not found:
            return np.empty((0, *([1] if self.spec.kind == "text" else []), self.spec.classes))
        outputs = found[0] if len(found) == 1 else np.concatenate(found)
        logits: Logits = np.divide(outputs, self.spec.temperature, dtype=np.float64)
        return logits

    def _run(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        spec = self.spec
        output: npt.NDArray[np.float32]
        (output,) = self.session.run([spec.output], {spec.input.tensor: pixels})
        frames = output.shape[1:-1]
        if output.shape != (len(pixels), *frames, spec.classes) or len(frames) != (spec.kind == "text") or 0 in frames:
            wanted = f"[{len(pixels)}, {'frames, ' if spec.kind == 'text' else ''}{spec.classes}]"
            raise InvalidArtifact(
                f"the graph answers shape {list(output.shape)}; "
                f"it must be {wanted} for a {spec.kind} model of {len(spec.labels)} labels"
            )
        return output

    def classify(self, pixels: Pixels) -> Prediction:
        """Classify pixels, or read the line they show; uint8 [height, width, channels].

        Raises:
            ModelRefused: a logit is NaN or infinite.
            InvalidArtifact: the answer is not of the shape that the model's kind and labels ask for.
        """
        logits = self.logits(pixels[np.newaxis])
        if not np.isfinite(logits).all():
            raise ModelRefused("the model's answer to this image is not finite")
        return prediction_from_json(said(logits, self.spec, self.language)[0])

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
        InvalidArtifact: a file is missing or wrong, the graph is not what model.json says, or its language is broken.
    """
    spec = load_spec(folder)
    if spec.kind not in KINDS:
        raise InvalidArtifact(f"{folder} is a {spec.kind} model; this server answers for {' and '.join(KINDS)} only")
    session = open_graph(folder / "model.onnx")
    model = Model(spec, session, language=language_of(session))
    try:
        check_signature(model)
        model.probe()
    except InvalidArtifact:
        raise
    except Exception as error:
        raise InvalidArtifact(f"{folder / 'model.onnx'} does not answer: {error}") from error
    return model


def open_graph(graph: Path | bytes) -> "ort.InferenceSession":
    """An ONNX file, or its content, in the runtime as it is served: on the CPU, on the caller's thread.

    Raises:
        InvalidArtifact: the runtime does not take it; the message is the runtime's.
    """
    import onnxruntime as ort  # noqa: PLC0415  (it begins a thread, which would not come through the server's fork)

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what goes wrong is raised, and need not be printed, too
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no common base class for what it finds wrong
        what = graph if isinstance(graph, Path) else "the graph"
        raise InvalidArtifact(f"{what} cannot be loaded: {error}") from error


def language_of(session: "ort.InferenceSession") -> Language | None:
    """The language that a text model's graph carries, or None.

    Raises:
        InvalidArtifact: it carries one that is broken.
    """
    held = session.get_modelmeta().custom_metadata_map.get(PROPERTY)
    return None if held is None else read_language(held)


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


def measured(model: Model) -> Model:
    """The model with the batch that it computes fastest, and the seconds an image that this takes.

    A batch is taken only where it, and every smaller one, gives noise the same answers to the bit as image by image:
    convolutions do, matrix products over the batch need not. Of those that are as fast the largest is taken: each call
    costs something beside the net, which is more with other work in between than it is here.
    """
    taken = model.spec.input
    count = min(BATCHES[-1], together(taken))
    noise = np.random.default_rng(0).integers(0, 256, (count, taken.height, taken.width, taken.channels), np.uint8)
    tried = [_timed(replace(model, batch=1), noise[:1])]
    if tried[0].seconds <= SLOW:
        singly = tried[0].logits(noise)
        for size in BATCHES:
            batched = replace(model, batch=size)
            if size > count or not _same(batched, noise[:size], singly[:size]):
                break
            tried.append(_timed(batched, noise[:size]))
    least = min(one.seconds for one in tried)
    return next(one for one in reversed(tried) if one.seconds <= ALIKE * least)


def _same(model: Model, pixels: Pixels, expected: Logits) -> bool:
    try:
        return np.array_equal(model.logits(pixels), expected)
    except Exception:  # the runtime's own: a graph that takes one image at a time
        return False


def _timed(model: Model, pixels: Pixels) -> Model:
    """The model with the CPU time an image takes, the less of two trials."""
    found = []
    for _ in range(2):
        started = time.thread_time()
        model.logits(pixels)
        found.append(time.thread_time() - started)
    return replace(model, seconds=min(found) / len(pixels))


def decode(content: bytes, spec: InputSpec) -> Pixels:
    """The pixels of a prepared image, uint8 [height, width, channels].

    Nothing is resized, converted or turned: that is what `ics.imaging.prepare` is for. Size and colour are read from
    the header, so that a wrong or huge image is refused before any of it is decoded.

    Raises:
        EmptyObject, NotAnImage, UnsupportedFormat, TruncatedImage, CorruptImage: as their names say.
        ModelRefused: an image, but not of this model's size and colour.
    """
    pixels, refused = _decoded([content], spec)
    if refused:
        raise refused
    (one,) = pixels
    return cast("Pixels", one)


def together(taken: InputSpec) -> int:
    """How many images are decoded before any is computed."""
    return max(1, TOGETHER // (taken.height * taken.width * taken.channels))


def _decoded(contents: list[bytes], spec: InputSpec) -> tuple[Pixels, ImageError | None]:
    """The pixels of these images [N, height, width, channels] up to the first that is refused, and why it is.

    A JPEG whose frame says that it is baseline and just what the model takes is decoded by libjpeg-turbo without
    Pillow, to the same bits in a fifth of the time. It comes out whole and faultless, or Pillow decides on it, too.
    """
    pixels = np.empty((len(contents), spec.height, spec.width, spec.channels), np.uint8)
    shape, colours, decode_jpeg = pixels.shape[1:], _JPEG_COLOURS[spec.colour], simplejpeg.decode_jpeg
    length, frame = 8 + 3 * spec.channels, (8, spec.height, spec.width, spec.channels)
    start_of_frame = struct.pack(">HHBHHB", 0xFFC0, length, *frame)  # ITU-T T.81, B.2.2
    for number, (content, place) in enumerate(zip(contents, pixels, strict=True)):
        if content.find(start_of_frame) > 0:  # `in` takes twice as long: it first tries what it is given as a number
            try:
                found: Pixels = decode_jpeg(content, colours, buffer=place)
                if found.shape == shape:
                    continue
            except ValueError:  # any fault, though a picture may have come of it
                pass
        try:
            _decode_into(place, content, spec)
        except ImageError as error:
            return pixels[:number], error
    return pixels, None


def _decode_into(pixels: Pixels, content: bytes, spec: InputSpec) -> None:
    """Decode a PNG or JPEG with Pillow, which is loaded by the first that needs it."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    from ics.imaging import sniff  # noqa: PLC0415

    format_ = sniff(content)
    if format_ not in ("PNG", "JPEG"):
        raise UnsupportedFormat(f"{format_} is not taken; ics.imaging.prepare makes the PNG or JPEG that is")
    try:
        image = Image.open(io.BytesIO(content), formats=(format_,))
        _check_prepared(image, spec)
        image.load()
    except ImageError:
        raise
    except UnidentifiedImageError as error:  # its message names an object of ours
        raise CorruptImage(f"a {format_} whose header cannot be read") from error
    except Exception as error:  # whatever a decoder stumbles over is that image's fault, and no other's
        problem = str(error) or type(error).__name__
        if "truncated" in problem.lower() or isinstance(error, EOFError):
            raise TruncatedImage(problem) from error
        raise CorruptImage(problem) from error
    pixels[:] = np.frombuffer(image.tobytes(), np.uint8).reshape(pixels.shape)


def _finite(logits: Logits) -> int:
    """How many of these answers come before the first that is not finite."""
    return int(np.isfinite(logits).reshape(len(logits), -1).all(axis=1).argmin())


def said(logits: Logits, spec: ModelSpec, language: Language | None) -> list[dict[str, Any]]:
    """What the wire format says of images but their ids, by the model's kind."""
    if spec.kind == "text":
        return [_read(one, spec, language) for one in logits]
    answers = []
    for classes, confidences in zip(*(values.tolist() for values in ranked(logits)), strict=True):
        best, *others = [
            {"label": spec.labels[k], "confidence": sure} for k, sure in zip(classes, confidences, strict=True)
        ]
        answers.append({**best, "alternatives": others, "model": spec.version})
    return answers


def ranked(logits: Logits) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Of logits [images, classes] the classes of the highest, best first, and their confidences; both [images, best].

    Each row by itself, but in few calls, and those without what numpy puts around them in Python: of one image, they
    are a third of what it takes to answer.
    """
    weights = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
    weights /= np.add.reduce(weights, axis=1, keepdims=True)
    if logits.shape[1] <= FEW:
        ranks = (-logits).argsort(axis=1, kind="stable")[:, : 1 + ALTERNATIVES]
    else:
        ranks = np.array([_best(row) for row in logits])
    return ranks, weights[np.arange(len(ranks))[:, np.newaxis], ranks]


def _best(logits: Logits) -> list[int]:
    """The classes of the highest of many logits, the best first, of equals the first.

    One search for the highest after the other: after a net's computing, none of numpy's code is in the processor's
    caches, and this needs the least of it.
    """
    left, best = logits.copy(), []
    for _ in range(1 + ALTERNATIVES):
        best.append(int(left.argmax()))
        left[best[-1]] = -math.inf
    return best


def _read(logits: Logits, spec: ModelSpec, language: Language | None) -> dict[str, Any]:
    line = read_line(logits, spec.labels, language, spec.temperature)
    return {
        "label": line.text,
        "confidence": line.confidence,
        "alternatives": [{"label": character, "confidence": sure} for character, sure in line.characters],
        "text": line.text,
        "model": spec.version,
    }


def _check_prepared(image: "Image.Image", spec: InputSpec) -> None:
    if image.size != (spec.width, spec.height):
        found, wanted = f"{image.width} x {image.height}", f"{spec.width} x {spec.height}"
        raise ModelRefused(f"{found} pixels; this model takes {wanted}, as ics.imaging.prepare makes them")
    if image.mode != _MODES[spec.colour]:
        wanted = f"{_MODES[spec.colour]} (8-bit {spec.colour})"
        raise ModelRefused(f"mode {image.mode}; this model takes {wanted}, as ics.imaging.prepare makes it")
    if "transparency" in image.info:
        raise ModelRefused("the image has transparency; ics.imaging.prepare lays it on white")
