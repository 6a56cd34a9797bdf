"""What the API is: its models, its OpenAPI document and a page that shows it without asking anybody else."""

from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import Response

from ics import paths
from ics.policy import parse_policy
from lambdas.api.answers import Models
from lambdas.api.router import answered, route
from lambdas.runtime import ModelSettings, settings
from lambdas.s3 import read_results

SHORT = "public, max-age=300"


@route("GET", "/v1/models", answer=Models)
def list_models() -> Response[Any]:
    """List the environment's models.

    `threshold` and `policy` are what applies to a picture now: the routing policy's, else the environment's.
    """
    config, policy = settings(), parse_policy(read_results(paths.POLICY) or b"")
    items = [
        {
            "name": name,
            "default": name == config.default_model,
            "version": model.version or None,
            "kind": _kind(model),
            "threshold": policy.applied(name, requested=None, default=config.threshold).threshold,
            "policy": policy.version,
        }
        for name, model in config.models.items()
    ]
    return answered({"items": items, "text": config.text_model or None, "uploads": bool(config.upload_prefix)})


@route("GET", "/openapi.json", answer=dict[str, Any])
def openapi() -> Response[Any]:
    """This document."""
    return answered(_document(), Cache_Control=SHORT)


@route("GET", "/docs", answer=str)
def docs() -> Response[Any]:
    """The same as a page."""
    from lambdas.api.page import page, policy  # noqa: PLC0415 - few ask for it

    content = page(_document())
    return answered(content, content_type="text/html; charset=utf-8", Cache_Control=SHORT,
                    Content_Security_Policy=policy())  # fmt: skip


@cache
def _document() -> dict[str, Any]:
    from lambdas.api.document import document  # noqa: PLC0415 - pydantic, which it needs, takes its time

    return document()


def _kind(model: ModelSettings) -> str:
    return "endpoint" if model.endpoint else "rekognition" if model.detection else "lambda"
