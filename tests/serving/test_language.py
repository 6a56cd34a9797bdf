"""The language that a graph carries: its probabilities, its states, and what is refused."""

# ruff: noqa: RUF001, RUF003

import base64
import json
import lzma
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.errors import InvalidArtifact
from serving.language import PROPERTY, STEP, Language, Levels, Weights, packed, read_language
from serving.model import load_model
from tests.artifacts import write_artifact, writing

WEIGHTS = Weights(weight=0.5, bonus=1, capital=1, capitalised=-2, capitals=-3, mixed=-9)
LETTERS = "абв"
CONTEXTS = ("", "^", "а", "б", "^а", "аб", "^аб")


def levels(contexts: int = len(CONTEXTS)) -> Levels:
    return np.random.default_rng(0).integers(0, 30, (len(LETTERS) + 2, contexts)).astype(np.uint8)


def after(language: Language, word: str) -> list[float]:
    """The probabilities of what follows after this beginning of a word: each letter, the end."""
    state, count = language.start, len(language.letters)
    for letter in word:
        state = language.following[state * count + language.letters.index(letter)]
    return language.probabilities[state * (count + 1) : (state + 1) * (count + 1)].tolist()


def slowly(word: str, table: Levels) -> list[float]:
    """The same from the levels, as the format says, by the longest context that is known."""
    history = f"^{word}"
    while history not in CONTEXTS:
        history = history[1:]
    shorter = [1 / (len(LETTERS) + 1)] * (len(LETTERS) + 1)
    for first in range(len(history), -1, -1):
        given_, *own = table[:, CONTEXTS.index(history[first:])].tolist()
        found = [
            math.exp(-STEP * (level - 1)) if level else math.exp(-STEP * given_) * less
            for level, less in zip(own, shorter, strict=True)
        ]
        shorter = [one / sum(found) for one in found]
    return shorter


@given(st.text(LETTERS, max_size=7), st.integers(0, 2**32))
def test_probabilities_are_those_of_the_longest_context_and_sum_to_one(word: str, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 40, (len(LETTERS) + 2, len(CONTEXTS))).astype(np.uint8)
    language = read_language(packed(LETTERS, CONTEXTS, table, WEIGHTS))
    found = after(language, word)
    assert found == pytest.approx(slowly(word, table), rel=1e-5)
    assert sum(found) == pytest.approx(1, rel=1e-5)
    assert language.weights == WEIGHTS


def test_a_probability_is_never_zero() -> None:
    table = np.full((len(LETTERS) + 2, len(CONTEXTS)), 255, np.uint8)
    table[1] = 1
    table[2] = 0
    assert min(after(read_language(packed(LETTERS, CONTEXTS, table, WEIGHTS)), "аб")) > 0


def test_a_graph_brings_its_language_and_reads_with_it(tmp_path: Path) -> None:
    spec = write_artifact(tmp_path, kind="text", labels=["а", "б", "в"], width=64, height=32, sharpness=30)
    strips = writing(spec, "бв")
    alone = load_model(tmp_path)
    assert alone.language is None
    table = levels()
    table[1:] = [[40], [1], [40], [1]]  # words of б, and nothing else
    with_property(tmp_path, packed(LETTERS, CONTEXTS, table, Weights(9, 0, 0, 0, 0, 0)))
    model = load_model(tmp_path)
    assert model.language is not None
    assert alone.predict_one(strips).text == "бв"
    read = model.predict_one(strips)
    assert "в" not in (read.text or "")
    assert 0 < read.confidence <= 1
    # to the bit, whatever it is read among
    blank = writing(spec, "")
    assert list(model.predict([blank, strips, strips]))[1:] == [read, read]


def with_property(folder: Path, value: str) -> None:
    graph = onnx.load(folder / "model.onnx")
    onnx.helper.set_model_props(graph, {PROPERTY: value})
    onnx.save(graph, folder / "model.onnx")
    from ics.artifact import graph_version

    description = json.loads((folder / "model.json").read_text("utf-8"))
    description["version"] = graph_version(folder / "model.onnx")
    (folder / "model.json").write_text(json.dumps(description), "utf-8")


def lzma64(content: bytes) -> str:
    return base64.b64encode(lzma.compress(content)).decode()


def contexts(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        found["contexts"] = lzma64("\n".join(names).encode())
        found["levels"] = lzma64(bytes(len(names) * (len(LETTERS) + 2)))

    return change


def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.__setitem__(name, value)


def weigh(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["weights"].__setitem__(name, value)


BROKEN: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda found: found.clear(), "no JSON object with letters"),
    (put("letters", ["а"]), "letters must be"),
    (put("letters", "аа"), "letters must be"),
    (put("letters", ""), "letters must be"),
    (put("levels", lzma64(b"few")), "3 levels for 7 contexts and 3 letters"),
    (put("levels", "!"), "not LZMA in base64"),
    (put("levels", 7), "not LZMA in base64"),
    (put("levels", base64.b64encode(b"junk" * 9).decode()), "not LZMA in base64"),
    (lambda found: found.update(levels=found["levels"][:40]), "end too early"),
    (put("levels", lzma64(bytes(65_000_000))), "or hold more than"),
    (put("contexts", lzma64(b"\xff")), "not UTF-8"),
    (contexts("^", "", "а"), "contexts must be different, the empty one first"),
    (contexts("", "а"), "contexts must be different"),
    (contexts("", "^", "а", "а"), "contexts must be different"),
    (contexts("", "^", "^а", "а"), "in the order of their lengths"),
    (contexts("", "^", "аб"), "'аб' has other letters, or one within it is missing"),
    (contexts("", "^", "x"), "'x' has other letters"),
    (contexts("", "^", "а", "а^"), "'а^' has other letters"),
    (put("weights", 3), "weights must be weight, bonus"),
    (lambda found: found["weights"].pop("bonus"), "weights must be weight, bonus"),
    (weigh("weight", -1), "weight is -1.0; it must be at least 0"),
    (weigh("mixed", float("nan")), "mixed is nan"),
    (weigh("bonus", True), "bonus is True"),
    (weigh("bonus", "much"), "bonus is 'much'"),
    (weigh("capitals", 10**400), "from -1000 to 1000"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_what_is_no_language_is_refused_by_name(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    found = json.loads(packed(LETTERS, CONTEXTS, levels(), WEIGHTS))
    change(found)
    with pytest.raises(InvalidArtifact, match=re.escape(message)):
        read_language(json.dumps(found))


@given(st.text() | st.sampled_from(["[]", "null", "7", '"x"', "[" * 100_000]))
def test_any_text_is_a_language_or_refused(text: str) -> None:
    with pytest.raises(InvalidArtifact, match=r"no JSON object|letters"):
        read_language(text)


def test_a_model_with_a_broken_language_is_not_loaded(tmp_path: Path) -> None:
    write_artifact(tmp_path, kind="text", labels=["а"], width=64, height=32)
    with_property(tmp_path, "{}")
    with pytest.raises(InvalidArtifact, match=r"property ics\.language: no JSON object"):
        load_model(tmp_path)
