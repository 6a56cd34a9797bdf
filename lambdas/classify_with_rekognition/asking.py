"""A body's predictions by Rekognition: a request an image, a few at once, each tried again for a while.

An image that was answered is paid for. So a throttled or failed request is tried again here, where only that image is
asked about once more, before the body as a whole is given back to the state machine.
"""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ics.contracts import Batch, Prediction
from ics.errors import BatchError, EndpointThrottled, EndpointUnavailable, InvalidAnswer, ModelRefused
from ics.records import inference_id
from ics.staging import predicted_line, refused_line
from ics.wire import request_id, request_image
from lambdas.classify_with_rekognition.rekognition import READ_TIMEOUT, detect
from lambdas.runtime import log, settings

AT_ONCE = 4
"""Requests at once: the environment's `max_concurrency` of the model times this is what an account's quota sees."""

TRIES = 5
FIRST_PAUSE = 0.25
"""Seconds, doubled with each try; each pause is anything up to that (AWS SDKs, "Retry behavior": full jitter)."""


def predictions_of(lines: list[bytes], batch: Batch, name: str, until: float) -> list[bytes]:
    """The staged predictions of these request lines; an image that Rekognition does not take is refused by itself.

    Args:
        lines: request lines, of one body.
        batch: the batch they belong to.
        name: the body's name in the inference id.
        until: the time (Unix, seconds) by which all of it must be done.

    Raises:
        EndpointThrottled, EndpointUnavailable, EndpointRefused, InvalidAnswer: the body as a whole.
    """
    wanted, inference = settings().models[batch.model].detection, inference_id(batch, name)
    assert wanted is not None

    def one(number: int, line: bytes) -> bytes:
        image_id = request_id(line)
        try:
            found = patiently(lambda: detect(request_image(line), wanted), until)
        except ModelRefused as error:
            log("refused", "WARNING", run=batch.run, batch=batch.batch, image_id=image_id, problem=str(error))
            return refused_line(image_id, error, inference, number)
        return predicted_line(image_id, found, inference, number)

    with ThreadPoolExecutor(AT_ONCE) as requests:
        asked = [requests.submit(one, number, line) for number, line in enumerate(lines, 1)]
        try:
            return [answer.result() for answer in asked]
        except BatchError:
            requests.shutdown(wait=False, cancel_futures=True)
            raise


def patiently(ask: Callable[[], Prediction], until: float, pause: Callable[[float], None] = time.sleep) -> Prediction:
    """Ask, and again after a pause where another try may end better.

    Raises:
        EndpointThrottled, EndpointUnavailable, InvalidAnswer: the last of the tries, or no time for another.
        ModelRefused, EndpointRefused: at once.
    """
    for number in range(TRIES):
        if time.time() + READ_TIMEOUT > until:
            raise EndpointUnavailable("no time left for another request: fewer images a batch")
        try:
            return ask()
        except (EndpointThrottled, EndpointUnavailable, InvalidAnswer):
            if number == TRIES - 1:
                raise
            pause(random.uniform(0, FIRST_PAUSE * 2**number))  # noqa: S311 - so that not all come again at once
    raise AssertionError("the last try answers or raises")
