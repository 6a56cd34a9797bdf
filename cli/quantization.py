"""An artifact's graph in 8-bit integers, as an artifact of its own, and what that costs and saves, measured.

Weights get a scale a channel, and 7 bits rather than 8: a sum of two products then fits 16 bits, in which processors
without int8 dot products add, and none saturates. Activations get 8 bits over the range that they have on calibration
pictures. What comes before the first weights, the normalisation of pixels, stays in float32. All figures are of other
pictures than those, answered as the model server answers.
"""

import hashlib
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from rich import box
from rich.table import Table
from rich.text import Text

from cli import show
from ics.artifact import ModelSpec, graph_version, spec_to_json
from ics.errors import ImageError, InvalidArtifact
from ics.measures import share
from serving.model import Model, load_model
from training.calibrate import probabilities
from training.data import DataError, Skipped
from training.evaluate import THRESHOLD, Evaluated, evaluate, measured, metrics
from training.measures import as_text, figures
from training.samples import Sample, Samples

KINDS = ("classification", "text")
"""The kinds of model whose loss can be measured."""

CALIBRATES = (10, 300)
"""At least, and where nobody says otherwise at most, so many pictures calibrate: by then ranges hardly widen."""

MEASURES = 30
"""Pictures to measure on, at least; one in thirty is as fine as anybody would want to read a loss from."""

WEIGHTED = ("Conv", "Gemm", "MatMul")
OPERATORS = (*WEIGHTED, "Relu", "Clip", "Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool")
"""What is computed in integers: what holds weights, and what can stay in integers between two of those."""

OPSET = 13
"""The oldest ONNX operator set in which a tensor has a scale a channel; older graphs are converted."""

