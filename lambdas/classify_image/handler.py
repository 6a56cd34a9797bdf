"""ClassifyImage: send each staged body to the model's endpoint and stage its predictions."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ics import paths
from ics.contracts import batch_from
from lambdas.classify_image.bisection import predictions_of
from lambdas.runtime import Context, log
from lambdas.s3 import read_working, write_working

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
        write_working(key, b"".join(predictions_of(lines, batch, str(body), until)))
        sent += 1
    log("classified", run=batch.run, batch=batch.batch, bodies=bodies, sent=sent)
    return {"sent": sent}
