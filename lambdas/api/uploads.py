"""Larger pictures go to S3 directly, by a form that allows just that one upload; a run of events classifies them."""

import uuid
from dataclasses import replace
from typing import Any

from aws_lambda_powertools.event_handler import Response

from ics.errors import NoSuchModel, NoUploads
from ics.uploads import key_of
from lambdas import presigned
from lambdas.api.answers import Upload
from lambdas.api.router import MODEL, answered, asked, asked_model, route
from lambdas.runtime import settings

MAX_UPLOAD = 10_000_000
"""Bytes of an upload, which S3 itself holds it to."""

SECONDS = 300
"""For which the form is good."""

CHOSEN = replace(MODEL, says="one of the environment's models, else the one that its uploads are for")


@route("POST", "/v1/uploads", answer=Upload, status=201, query=(CHOSEN,), errors=(NoSuchModel, NoUploads))
def create_upload() -> Response[Any]:
    """Get a form that uploads one picture of up to 10 MB.

    A run of events classifies it within the environment's window, by the `model` or else by the one that the
    environment's uploads are for. Ask `self` for what came of it.
    """
    config, model = settings(), asked(CHOSEN) and asked_model()
    if not config.upload_prefix:
        raise NoUploads("this environment classifies no uploads by itself: it has no [events]; use POST /v1/classify")
    upload = uuid.uuid4().hex
    key = key_of(config.upload_prefix, upload, model)
    form = presigned.post_form(config.images_bucket, key, MAX_UPLOAD, SECONDS)
    where = f"/v1/images/{upload}" + (f"?model={model}" if model else "")
    made = {"id": upload, **form, "max_bytes": MAX_UPLOAD, "expires_in": SECONDS, "self": where}
    return answered(made, 201, Location=where)