ROUNDS, TIMED = 9, 20
"""The models take turns so many times at each of so many pictures, whose CPU time is the least of all times."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Pictures:
    """Prepared pictures to calibrate on, uint8 [height, width, channels], and what of theirs could not be read."""

    images: Sequence[Pixels]
    skipped: Sequence[Skipped]


def quantize(
    folder: Path, out: Path, samples: Samples, *, images: int | None = None, advance: Callable[[], object]
) -> dict[str, Any]:
    """Write the artifact in `folder` anew into `out`, whose name becomes the model's, in 8-bit integers.

    `images` of the samples, or a quarter of them, calibrate; all others are measured on, twice, with `advance` called
    after each. Returns what was found, ready for JSON: `original` and `int8` side by side.

    Raises:
        InvalidArtifact: the artifact cannot be quantized, or `out` holds one.
        DataError: there are too few pictures.
    """
    if (out / "model.json").exists():
        raise InvalidArtifact(f"{out} holds an artifact already; remove it, or name another --out")
    if not (folder / "card.md").is_file():
        raise InvalidArtifact(f"{folder} lacks card.md, which the quantized model's card goes on from")
    original = load_model(folder)
    if original.spec.kind not in KINDS:
        raise InvalidArtifact(f"{folder} is a {original.spec.kind} model; its loss cannot be measured")
    calibrating, measuring = parted(samples.samples, images)
    pictures = _read(calibrating, original.spec)
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        graph = integers(folder / "model.onnx", original.spec, pictures.images)
        (made / "model.onnx").write_bytes(graph)
        spec = replace(original.spec, name=out.resolve().name, version=graph_version(made / "model.onnx"), metrics={})
        _write_spec(made, spec)
        quantized = load_model(made)
    spec = replace(spec, temperature=as_sure(original, quantized, pictures.images))
    quantized = replace(quantized, spec=spec)
    before, after = _both(original, quantized, measuring, advance)
    cpu = _cpu_milliseconds((original, quantized), [one.pixels(spec) for one in before.samples[:TIMED]])
    sizes = ((folder / "model.onnx").stat().st_size, len(graph))
    sides = [
        _side(model, one, size, spent)
        for model, one, size, spent in zip((original, quantized), (before, after), sizes, cpu, strict=True)
    ]
    found = {
        "kind": spec.kind,
        "data": samples.described,
        "calibrated_on": len(pictures.images),
        "images": len(before.samples),
        "original": sides[0],
        "int8": sides[1],
        "speedup": cpu[0] / cpu[1],
        **_changed(before, after),
        "unknown": dict(samples.unknown),
        "skipped": [
            {"source": one.source, "reason": one.reason}
            for one in (*samples.skipped, *pictures.skipped, *before.skipped)
        ],
    }
    spec = replace(spec, metrics=_metrics(found, after))
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(graph)
    (out / "card.md").write_text(card(found, (folder / "card.md").read_text("utf-8")), "utf-8")
    _write_spec(out, spec)
    return found


def parted(samples: Sequence[Sample], images: int | None) -> tuple[list[Sample], list[Sample]]:
    """Samples to calibrate on, `images` or a quarter, and those to measure on, by what the pictures hold.

    So a picture that is there twice is on one side, and neither names nor order decide.

    Raises:
        DataError: a side would have too few.
    """
    least, most = CALIBRATES
    wanted = max(least, min(most, len(samples) // 4)) if images is None else images
    digests = [_digest(one) for one in samples]
    last = sorted(digests)[min(wanted, len(samples)) - 1] if samples else b""
    calibrating = [one for one, digest in zip(samples, digests, strict=True) if digest <= last]
    measuring = [one for one, digest in zip(samples, digests, strict=True) if digest > last]
    if len(calibrating) < least or len(measuring) < MEASURES:
        raise DataError(
            f"of {len(samples)} pictures {len(calibrating)} would calibrate and {len(measuring)} be measured on; "
            f"at least {least} and {MEASURES} are needed"
        )
    return calibrating, measuring


def integers(path: Path, spec: ModelSpec, images: Sequence[Pixels]) -> bytes:
    """The graph in `path`, with the operators of OPERATORS in 8-bit integers, calibrated on these images.

    The same images give the same bytes.

    Raises:
        InvalidArtifact: it is quantized already, or cannot be.
    """
    with tempfile.TemporaryDirectory() as temporary, _quiet():
        prepared, written = Path(temporary) / "prepared.onnx", Path(temporary) / "integers.onnx"
        try:
            net = onnx.load(path)
            opset = next((one.version for one in net.opset_import if one.domain in ("", "ai.onnx")), OPSET)
            onnx.save(version_converter.convert_version(net, OPSET) if opset < OPSET else net, prepared)
            # folds batch normalisation into convolutions, and writes down the shapes between nodes
            quant_pre_process(prepared, prepared, skip_symbolic_shape=True)
            net = onnx.load(prepared)
            before = _before_weights(net, path)
            onnx.save(net, prepared)
            quantize_static(
                prepared,
                written,
                _Reader(spec.input.tensor, images),
                op_types_to_quantize=list(OPERATORS),
                nodes_to_exclude=before,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            net = onnx.load(written)
        except InvalidArtifact:
            raise
        except Exception as error:  # the quantizer has no common base class for what it stumbles over
            raise InvalidArtifact(f"{path} cannot be quantized: {error}") from error
    if not any(node.op_type == "QuantizeLinear" for node in net.graph.node):
        raise InvalidArtifact(f"{path} cannot be quantized: none of its weights are float32")
    used = {node.domain for node in net.graph.node}
    domains = [one for one in net.opset_import if one.domain in used]
    del net.opset_import[:]  # the optimizer writes down all that it knows
    net.opset_import.extend(domains)
    content: bytes = net.SerializeToString(deterministic=True)
    return content


def as_sure(original: Model, quantized: Model, images: Sequence[Pixels]) -> float:
    """The temperature at which a quantized model is, on the mean of these images, as sure as the original is.

    So it keeps what the original's temperature was fitted for. To fit it anew by the labels of so few pictures would be
    rough, and, where the model is right about all of them, would make it sure of everything.
    """
    temperature = original.spec.temperature
    wanted = _mean_confidence(_logits(original, images), temperature)
    logits = _logits(quantized, images)
    if abs(_mean_confidence(logits, temperature) - wanted) < 1e-6:
        return temperature
    low, high = temperature / 4, temperature * 4
    for _ in range(30):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if _mean_confidence(logits, middle) > wanted else (low, middle)
    return float(np.sqrt(low * high))


def table(found: Mapping[str, Any]) -> None:
    """Print what was found, the original and the quantized model side by side."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", found["original"]["model"], found["int8"]["model"]):
        shown.add_column(Text(column), justify="right" if column else "left")
    for name, *values in _rows(found):
        shown.add_row(name, *values)
    show.out.print(shown)
    show.out.print(Text(_sentence(found)), soft_wrap=True)


