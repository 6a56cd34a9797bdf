"""ClassifyImage by Amazon Rekognition: ask it about each image of each staged body, and stage the predictions."""

from collections.abc import Mapping
from typing import Any

from lambdas.bodies import classify_bodies
from lambdas.classify_with_rekognition.asking import predictions_of
from lambdas.runtime import Context


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """`{batch, retry, entered}` -> the number of bodies `sent`."""
    return classify_bodies(event, context, predictions_of)
