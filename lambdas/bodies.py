"""The state ClassifyImage, whatever classifies: the predictions of each staged body are staged, and none twice."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ics import paths
from ics.contracts import Batch, batch_from
from lambdas.runtime import Context, log
from lambdas.s3 import read_working, write_working

ALL_ATTEMPTS = 110.0
"""Seconds for this state, its retries included: twice the state's TimeoutSeconds, whatever was throttled how often."""

Predict = Callable[[list[bytes], Batch, str, float], list[bytes]]
"""Request lines of one body, their batch, the body's name, and when (Unix, seconds) all must be done -> the staged
predictions, a line an image, in order; raises a BatchError for the body as a whole."""


def classify_bodies(event: Mapping[str, Any], context: Context, predictions_of: Predict) -> dict[str, Any]:
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
        write_working(key, b"".join(predictions_of(lines, batch, str(body), until)))
        sent += 1
    log("classified", run=batch.run, batch=batch.batch, bodies=bodies, sent=sent)
    return {"sent": sent}
