"""Quarantine by hand: a reviewer hides a picture from all but reviewers, or releases one, and says why."""

import json
from typing import Any

from aws_lambda_powertools.event_handler import Response

from ics import paths, quarantine
from ics.errors import (
    BadRequest,
    BodyTooLarge,
    InvalidParameter,
    NoSuchImage,
    NoSuchModel,
    QuarantineFailed,
    ReleaseFailed,
    RoleUnavailable,
)
from lambdas.api.answers import Image, QuarantineBody
from lambdas.api.images import described, known
from lambdas.api.router import MODEL, answered, caller, json_body, only, route
from lambdas.marking import check_can_be_hidden, hide
from lambdas.reviewer import Reviewer
from lambdas.runtime import now
from lambdas.s3 import read_results


@route(
    "PUT", "/v1/images/<image_id>/quarantine", answer=Image, query=(MODEL,), body=QuarantineBody,
    errors=(BadRequest, BodyTooLarge, NoSuchImage, NoSuchModel, QuarantineFailed, ReleaseFailed, RoleUnavailable),
)  # fmt: skip
def put_quarantine(image_id: str) -> Response[Any]:
    """Hide a picture from all but reviewers, or release it.

    Who does so, when and `because` of what is written down before it is done. A picture that is so already stays as it
    is, and nothing is written down. Its label and its place in the queue of reviews do not change.
    """
    found = json_body()
    only(found, "quarantined", "because")
    if not isinstance(found.get("quarantined"), bool):
        raise InvalidParameter("quarantined must be true or false")
    try:
        because = quarantine.reason(str(found["because"] if isinstance(found.get("because"), str) else ""))
    except ValueError as error:
        raise InvalidParameter(f"because: {error}") from error
    row, _, items = known(image_id)
    entry = read_results(paths.quarantined(row["image_id"]))
    if found["quarantined"] and entry is None:
        check_can_be_hidden(row)
        hide(quarantine.by_hand(row, caller(), because, now(), Reviewer(caller())))
    elif entry is not None and not found["quarantined"]:
        quarantine.release(json.loads(entry), caller(), because, now(), Reviewer(caller()))
    return answered(described(row["image_id"], row, items))
