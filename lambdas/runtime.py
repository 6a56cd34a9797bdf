"""What every function shares: its settings, read once; S3 stores, cached between invocations; one line of log."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Protocol

from obstore.store import S3Store

from ics.artifact import InputSpec, input_from_json
from ics.routing import DEFAULT_THRESHOLD

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Detection:
    """What is asked of Rekognition: at most so many labels, of at least this confidence (0 to 1).

    `version_arn` names a Custom Labels version; empty, DetectLabels is asked.
    """

    max_labels: int
    min_confidence: float
    version_arn: str = ""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One of the environment's models: the function that classifies, what it takes, how many images a batch holds.

    `input` is None for a model that takes photographs as they are (`ics.imaging.prepare_photo`); `max_concurrency`
    bounds the batches at once where the model has a bound of its own, else it is 0.
    """

    classify: str
    batch_images: int
    version: str = ""
    input: InputSpec | None = None
    endpoint: str = ""
    detection: Detection | None = None
    max_concurrency: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """A function's environment variables. Each function gets only those it needs; the others keep these defaults."""

    environment: str = ""
    working_bucket: str = ""
    results_bucket: str = ""
    table: str = ""
    images_bucket: str = ""
    upload_prefix: str = ""
    upload_request: Mapping[str, Any] = field(default_factory=dict)
    state_machine: str = ""
    alert_topic: str = ""
    mail_topic: str = ""
    mail_queue: str = ""
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    default_model: str = ""
    threshold: float = DEFAULT_THRESHOLD
    batch_source_bytes: int = 256_000_000
    max_concurrency: int = 1
    max_pixels: int = 64_000_000
    skip_classified: bool = False
    reviews: bool = False
    text_model: str = ""
    origin_secret: str = ""
    reviewer_role: str = ""
    log_level: str = "INFO"

    def at_once(self, model: str) -> int:
        """How many batches of a run with this model are worked on at once."""
        own = self.models[model].max_concurrency
        return min(own, self.max_concurrency) if own else self.max_concurrency


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Parse environment variables.

    Raises:
        ValueError, TypeError, InvalidArtifact: a variable is not what its field says.
    """
    given = {name: environ[name.upper()] for name in Settings.__slots__ if environ.get(name.upper())}
    models = {name: _model(fields) for name, fields in json.loads(given.pop("models", "{}")).items()}
    parsers: Mapping[str, Callable[[str], Any]] = {
        "threshold": float,
        "batch_source_bytes": int,
        "max_concurrency": int,
        "max_pixels": int,
        "upload_request": json.loads,
        "skip_classified": json.loads,
        "reviews": json.loads,
    }
    return Settings(models=models, **{name: parsers.get(name, str)(text) for name, text in given.items()})


def _model(fields: dict[str, Any]) -> ModelSettings:
    taken, detection = fields.pop("input", None), fields.pop("detection", None)
    return ModelSettings(
        input=input_from_json(taken) if taken else None,
        detection=Detection(**detection) if detection else None,
        **fields,
    )


class Context(Protocol):
    """What the functions use of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""


@cache
def settings() -> Settings:
    """The settings of this function."""
    return settings_from(os.environ)


@cache
def store(bucket: str) -> S3Store:
    """An S3 bucket. Reads are tried again for at most ten seconds, so that a function ends within its own time.

    obstore reads credentials, region and `AWS_ENDPOINT_URL` from the environment, as the AWS SDKs do. It costs an order
    of magnitude less CPU a request than boto3.
    """
    plain_http = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL", "")).startswith("http://")
    return S3Store(
        bucket,
        client_options={"allow_http": plain_http, "connect_timeout": "3s", "timeout": "20s"},
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)},
    )


def now() -> str:
    """This moment, ISO 8601 UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log(message: str, level: str = "INFO", **fields: object) -> None:
    """Write one JSON line, with the `run`, `batch` and `image_id` it is about. Never pass pixels or whole events."""
    if _LEVELS.index(level) >= _LEVELS.index(settings().log_level):
        _write({"level": level, "message": message, "time": now(), **fields})


def measure(
    message: str, dimensions: Mapping[str, str], values: Mapping[str, tuple[float, str]], **fields: object
) -> None:
    """Write a line from which CloudWatch makes metrics, whatever the log level: names with their value and unit.

    Source: Amazon CloudWatch User Guide, "Embedded metric format specification". Each combination of dimensions is a
    metric of its own, and paid for: only what has few values may be one, a run never.
    """
    named = [{"Name": name, "Unit": unit} for name, (_, unit) in values.items()]
    directive = {"Namespace": "ICS", "Dimensions": [list(dimensions)], "Metrics": named}
    _write(
        {
            "level": "INFO",
            "message": message,
            "time": now(),
            **fields,
            **dimensions,
            **{name: value for name, (value, _) in values.items()},
            "_aws": {"Timestamp": int(datetime.now(UTC).timestamp() * 1000), "CloudWatchMetrics": [directive]},
        }
    )


def _write(line: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()
