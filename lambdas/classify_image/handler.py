"""ClassifyImage by an endpoint: send each staged body to the model's endpoint and stage its predictions."""

from collections.abc import Mapping
from typing import Any

from lambdas.bodies import classify_bodies
from lambdas.classify_image.bisection import predictions_of
from lambdas.runtime import Context


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """`{batch, retry, entered}` -> the number of bodies `sent`."""
    return classify_bodies(event, context, predictions_of)
