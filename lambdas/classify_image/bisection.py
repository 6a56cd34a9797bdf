"""A body's predictions; where the model refuses the body, all but those of the images that it cannot take."""

import time

from ics.contracts import Batch
from ics.errors import EndpointUnavailable, ModelRefused
from ics.records import inference_id
from ics.staging import predicted_line, refused_line
from ics.wire import parse_answer, request_id
from lambdas.classify_image.endpoint import BodyRefused, invoke
from lambdas.runtime import log, settings

ONE_REQUEST = 26.0
"""Seconds to keep for one request, which is given 25."""


def predictions_of(lines: list[bytes], batch: Batch, name: str, until: float) -> list[bytes]:
    """The staged predictions of these request lines.

    A body that the model refuses is halved until the image that it cannot take stands alone: one bad image of n costs
    about 2 log2 n requests, and no other image.

    Args:
        lines: request lines, of one body.
        batch: the batch they belong to.
        name: the body's name in the inference id; its halves are named with a and b behind it.
        until: the time (Unix, seconds) by which all of it must be done.

    Raises:
        EndpointThrottled, EndpointUnavailable, EndpointRefused, InvalidAnswer: the body as a whole.
    """
    if time.time() + ONE_REQUEST > until:
        raise EndpointUnavailable(f"no time left to send body {name}")
    inference = inference_id(batch, name)
    ids = [request_id(line) for line in lines]
    try:
        answer = invoke(settings().models[batch.model].endpoint, b"".join(lines), inference)
    except BodyRefused as error:
        if len(lines) == 1:
            log("refused", "WARNING", run=batch.run, batch=batch.batch, image_id=ids[0], status=error.status)
            return [refused_line(ids[0], ModelRefused(), inference)]
        half = len(lines) // 2
        return predictions_of(lines[:half], batch, f"{name}a", until) + predictions_of(
            lines[half:], batch, f"{name}b", until
        )
    predictions = parse_answer(answer, ids)
    return [predicted_line(i, p, inference, line) for line, (i, p) in enumerate(zip(ids, predictions, strict=True), 1)]