def card(found: Mapping[str, Any], original: str) -> str:
    """The quantized model's card: what was done and measured, then the original's card without its title.

    Links to files beside the original become their text, for those files are not here.
    """
    title, _, rest = original.partition("\n")
    body = rest if title.startswith("# ") else original
    body = re.sub(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)[^)\s]*\)", r"\1", body).strip()
    source, made = found["original"], found["int8"]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in _rows(found))
    return f"""\
# {made["model"]}

## In 8-bit integers

This is {source["model"]} with activations in 8-bit integers and weights in 7 bits, a scale a channel, made by
`ics model quantize`. The ranges of its activations, and the temperature at which it is as sure as the original, come
from {found["calibrated_on"]:,} pictures; the figures are of {found["images"]:,} others, which both answered as when
served. Data: {found["data"]}. CPU time: one thread, on the machine that made this.

| | {source["model"]} | {made["model"]} |
|---|---|---|
| version | `{source["version"]}` | `{made["version"]}` |
| temperature | {source["temperature"]:.4f} | {made["temperature"]:.4f} |
{rows}

{_sentence(found)}

## The original

From here on this is the card of {source["model"]}, and its figures are of that graph.

{body}
"""


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The figures' names, and their values of the original and of the quantized model."""
    text = found["kind"] == "text"
    for name, key in (
        ("lines read without a mistake" if text else "accuracy", "accuracy"),
        ("character error rate", "cer"),
        ("calibration error (ECE)", "ece"),
        (f"accepted at {THRESHOLD:g}", "accepted"),
        ("wrong answers sent to people", "wrong_below_threshold"),
    ):
        if found["original"].get(key) is not None:
            yield name, _interval(found["original"][key]), _interval(found["int8"][key])
    sizes = [f"{found[side]['bytes'] / 1e6:,.2f} MB" for side in ("original", "int8")]
    yield "size", sizes[0], sizes[1]
    spent = [f"{found[side]['cpu_milliseconds']:.3f} ms" for side in ("original", "int8")]
    yield "CPU an image", spent[0], spent[1]


def _sentence(found: Mapping[str, Any]) -> str:
    same, what = found["agreement"], "lines" if found["kind"] == "text" else "pictures"
    return (
        f"The same answer to {same['count']:,} of {same['of']:,} {what}, {_interval(same)}; "
        f"{found['newly_wrong']:,} newly wrong, {found['newly_right']:,} newly right: "
        f"accuracy changes by {found['accuracy_change'] * 100:+.2f} points. "
        f"{found['speedup']:.2f} times as many images per CPU second."
    )


