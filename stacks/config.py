"""What differs between deployments: `environments/<name>.toml`, read strictly into `DeployConfig`.

An unknown key, a missing key, a wrong type or a value that AWS would refuse raises `ConfigError` with the file, the key
and what would be right, before anything is synthesized. A key absent from the file has the default written here.
"""

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ics.contracts import MODES
from ics.routing import DEFAULT_THRESHOLD

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / "environments"

# The retentions CloudWatch Logs accepts: its API reference, PutRetentionPolicy, `retentionInDays`.
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)

UPLOADS = "uploads/"
"""Under which `ics classify` uploads, in the images bucket, and starts the run itself."""

ONE_CPU = 1769
"""MiB of memory at which Lambda gives a function one whole processor."""

# Amazon Rekognition API reference, DetectCustomLabels, ProjectVersionArn.
VERSION_ARN = (
    r"arn:[a-z\d-]+:rekognition:[a-z\d-]+:\d{12}:project/[a-zA-Z0-9_.\-]{1,255}/version/[a-zA-Z0-9_.\-]{1,255}/[0-9]+"
)

TRAINING_PREFIX = "training"
"""Under which training jobs write, in the results bucket."""


class ConfigError(ValueError):
    """An environment's configuration cannot be deployed as it is written."""


@dataclass(frozen=True, kw_only=True)
class LambdaConfig:
    """Where functions run: an architecture and a Python version, or `host` for this machine's own."""

    architecture: str
    python: str

    def __post_init__(self) -> None:
        _check(self.architecture in ("arm64", "x86_64", "host"), "architecture", "arm64, x86_64 or host")
        _check((self.python == "host") == (self.architecture == "host"), "python", "host exactly where architecture is")
        _check(self.python == "host" or bool(re.fullmatch(r"3\.\d+", self.python)), "python", 'like "3.14", or host')


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One of the environment's models; its `backend` says what classifies, and which further keys it has.

    `batch_images` bounds a pipeline batch sent to this model.
    """

    backend: ClassVar[str]
    batch_images: int = 100

    def __post_init__(self) -> None:
        _check(1 <= self.batch_images <= 1000, "batch_images", "from 1 to 1000")


@dataclass(frozen=True, kw_only=True)
class EndpointModel(ModelConfig):
    """A SageMaker endpoint: the artifact it serves, what it runs on, how much of its traffic is captured.

    `artifact` is a folder relative to the repository; `capture_percent` is the share of requests that data capture
    keeps.
    """

    backend = "endpoint"
    artifact: str
    instance_type: str
    instance_count: int = 1
    variant: str = "AllTraffic"
    capture_percent: int = 100

    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        _check(
            bool(re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9]+", self.instance_type)), "instance_type", "like ml.c6g.large"
        )
        _check(self.instance_count >= 1, "instance_count", "at least 1")
        _check(bool(re.fullmatch(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}", self.variant)), "variant", "a SageMaker name")
        _check(0 <= self.capture_percent <= 100, "capture_percent", "from 0 to 100")

    @property
    def architecture(self) -> str:
        """The instance's processor: `arm64` for Graviton (a `g` after the generation: c6g, m7gd), else `x86_64`."""
        return "arm64" if re.match(r"ml\.[a-z]+\d+g", self.instance_type) else "x86_64"


@dataclass(frozen=True, kw_only=True)
class LambdaModel(ModelConfig):
    """ONNX Runtime inside a Lambda function: the artifact in its asset, its `memory` in MiB.

    Lambda gives a function one whole processor at 1,769 MiB; a net computes on one.
    """

    backend = "lambda"
    artifact: str
    memory: int = ONE_CPU

    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        _check(256 <= self.memory <= 10_240, "memory", "from 256 to 10240, in MiB")


@dataclass(frozen=True, kw_only=True)
class RekognitionModel(ModelConfig):
    """Amazon Rekognition: DetectLabels or, where `custom_labels_version_arn` names one, a Custom Labels version.

    At most `max_labels` labels of at least `min_confidence`, from 0 to 1, come of an image. `max_concurrency` bounds
    the batches at once, each of which has at most four requests under way: the account's quota of requests a second
    (Service Quotas, 5 to 50 by region) is shared by all of them.
    """

    backend = "rekognition"
    batch_images: int = 25
    max_labels: int = 10
    min_confidence: float = 0.55
    max_concurrency: int = 2
    custom_labels_version_arn: str | None = None

    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        _check(self.batch_images <= 100, "batch_images", "from 1 to 100")
        _check(1 <= self.max_labels <= 100, "max_labels", "from 1 to 100")
        _check(0 <= self.min_confidence <= 1, "min_confidence", "from 0 to 1")
        _check(1 <= self.max_concurrency <= 100, "max_concurrency", "from 1 to 100")
        _check(
            self.custom_labels_version_arn is None or bool(re.fullmatch(VERSION_ARN, self.custom_labels_version_arn)),
            "custom_labels_version_arn",
            "the ARN of a project's version: arn:aws:rekognition:REGION:ACCOUNT:project/NAME/version/VERSION/NUMBER",
        )


