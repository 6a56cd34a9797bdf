"""One image, sent by HTTP and answered at once: prepared, asked about, judged and recorded as the pipeline does it.

The model is asked by the very function that classifies for runs, which is invoked with one staged body.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import obstore
from aws_lambda_powertools.event_handler import Response

from ics import paths
from ics.contracts import Batch, ImageRef, dump_line, fields_of, image_to_json
from ics.errors import (
    BadRequest,
    BodyTooLarge,
    CorruptImage,
    EmptyObject,
    EndpointRefused,
    EndpointThrottled,
    EndpointUnavailable,
    ImageTooSmall,
    InvalidAnswer,
    ModelRefused,
    NoSuchModel,
    NotAnImage,
    ObjectTooLarge,
    QuarantineFailed,
    ReadFailed,
    TagFailed,
    TooManyPixels,
    TruncatedImage,
    UnsupportedFormat,
    image_error,
)
from ics.imaging import prepare, prepare_photo, sniff
from ics.policy import Policy, PolicyFile, parse_policy
from ics.staging import judged_rows
from ics.wire import request_line
from lambdas import review_queue
from lambdas.api.answers import Classified, ImageBody, Read
from lambdas.api.router import MODEL, Parameter, answered, asked, asked_model, body, from_base64, json_body, only, route
from lambdas.invoke import invoke
from lambdas.marking import mark
from lambdas.runtime import now, settings, store
from lambdas.s3 import read_results, read_working, write_results, write_working
from lambdas.telling import tell

MAX_IMAGE = 4 * 1024 * 1024
"""Bytes of an image: in base64, as API Gateway hands it on, it stays under the 6 MB that Lambda takes."""

SECONDS = 24.0
"""To wait for the model: API Gateway gives up after 30."""

POLICY_SECONDS = 10
"""For which the routing policy is not read again."""

NAME = Parameter("name", "the picture's name for people, as its row and object keep it", most=255)

_MEDIA_TYPES = {format_: f"image/{format_.lower()}" for format_ in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")}


_ERRORS = (
    BodyTooLarge, NoSuchModel, EndpointThrottled, EndpointUnavailable, EndpointRefused, InvalidAnswer, ModelRefused,
    EmptyObject, NotAnImage, UnsupportedFormat, TruncatedImage, CorruptImage, TooManyPixels, ImageTooSmall,
    ObjectTooLarge, QuarantineFailed, TagFailed, ReadFailed,
)  # fmt: skip


@route(
    "POST",
    "/v1/classify",
    answer=Classified,
    query=(MODEL, NAME),
    body=["image/*", "application/octet-stream"],
    errors=_ERRORS,
)
def classify_image() -> Response[Any]:
    """Classify one picture, at once.

    The body is the picture itself: JPEG, PNG, GIF, WebP, BMP or TIFF of at most 4 MiB, told by its content, whatever
    its name or content type say. It is kept under a random name, with its row; equal names never collide.
    """
    row = _classify(body(), asked_model(), asked(NAME) or "")
    return answered({**shown(row), "self": f"/v1/images/{row['image_id']}?model={row['model']}"})


@route(
    "POST",
    "/getPrediction",
    answer=Read,
    body=ImageBody,
    errors=(BadRequest, *_ERRORS),
)
def get_prediction() -> Response[Any]:
    """Read a line of Cyrillic text.

    `image` is a picture's bytes in base64, at most 4 MiB of them. `result` is what the text model read, whatever its
    confidence; the picture and its verdict are kept as those of /v1/classify are.
    """
    if not settings().text_model:
        raise NoSuchModel("this environment has no model that reads text")
    found = json_body(most=MAX_IMAGE * 4 // 3 + 1024)
    only(found, "image")
    row = _classify(from_base64(found.get("image"), MAX_IMAGE), settings().text_model, "")
    return answered({"result": row["text"] or "", "confidence": row["confidence"]})


def _classify(content: bytes, model: str, name: str) -> dict[str, Any]:
    """The row of an image, which with its object, its items and its marks is written."""
    if len(content) > MAX_IMAGE:
        raise BodyTooLarge(f"{len(content):,} bytes; this route takes {MAX_IMAGE:,}: POST /v1/uploads takes more")
    config = settings()
    spec = config.models[model].input
    prepared = prepare(content, spec, config.max_pixels) if spec else prepare_photo(content, config.max_pixels)
    rules = _policy_file(int(time.monotonic() // POLICY_SECONDS))
    policy = rules.applied(model, requested=None, default=config.threshold)
    image = _store(content, name)
    batch = Batch(f"api-{uuid.uuid4().hex}", now(), model, policy.threshold, 0, 0, 0, policy.version)
    write_working(paths.staged_body(batch, 0), request_line(image.image_id, prepared))
    event = {"batch": {**fields_of(batch), "staged": {"bodies": 1}}, "retry": False, "entered": batch.started}
    invoke(config.models[model].classify, event, SECONDS)
    row = _judged(image, batch, policy) | {"name": name}
    key = paths.api_row(model, batch.date, image.image_id)
    mark([row], policy)
    tell(batch, [row])
    write_results(key, dump_line(row))
    review_queue.note([row], key, expires=None)
    if row["decision"] == "failed":
        raise type(image_error(row["reason"]))(f"the picture is kept, and its row, as {image.image_id}")
    return row


def _judged(image: ImageRef, batch: Batch, policy: Policy) -> dict[str, Any]:
    staged = dump_line({**image_to_json(image), "body": 0, "line": 0})
    answer = read_working(paths.predictions(batch, 0)) or b""
    (row,) = judged_rows(staged, [answer], replace(batch, run=paths.API_RUN), policy, now())
    return row


def _store(content: bytes, name: str) -> ImageRef:
    """Put an image under a name of its own; what it is called by people is metadata."""
    bucket, key = settings().images_bucket, f"{paths.API_IMAGES}{uuid.uuid4().hex}"
    attributes = {"Content-Type": _MEDIA_TYPES[sniff(content)]} | ({"name": quote(name)} if name else {})
    put = obstore.put(store(bucket), key, content, attributes=attributes, use_multipart=False)
    return ImageRef(bucket, key, (put["e_tag"] or "").strip('"'), put["version"] or "")


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as callers are shown it."""
    names = ("image_id", "model", "model_version", "decision", "reason", "label", "confidence", "alternatives", "boxes")
    found = {name: row[name] for name in (*names, "text", "threshold", "decided_at")}
    return {**found, "name": row.get("name") or ""}


@lru_cache(maxsize=1)
def _policy_file(_period: int) -> PolicyFile:
    return parse_policy(read_results(paths.POLICY) or b"")
