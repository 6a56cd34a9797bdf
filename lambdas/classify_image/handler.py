"""ClassifyImage: send each staged body to the model's endpoint and stage its predictions."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ics import paths
from ics.contracts import Batch, batch_from
from ics.errors import EndpointUnavailable, ModelRefused
from ics.records import inference_id
from ics.staging import predicted_line, refused_line
from ics.wire import parse_answer, request_id
from lambdas.classify_image.endpoint import BodyRefused, invoke
from lambdas.runtime import Context, log, settings
from lambdas.s3 import read_working, write_working

ONE_REQUEST = 26.0
"""Seconds to keep for one request, which is given 25."""

ALL_ATTEMPTS = 110.0
"""Seconds for this state, its retries included: twice the state's TimeoutSeconds, whatever was throttled how often."""


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """`{batch, retry, entered}` -> the number of bodies `sent`; the predictions of each are staged.

    On a retry, bodies whose predictions are already staged are not sent again.
    """
    batch, bodies = batch_from(event["batch"]), event["batch"]["staged"]["bodies"]
    until = min(
        time.time() + context.get_remaining_time_in_millis() / 1000,
        datetime.fromisoformat(event["entered"]).timestamp() + ALL_ATTEMPTS,
    )
    sent = 0
    for body in range(bodies):
        key = paths.predictions(batch, body)
        if event["retry"] and read_working(key) is not None:
            continue
        lines = (read_working(paths.staged_body(batch, body)) or b"").splitlines(keepends=True)
        write_working(key, b"".join(_classify(lines, batch, str(body), until)))
        sent += 1
    log("classified", run=batch.run, batch=batch.batch, bodies=bodies, sent=sent)
    return {"sent": sent}


def _classify(lines: list[bytes], batch: Batch, name: str, until: float) -> list[bytes]:
    """The staged predictions of these request lines.

    A body that the model refuses is halved until the image that it cannot take stands alone: one bad image of n costs
    about 2 log2 n requests, and no other image.
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
        return _classify(lines[:half], batch, f"{name}a", until) + _classify(lines[half:], batch, f"{name}b", until)
    predictions = parse_answer(answer, ids)
    return [predicted_line(i, p, inference, line) for line, (i, p) in enumerate(zip(ids, predictions, strict=True), 1)]
