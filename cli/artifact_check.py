"""What is wrong with a model artifact, and how to mend it: its files, its graph, its answers, its card.

Nothing is changed, and nothing is deployed. The graph is loaded and asked exactly as the model server does it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx.external_data_helper import uses_external_data

from cli import show
from cli.doctor import Check
from ics.artifact import FILES, InputSpec, ModelSpec, graph_version, read_spec
from ics.errors import IcsError, InvalidArtifact
from serving.model import KINDS, Model, check_signature, language_of, open_graph

RECIPE = "docs/own-model.md"
LARGE = 5_000_000
"""Bytes from which a graph is worth a word: it is fetched whenever an endpoint starts."""

TO_FILL_IN = "_To fill in:"
"""How the lines begin that `ics model pack` leaves in a card."""

CLOSE = 1e-3
"""How far an image's logits may differ alone and in a batch: float32 arithmetic in another order."""


def examine(folder: Path) -> Iterator[Check]:
    """Look at the artifact in `folder`; each finding as soon as it is known."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        found = f"{folder} lacks {', '.join(missing)}" if folder.is_dir() else f"{folder} is no folder"
        yield Check("files", "problem", found, f"ics model pack makes all of {', '.join(FILES)}: {RECIPE}")
    else:
        yield Check("files", "ok", ", ".join(FILES))
    spec = None
    if "model.json" not in missing:
        try:
            spec = read_spec(folder)
        except InvalidArtifact as error:
            yield Check("model.json", "problem", str(error), f"correct model.json; {RECIPE} shows one")
        else:
            yield Check("model.json", "ok", f"{spec.name}: {spec.kind}, {len(spec.labels)} labels")
    if "model.onnx" not in missing:
        yield from _graph(folder / "model.onnx", spec)
    if "card.md" not in missing:
        yield from _card((folder / "card.md").read_text("utf-8", errors="replace"))
    if spec is not None:
        yield from _trust(spec)


def pictures(taken: InputSpec) -> npt.NDArray[np.uint8]:
    """A black, a white and a noisy picture of a model's size: uint8 [3, height, width, channels]."""
    size = (taken.height, taken.width, taken.channels)
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    return np.stack([np.zeros(size, np.uint8), np.full(size, 255, np.uint8), noise])