BACKENDS: Mapping[str, type[ModelConfig]] = {
    kind.backend: kind for kind in (EndpointModel, LambdaModel, RekognitionModel)
}


@dataclass(frozen=True, kw_only=True)
class EventsConfig:
    """Runs that begin by themselves: over what is uploaded under `prefix` of the images bucket.

    Uploads are gathered for `window_seconds`; without a window a run has at most 10. `model` and `threshold` are the
    runs', else the environment's; `mode` is tolerant, because nobody waits for such a run to succeed.
    """

    prefix: str = "incoming/"
    window_seconds: int = 60
    model: str | None = None
    threshold: float | None = None
    mode: str = "tolerant"

    def __post_init__(self) -> None:
        apart = not (self.prefix.startswith(UPLOADS) or UPLOADS.startswith(self.prefix))
        _check(apart and self.prefix[:1] != "/", "prefix", f'like "incoming/": not empty, and apart from {UPLOADS}')
        _check(0 <= self.window_seconds <= 60, "window_seconds", "from 0 to 60")
        _check(self.threshold is None or 0 < self.threshold <= 1, "threshold", "above 0, at most 1")
        _check(self.mode in MODES, "mode", " or ".join(MODES))

    @property
    def request(self) -> dict[str, str | float]:
        """What a run's request says besides its images."""
        given = {"model": self.model, "threshold": self.threshold, "mode": self.mode}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """The page and the HTTP API: how much is let in, and which model reads text for `/getPrediction`.

    The page loads pictures from, and uploads to, AWS's own hosts and `sources`, as its Content-Security-Policy says.
    `viewers` is what CloudFront does with those who come without TLS: `redirect-to-https`, or `allow-all` where the
    front door is on this machine.
    """

    requests_per_second: int = 50
    burst_requests: int = 100
    text_model: str | None = None
    sources: tuple[str, ...] = ()
    viewers: str = "redirect-to-https"

    def __post_init__(self) -> None:
        _check(1 <= self.requests_per_second <= 10_000, "requests_per_second", "from 1 to 10000")
        _check(1 <= self.burst_requests <= 5_000, "burst_requests", "from 1 to 5000")
        _check(self.viewers in ("redirect-to-https", "allow-all"), "viewers", "redirect-to-https or allow-all")


