"""How often a model is right, as far as people have said."""

import json
from typing import Any

from aws_lambda_powertools.event_handler import Response

from ics import paths
from ics.errors import NoSuchModel, NotEvaluated
from lambdas.api.router import MODEL, answered, asked_model, route
from lambdas.s3 import read_results


@route("GET", "/v1/accuracy", answer=dict[str, Any], query=(MODEL,), errors=(NoSuchModel, NotEvaluated))
def get_accuracy() -> Response[Any]:
    """Show a model's latest accuracy.

    Measured over all images that have a truth label.
    """
    model = asked_model()
    found = read_results(paths.latest_metrics(model))
    if found is None:
        raise NotEvaluated(f"the accuracy of {model!r} was never measured")
    return answered(json.loads(found))
