"""A body's predictions by the model in this function's asset, equal to the bit to those of an endpoint.

The model server's own code (`serving.model`) computes them, on one thread, as it does behind an endpoint.
"""

import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from ics.contracts import Batch, prediction_from_json
from ics.errors import EndpointUnavailable, ImageError, InvalidAnswer, InvalidArtifact, ModelRefused
from ics.records import inference_id
from ics.staging import predicted_line, refused_line
from ics.wire import JSON_LINES, RequestImage, parse_request
from lambdas.runtime import log
from serving.model import Model, load_model

ARTIFACT = Path(__file__).parents[2] / "model"
"""Where the asset holds the artifact."""

TO_WRITE = 2.0
"""Seconds to keep for staging what was predicted."""


@cache
def model() -> Model:
    """The artifact, loaded by the first invocation of this environment.

    Raises:
        InvalidArtifact: it is not what its model.json says.
    """
    return load_model(ARTIFACT)


def predictions_of(lines: list[bytes], batch: Batch, name: str, until: float) -> list[bytes]:
    """The staged predictions of these request lines; an image that the model cannot take is refused by itself.

    Args:
        lines: request lines, of one body.
        batch: the batch they belong to.
        name: the body's name in the inference id.
        until: the time (Unix, seconds) by which all of it must be done.

    Raises:
        EndpointUnavailable: there is no time left.
        InvalidAnswer: the net's answer is not of the shape that its kind and labels ask for.
    """
    inference = inference_id(batch, name)
    images = parse_request(b"".join(lines), JSON_LINES)
    staged: list[bytes] = []
    while len(staged) < len(images):
        rest = images[len(staged) :]
        try:
            for image, answer in zip(rest, model().answers(_in_time(rest, name, until)), strict=True):
                staged.append(predicted_line(image.id, prediction_from_json(answer), inference, image.line))
        except ImageError as error:
            bad = images[len(staged)]
            log("refused", "WARNING", run=batch.run, batch=batch.batch, image_id=bad.id, problem=error.reason)
            staged.append(refused_line(bad.id, ModelRefused(), inference, bad.line))
        except (InvalidArtifact, ValueError, TypeError) as error:
            raise InvalidAnswer(f"body {name}: {error}") from error
    return staged


def _in_time(images: Iterable[RequestImage], name: str, until: float) -> Iterator[bytes]:
    for image in images:
        if time.time() + TO_WRITE > until:
            raise EndpointUnavailable(f"no time left to predict body {name}: fewer images a batch, or more memory")
        yield image.content