def alone_and_together(
    session: ort.InferenceSession, taken: InputSpec, output: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The graph's logits for `pictures`, one by one and in one batch.

    Raises:
        Exception: whatever the runtime says of a batch of three.
    """
    images = pictures(taken)
    alone = [session.run([output], {taken.tensor: image[np.newaxis]})[0][0] for image in images]
    (together,) = session.run([output], {taken.tensor: images})
    return np.stack(alone).astype(np.float64), together.astype(np.float64)


def _graph(path: Path, spec: ModelSpec | None) -> Iterator[Check]:
    if spec is not None:
        version = graph_version(path)
        if spec.version == version:
            yield Check("version", "ok", version[:12])
        else:
            found = f"model.json describes {spec.version[:12]}, but model.onnx is another graph"
            yield Check("version", "problem", found, f'write its SHA-256 into model.json: "version": "{version}"')
    size = path.stat().st_size
    if size > LARGE:
        do = "nothing, if that is what it takes; float16 or fewer channels make it smaller"
        yield Check("size", "warning", f"{size / 1e6:.1f} MB: every start of the endpoint fetches it", do)
    try:
        net = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own, which it does not export
        yield Check("graph", "problem", f"{path.name} is no ONNX file: {error}", "export the model as ONNX")
        return
    if any(uses_external_data(tensor) for tensor in net.graph.initializer):
        do = "ics model pack puts them into the file; or, in Python: onnx.save(onnx.load(path), path)"
        yield Check("graph", "problem", "weights lie in another file, which no artifact carries", do)
        return
    opset = next((one.version for one in net.opset_import if one.domain in ("", "ai.onnx")), 0)
    made = f"ONNX IR version {net.ir_version}, opset {opset}"
    try:
        session = open_graph(path)
    except InvalidArtifact as error:
        yield Check("graph", "problem", f"{made}: {error}", _loadable(str(error)))
        return
    yield Check("graph", "ok", f"{made}, {size / 1e6:.1f} MB; loaded by onnxruntime {ort.__version__}")
    try:
        language = language_of(session)
    except InvalidArtifact as error:
        yield Check("language", "problem", str(error), "train it again, or take the property out of the graph")
        return
    if language is not None:
        yield Check("language", "ok", f"{len(language.letters)} letters: words are read with what is likely in it")
    if spec is not None:
        yield from _answers(Model(spec, session, language=language))


def _loadable(problem: str) -> str:
    if re.search(r"IR version|opset", problem, re.IGNORECASE):
        return "export it for an older ONNX, for example torch.onnx.export(..., opset_version=17)"
    return "export it again, with standard ONNX operators only"


def _answers(model: Model) -> Iterator[Check]:
    spec = model.spec
    if spec.kind not in KINDS:
        found = f"a {spec.kind} model; endpoints answer for {' and '.join(KINDS)} only"
        yield Check("kind", "problem", found, f"use a model of kind {' or '.join(KINDS)}")
        return
    try:
        check_signature(model)
    except InvalidArtifact as error:
        do = f"correct model.json, or let ics model pack wrap the graph: {RECIPE}"
        yield Check("signature", "problem", str(error), do)
        return
    taken = spec.input
    yield Check("signature", "ok", f"{taken.tensor}: uint8 [N, {taken.height}, {taken.width}, {taken.channels}]")
    names = ("black", "white", "noisy")
    said = []
    for name, pixels in zip(names, pictures(taken), strict=True):
        try:
            prediction = model.classify(pixels)
        except IcsError as error:
            do = (
                "labels and output must agree" if isinstance(error, InvalidArtifact) else "look for a log or a division"
            )
            yield Check("answers", "problem", f"to a {name} picture: {error}", do)
            return
        except Exception as error:  # the runtime has no common base class for what a graph stumbles over
            do = f"export it with a dynamic batch, and run it on uint8 zeros of that size: {RECIPE}"
            yield Check("answers", "problem", f"to a {name} picture: {error}", do)
            return
        said.append(f"{name} {prediction.label!r} at {prediction.confidence:.2f}")
    yield Check("answers", "ok", ", ".join(said))
    if spec.kind == "text":
        (output,) = model.session.run([spec.output], {taken.tensor: pictures(taken)[:1]})
        yield Check("frames", "ok", f"{output.shape[1]}: it reads at most as many characters")
    yield _batch(model)


def _batch(model: Model) -> Check:
    do = "nothing for ICS, which then asks for one image at a time; a dynamic batch (N) serves everywhere"
    if model.session.get_inputs()[0].shape[0] == 1:
        return Check("batch", "warning", "the graph takes one image at a time: its batch is fixed at 1", do)
    try:
        alone, together = alone_and_together(model.session, model.spec.input, model.spec.output)
    except Exception as error:  # as above
        return Check("batch", "warning", f"three images at once are refused: {error}", do)
    if alone.shape != together.shape or not np.allclose(alone, together, rtol=CLOSE, atol=CLOSE):
        return Check("batch", "warning", "an image gets another answer in a batch than alone", do)
    return Check("batch", "ok", "the same answers alone and in a batch")


def _card(text: str) -> Iterator[Check]:
    """What people need to know before they trust the model: where it learned, under which licence, where it ends."""
    heading = ""
    sections: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").lower()
        elif line.strip() and not line.startswith(TO_FILL_IN):
            sections[heading] = sections.get(heading, "") + line + "\n"
    for wanted, about in (("data", "where the training images come from, and their licence"),
                          ("limits", "what it is meant for, and where it fails")):  # fmt: skip
        held = "".join(body for name, body in sections.items() if wanted in name)
        if not held:
            do = f"write into card.md, under a heading with the word {wanted}: {about}"
            yield Check(f"card, {wanted}", "warning", "nothing is said", do)
        elif wanted == "data" and not re.search("licen[cs]e|public domain|CC[ -]", held, re.IGNORECASE):
            yield Check(f"card, {wanted}", "warning", "no word of the data's licence", "add it to card.md")
        else:
            yield Check(f"card, {wanted}", "ok", f"{len(held.split())} words")


def _trust(spec: ModelSpec) -> Iterator[Check]:
    if spec.temperature == 1:
        do = "fit it on labelled images that the model did not learn from, and write it into model.json"
        yield Check("temperature", "warning", "1: its confidence is not calibrated", do)
    else:
        yield Check("temperature", "ok", f"{spec.temperature:.3f}")
    if spec.metrics:
        yield Check("figures", "ok", show.figures(spec.metrics))
    else:
        do = "measure it on labelled images, and write them into model.json as metrics, and into card.md"
        yield Check("figures", "warning", "none: nobody knows how often it is right", do)
