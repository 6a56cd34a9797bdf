"""ClassifyImage without an endpoint: the model in this function's own asset predicts each staged body."""

from collections.abc import Mapping
from typing import Any

from lambdas.bodies import classify_bodies
from lambdas.classify_in_lambda.inference import predictions_of
from lambdas.runtime import Context


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """`{batch, retry, entered}` -> the number of bodies `sent`."""
    return classify_bodies(event, context, predictions_of)