def _interval(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "-"
    return f"{one['value']:.2%} ({one['low']:.1%} to {one['high']:.1%})"


def _write_spec(folder: Path, spec: ModelSpec) -> None:
    (folder / "model.json").write_text(as_text(spec_to_json(spec)), "utf-8")


def _digest(sample: Sample) -> bytes:
    """Of the picture's content; of a file that cannot be read, of its name."""
    try:
        content = sample.picture.read_bytes() if isinstance(sample.picture, Path) else sample.picture.tobytes()
    except OSError:
        content = sample.source.encode()
    return hashlib.blake2b(content, digest_size=16).digest()


def _read(samples: Sequence[Sample], spec: ModelSpec) -> _Pictures:
    images, skipped = [], []
    for sample in samples:
        try:
            images.append(sample.pixels(spec))
        except ImageError as error:
            skipped.append(Skipped(sample.source, f"{error.reason}: {error}"))
        except OSError as error:
            skipped.append(Skipped(sample.source, str(error)))
    if len(images) < CALIBRATES[0]:
        one = skipped[0]
        raise DataError(
            f"{len(skipped)} of the {len(samples)} pictures to calibrate on cannot be used; {one.source}: {one.reason}"
        )
    return _Pictures(images, skipped)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's hints, which are for those who call it by hand."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """The images, one at a time, as the quantizer asks for them."""

    def __init__(self, tensor: str, images: Sequence[Pixels]) -> None:
        self.feeds = iter([{tensor: image[np.newaxis]} for image in images])

    def get_next(self) -> dict[str, Pixels] | None:
        """The next image, None after the last."""
        return next(self.feeds, None)


def _before_weights(net: onnx.ModelProto, path: Path) -> list[str]:
    """The names of the nodes that no weights come before; every node gets a name.

    Raises:
        InvalidArtifact: there are no weights, or they are quantized.
    """
    after: set[str] = set()
    before = []
    for number, node in enumerate(net.graph.node):
        if re.search(r"uantizeLinear$|^QLinear|Integer$", node.op_type):
            raise InvalidArtifact(f"{path} is quantized already: it holds a {node.op_type}")
        node.name = f"{number}_{node.op_type}"
        if node.op_type in WEIGHTED or after.intersection(node.input):
            after.update(node.output)
        else:
            before.append(node.name)
    if not after:
        raise InvalidArtifact(f"{path} holds none of {', '.join(WEIGHTED)}: there is nothing to quantize")
    return before


def _logits(model: Model, images: Sequence[Pixels]) -> list[npt.NDArray[np.float32]]:
    """[frames, classes] of each image; a classification has one frame."""
    spec = model.spec
    return [
        model.session.run([spec.output], {spec.input.tensor: image[np.newaxis]})[0].reshape(-1, spec.classes)
        for image in images
    ]


def _mean_confidence(logits: Sequence[npt.NDArray[np.float32]], temperature: float) -> float:
    return float(np.mean([probabilities(one, temperature).max(axis=1).prod() for one in logits]))


def _both(
    original: Model, quantized: Model, samples: Sequence[Sample], advance: Callable[[], object]
) -> tuple[Evaluated, Evaluated]:
    """What each says of the same samples, row by row."""
    before = evaluate(original, samples, advance)
    if len(before.samples) < MEASURES:
        one = before.skipped[0]
        raise DataError(
            f"{len(before.skipped)} of the {len(samples)} pictures to measure on cannot be used; "
            f"{one.source}: {one.reason}"
        )
    after = evaluate(quantized, before.samples, advance)
    if after.skipped:
        one = after.skipped[0]
        raise InvalidArtifact(f"in integers it has no answer to {one.source}: {one.reason}")
    return before, after


def _cpu_milliseconds(models: Sequence[Model], images: Sequence[Pixels]) -> list[float]:
    """Of the process, for an image, from pixels to the answer.

    The least time of each is what it takes where nothing else is in the processor's caches.
    """
    spent = np.empty((len(models), len(images), ROUNDS))
    for turn in range(ROUNDS):
        for row, image in enumerate(images):
            for place, model in enumerate(models):
                start = time.process_time()
                model.classify(image)
                spent[place, row, turn] = time.process_time() - start
    return [float(one) * 1e3 for one in spent.min(axis=2).mean(axis=1)]


def _side(model: Model, evaluated: Evaluated, size: int, cpu: float) -> dict[str, Any]:
    spec = model.spec
    found = figures(evaluated.answers, spec.kind, spec.labels)
    kept = ("accuracy", "macro_f1", "cer", "wer", "ece", "accepted", "accuracy_of_accepted", "wrong_below_threshold")
    return {
        "model": spec.name,
        "version": spec.version,
        "temperature": spec.temperature,
        **{name: found[name] for name in kept if name in found},
        "bytes": size,
        "cpu_milliseconds": cpu,
    }


def _changed(before: Evaluated, after: Evaluated) -> dict[str, Any]:
    """How the answers differ."""
    right, now = before.answers.right, after.answers.right
    same = sum(one == other for one, other in zip(before.answers.said, after.answers.said, strict=True))
    return {
        "agreement": share(same, len(right)),
        "newly_wrong": int((right & ~now).sum()),
        "newly_right": int((~right & now).sum()),
        "accuracy_change": float(now.mean() - right.mean()),
    }


def _metrics(found: Mapping[str, Any], after: Evaluated) -> dict[str, Any]:
    """The figures for model.json: the quantized model's, and below `quantized` what they were before."""
    source, made = found["original"], found["int8"]
    described = f"{found['data']}: {found['images']:,} pictures that did not calibrate"
    rates = {name: made[name]["value"] for name in ("cer", "wer") if made.get(name)}
    return {
        **metrics(described, measured(after.answers.confidence, after.answers.right)),
        **rates,
        "quantized": {
            "from": source["version"],
            "calibrated_on": found["calibrated_on"],
            "agreement": found["agreement"]["value"],
            "accuracy_change": found["accuracy_change"],
            "speedup": found["speedup"],
            **{
                f"{side}_{name}": value
                for side, one in (("original", source), ("int8", made))
                for name, value in (
                    ("accuracy", one["accuracy"]["value"]),
                    ("accuracy_interval", [one["accuracy"]["low"], one["accuracy"]["high"]]),
                    ("ece", one["ece"]["value"]),
                    ("bytes", one["bytes"]),
                    ("cpu_milliseconds", one["cpu_milliseconds"]),
                )
            },
        },
    }