@dataclass(frozen=True, kw_only=True)
class DeployConfig:
    """One environment. Without `account` and `region` the caller's own are deployed to.

    `removal` is what happens to stateful resources when their stack goes: `retain` or `destroy`. `serving_image` names
    an image to run instead of building `serving/Dockerfile`. `batch_source_bytes` bounds the bytes a batch reads.
    `training` gives SageMaker a role for training jobs, which `ics train --env` starts. `images_bucket` is a bucket
    that exists, to use instead of one of our own; without `events` no run begins by itself, without `web` there is no
    page and no HTTP API.
    """

    environment: str
    removal: str
    noncurrent_days: int
    log_days: int
    default_model: str
    max_concurrency: int
    lambda_: LambdaConfig
    models: Mapping[str, ModelConfig]
    threshold: float = DEFAULT_THRESHOLD
    skip_classified: bool = False
    batch_source_bytes: int = 256_000_000
    max_pixels: int = 64_000_000
    source_buckets: tuple[str, ...] = ()
    alert_emails: tuple[str, ...] = ()
    alert_queues: tuple[str, ...] = ()
    alert_https: tuple[str, ...] = ()
    serving_image: str | None = None
    training: bool = False
    images_bucket: str | None = None
    events: EventsConfig | None = None
    web: WebConfig | None = None
    account: str | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        _check(bool(re.fullmatch(r"[a-z][a-z0-9]*", self.environment)), "environment", "lowercase letters and digits")
        _check(self.removal in ("retain", "destroy"), "removal", "retain or destroy")
        _check(self.noncurrent_days >= 1, "noncurrent_days", "at least 1")
        _check(self.log_days in LOG_DAYS, "log_days", f"one of {', '.join(map(str, LOG_DAYS))}")
        _check(0 < self.threshold <= 1, "threshold", "above 0, at most 1")
        _check(1 <= self.max_concurrency <= 10_000, "max_concurrency", "from 1 to 10000")
        _check(self.batch_source_bytes >= 1, "batch_source_bytes", "at least 1")
        _check(self.max_pixels >= 1, "max_pixels", "at least 1")
        _check(
            self.default_model in self.models, "default_model", f"one of {', '.join(self.models) or '[models.NAME]'}"
        )
        _check(all("@" in address for address in self.alert_emails), "alert_emails", "e-mail addresses")
        _check(all(url.startswith("https://") for url in self.alert_https), "alert_https", "https:// URLs")
        if self.images_bucket is not None:
            # Amazon S3 User Guide, "General purpose bucket naming rules".
            fits = bool(re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", self.images_bucket))
            _check(fits, "images_bucket", "a bucket's name: 3 to 63 lowercase letters, digits, dots and hyphens")
        if self.events is not None and self.events.model is not None:
            _check(self.events.model in self.models, "events.model", f"one of {', '.join(self.models)}")
        if self.web is not None and self.web.text_model is not None:
            _check(self.web.text_model in self.models, "web.text_model", f"one of {', '.join(self.models)}")
        for queue in self.alert_queues:
            _check(bool(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", queue)), "alert_queues", "SQS queue names")
        for model in self.models:
            name = self.endpoint_name(model)
            # SageMaker's CreateEndpoint, EndpointName: its pattern and its length.
            fits = len(name) <= 63 and bool(re.fullmatch(r"[a-z0-9](-*[a-z0-9])*", name))
            wanted = f"such that {name!r} is at most 63 lowercase letters, digits and inner hyphens"
            _check(fits, f"models.{model}", wanted)
            function = self.classifier_name(model)
            _check(len(function) <= 64, f"models.{model}", f"such that {function!r} is at most 64 characters")

    def endpoint_name(self, model: str) -> str:
        """The model's endpoint, computed wherever it is needed and never exported across stacks."""
        return f"ics-{self.environment}-{model}"

    @property
    def endpoints(self) -> Mapping[str, EndpointModel]:
        """The models that have an endpoint."""
        return {name: model for name, model in self.models.items() if isinstance(model, EndpointModel)}

    @property
    def artifacts(self) -> Mapping[str, Path]:
        """The folders of the models that have an artifact."""
        kinds = EndpointModel | LambdaModel
        return {name: ROOT / model.artifact for name, model in self.models.items() if isinstance(model, kinds)}

    def classifier_name(self, model: str) -> str:
        """The function that ClassifyImage invokes for a model, computed as an endpoint's name is."""
        name = {
            "endpoint": "classify-image",
            "lambda": f"classify-in-lambda-{model}",  # a function for each model: its asset holds the artifact
            "rekognition": "classify-with-rekognition",
        }[self.models[model].backend]
        return f"ics-{self.environment}-{name}"


def load_config(environment: str, folder: Path = ENVIRONMENTS) -> DeployConfig:
    """Read `<folder>/<environment>.toml`; raises `ConfigError`."""
    path = folder / f"{environment}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise ConfigError(f"no environment {environment!r}; environments: {known}")
    try:
        table = tomllib.loads(path.read_text())
        if "environment" in table:
            raise ConfigError("environment: is the file's name, not a key")
        return typing.cast(DeployConfig, _parse(DeployConfig, table | {"environment": environment}))
    except (ConfigError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name}: {error}") from error


def _check(holds: bool, key: str, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{key}: must be {wanted}")


def _parse(cls: type[Any], table: Mapping[str, Any], where: str = "") -> Any:
    """Make the dataclass `cls` of a TOML table, whose keys are its fields (`lambda` is the field `lambda_`)."""
    fields = {item.name.rstrip("_"): item for item in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in table:
        if key not in fields:
            raise ConfigError(f"{where}{key}: unknown key; valid keys: {', '.join(fields)}")
    for key, item in fields.items():
        if key not in table and item.default is dataclasses.MISSING:
            raise ConfigError(f"{where}{key}: missing")
    values = {fields[key].name: _value(hints[fields[key].name], value, where + key) for key, value in table.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from error


def _model(table: Mapping[str, Any], where: str) -> ModelConfig:
    """A model's table, whose keys are those of its backend; one of another backend is told whose it is."""
    backend = table.get("backend", EndpointModel.backend)
    if str(backend) not in BACKENDS:
        raise ConfigError(f"{where}backend: must be one of {', '.join(BACKENDS)}, not {backend!r}")
    own = {item.name for item in dataclasses.fields(BACKENDS[backend])}
    for key in (key for key in table if key not in own | {"backend"}):
        whose = [name for name, kind in BACKENDS.items() if key in {item.name for item in dataclasses.fields(kind)}]
        if whose:
            raise ConfigError(f"{where}{key}: is a key of backend {' and '.join(whose)}, not of {backend}")
    given = {key: value for key, value in table.items() if key != "backend"}
    return typing.cast(ModelConfig, _parse(BACKENDS[backend], given, where))


def _value(kind: Any, value: Any, where: str) -> Any:
    """Convert one TOML value to a field's type; raises `ConfigError` where the types differ."""
    if typing.get_origin(kind) is types.UnionType:  # `str | None`: TOML has no null, so absence is the default
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    if kind is ModelConfig and isinstance(value, dict):
        return _model(value, f"{where}.")
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _parse(typing.cast(type[Any], kind), value, f"{where}.")
    if typing.get_origin(kind) is Mapping and isinstance(value, dict):
        return {name: _value(typing.get_args(kind)[1], item, f"{where}.{name}") for name, item in value.items()}
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_value(typing.get_args(kind)[0], item, where) for item in value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        wanted = kind.__name__ if isinstance(kind, type) and not dataclasses.is_dataclass(kind) else "a table"
        raise ConfigError(f"{where}: must be {wanted}, not {value!r}")
    return value
