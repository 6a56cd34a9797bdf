"""`lambdas.classify_in_lambda.inference`: what a body's lines become, whatever is among them."""

import asyncio
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ics.contracts import Batch
from ics.errors import EndpointUnavailable, InvalidAnswer, InvalidArtifact
from ics.records import inference_id
from ics.staging import predicted_line
from ics.wire import parse_answer, request_id, request_line
from lambdas.classify_in_lambda import inference
from serving.model import Model, load_model, measured
from tests.artifacts import picture, shade, write_artifact
from tests.serving.test_app import call, make_app, request

ROOT = Path(__file__).resolve().parents[2]
BATCH = Batch("run", "2026-01-01T00:00:00Z", "digits", 0.94, 3, 0, 0)


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the asset's artifact lies; no model is loaded yet."""
    monkeypatch.setattr(inference, "ARTIFACT", tmp_path / "model")
    inference.model.cache_clear()
    yield tmp_path / "model"
    inference.model.cache_clear()


def predictions(lines: list[bytes], seconds: float = 60) -> list[dict[str, Any]]:
    return [json.loads(line) for line in inference.predictions_of(lines, BATCH, "2", time.time() + seconds)]


def noise(count: int) -> list[bytes]:
    drawn = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    contents = []
    for pixels in drawn:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        contents.append(out.getvalue())
    return contents


def test_what_is_staged_is_what_the_model_server_answers_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "ARTIFACT", ROOT / "models" / "digits")
    inference.model.cache_clear()
    lines = [request_line(f"{number:064x}", content) for number, content in enumerate(noise(700))]
    app, _ = make_app(measured(load_model(inference.ARTIFACT)))
    answer = asyncio.run(call(app, request(b"".join(lines))))
    expected = parse_answer(answer.content, [request_id(line) for line in lines])
    staged = inference.predictions_of(lines, BATCH, "2", time.time() + 60)
    assert staged == [
        predicted_line(request_id(line), one, inference_id(BATCH, "2"), number)
        for number, (line, one) in enumerate(zip(lines, expected, strict=True), 1)
    ]
    inference.model.cache_clear()


def test_images_that_the_model_cannot_take_are_refused_alone_each_in_its_place(artifact: Path) -> None:
    spec = write_artifact(artifact)
    good = {number: picture(shade(spec, str(number))) for number in range(10)}
    bad = {10: b"no image", 11: picture(9, (30, 28)), 12: picture(9)[:-30], 13: picture(9, mode="RGB")}
    order = [10, 0, 1, 11, 12, 2, 3, 4, 5, 6, 7, 8, 9, 13]
    found = predictions([request_line(f"{number:064x}", (good | bad)[number]) for number in order])
    assert [int(one["id"], 16) for one in found] == order
    assert [one["line"] for one in found] == list(range(1, 15))
    for number, one in zip(order, found, strict=True):
        if number in bad:
            assert (one["reason"], "prediction" in one) == ("ModelRefused", False)
        else:
            assert one["prediction"]["label"] == str(number)


def test_an_answer_of_another_shape_fails_the_body_by_name(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_artifact(artifact)
    inference.model()

    def odd(*_: object) -> None:
        raise InvalidArtifact("the graph answers shape [1, 3]")

    monkeypatch.setattr(Model, "_run", odd)
    with pytest.raises(InvalidAnswer, match=r"body 2: .*shape"):
        predictions([request_line("a" * 64, picture(3))])


def test_no_time_left_is_told_before_lambda_ends_the_function(artifact: Path) -> None:
    write_artifact(artifact)
    with pytest.raises(EndpointUnavailable, match="fewer images a batch"):
        predictions([request_line("a" * 64, picture(3))], seconds=1)
