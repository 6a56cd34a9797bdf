"""Answers written many at a time are what JSON says of each answer by itself."""

import json
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model import Model, load_model, said
from serving.writing import Writer
from tests.artifacts import picture, write_artifact, writing

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ODD = ["%", "%b", '"', "\\", "{}", "ё", "\x7f", "},{"]
LOGITS = st.floats(-1000, 1000) | st.sampled_from([0.0, -0.0, 1.0, 1e-300])


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[str], np.ndarray, list[str]]:
    """Labels, logits of some images, and the images' ids."""
    labels = draw(st.lists(TEXT | st.sampled_from(ODD), min_size=1, max_size=8, unique=True))
    labels += [f"class-{number}" for number in range(draw(st.sampled_from([0, 0, 100])))]
    ids = draw(st.lists(TEXT | st.sampled_from(ODD), min_size=1, max_size=5))
    rows = st.lists(LOGITS, min_size=len(labels), max_size=len(labels))
    return labels, np.array([draw(rows) for _ in ids]), ids


@given(answers())
def test_lines_are_what_json_says_of_each_answer(model: Model, drawn: tuple[list[str], np.ndarray, list[str]]) -> None:
    labels, logits, ids = drawn
    spec = replace(model.spec, labels=tuple(labels))
    told = [{"id": one, **answer} for one, answer in zip(ids, said(logits, spec, None), strict=True)]
    lines = Writer(spec, None).lines(ids, logits)
    assert lines == b"".join(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE) for answer in told)
    assert [json.loads(line) for line in lines.splitlines()] == told


@pytest.mark.parametrize("text", ["", "4 07 1"])
def test_what_a_text_model_reads_is_written_as_it_is(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("reader")
    spec = write_artifact(folder, kind="text", labels=[*"0147 "], width=128, height=32, sharpness=3000)
    model = load_model(folder)
    (logits,) = model.computed([writing(spec, text), picture(0, (128, 32))])
    first, second = Writer(model.spec, model.language).lines(["a%b", "ё"], logits).splitlines()
    assert json.loads(first) == {"id": "a%b", **said(logits, model.spec, model.language)[0]}
    assert (json.loads(first)["text"], json.loads(second)["id"]) == (text, "ё")
