"""The shipped text model keeps what its model.json and card promise; no torch needed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="its DejaVu Sans has Russian letters")
pytest.importorskip("fontTools", reason="lines are drawn with fonttools: pip install -r requirements-train.txt")

import random

import matplotlib

from ics.artifact import load_spec, spec_to_json
from serving.model import load_model
from training.corpus import load_words
from training.glyphs import (
    collage_lines,
    find_fonts,
    font_lines,
    read_fonts,
    set_in_font,
    strokes_of,
    track_glyphs,
)
from training.letters import load_tracks
from training.lines import as_served
from training.measures import edits
from training.recipe import RECIPES, load_recipe

FOLDER = Path(__file__).parents[2] / "models" / "cyrillic-text"
FONTS = RECIPES.parent / "fonts" / "node_modules"
DICTIONARY = FONTS / "dictionary-ru" / "index.dic"
RECIPE = load_recipe("cyrillic-text")


@pytest.fixture(scope="module")
def model():
    return load_model(FOLDER)  # checks that the graph's SHA-256 is the version


def read(model, ink, seed=0):
    return model.classify(as_served(ink, model.spec.input, random.Random(seed)))


def test_the_artifact_is_whole(model):
    spec = load_spec(FOLDER)
    assert (spec.kind, "".join(spec.labels), spec.input) == ("text", RECIPE.labels, RECIPE.input)
    assert spec_to_json(spec) == json.loads((FOLDER / "model.json").read_text("utf-8"))
    card = (FOLDER / "card.md").read_text("utf-8")
    assert spec.version in card
    for said in ("No licence", "GNU GPL v3", "hardly any running handwriting"):
        assert said in card
    assert (FOLDER / "model.onnx").stat().st_size < 5_000_000


def test_it_reads_print_that_it_never_saw(model):
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Oblique.ttf"
    (font,) = read_fonts([path], RECIPE.labels)
    lines = ["Съешь ещё этих мягких булок", "Москва", "привет", "17.04.1961", "широкая дорога, река", "№ 25"]
    said = [read(model, set_in_font(line, font, 40).ink).text for line in lines]
    wrong = sum(len(edits(true, one)) for true, one in zip(lines, said, strict=True))
    assert wrong / sum(map(len, lines)) < 0.15, said


def test_a_blank_line_is_not_read(model):
    for grey in (0, 60):
        assert model.classify(np.full((32, 512, 1), grey, np.uint8)).text == ""


def error_rate(model, draw):
    """Of a hundred lines, the share of wrong characters."""
    rng = random.Random(1)
    lines = [draw(rng, 2, 14) for _ in range(100)]
    wrong = sum(len(edits(line.text, read(model, line.ink, n).text)) for n, line in enumerate(lines))
    return wrong / sum(len(line.text) for line in lines)


def promised(model, about):
    return next(one["cer"] for one in [model.spec.metrics, *model.spec.metrics["elsewhere"]] if about in one["data"])


@pytest.fixture(scope="module")
def kept():
    """Words that are in no line for training."""
    if not DICTIONARY.is_file():
        pytest.skip("needs npm ci --prefix training/fonts")
    return load_words(DICTIONARY, "".join(filter(str.isalpha, RECIPE.labels)))[1]


def test_it_reads_fonts_that_it_never_saw(model, kept):
    fonts = [one for one in find_fonts(FONTS, RECIPE.labels) if one.family in RECIPE.data.options["test_fonts"]]
    assert error_rate(model, font_lines(fonts, kept, RECIPE.labels)) < promised(model, "fonts never seen") + 0.05


def test_it_reads_letters_of_writers_that_it_never_saw(model, kept):
    if "ICS_DATA" not in os.environ:
        pytest.skip("needs ICS_DATA with pen tracks")
    tracks, _ = load_tracks(Path(os.environ["ICS_DATA"]) / "russian-handwritings-tracked" / "tracks.jsonl")
    testing = [strokes_of(track) for track in tracks if track.writer in RECIPE.data.options["test_writers"]]
    letters, _ = track_glyphs(testing, 1, random.Random(0))
    draw = collage_lines(list(letters.values()), kept, RECIPE.labels)
    assert error_rate(model, draw) < promised(model, "letters of writers") + 0.08
