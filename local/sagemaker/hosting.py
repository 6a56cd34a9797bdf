"""SageMaker's control plane: models, endpoint configurations, and endpoints that run real servers.

Requests and descriptions are the dictionaries of the SageMaker API reference. Creating and updating an endpoint blocks
until its servers answer, so call them from a worker thread.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from local.control import ACCOUNT, REGION
from local.processes import Children
from local.sagemaker.server import Command, ModelServer, ServerFailed, serving_command

ReadObject = Callable[[str, str, str], bytes]
"""An S3 object's content by the reader's role, bucket and key; raises KeyError where there is none."""

DRAIN_SECONDS = 60


class SageMakerError(Exception):
    """An error of the SageMaker API: AWS's code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Variant:
    """A production variant, its server, and the ARN of its model's execution role."""

    name: str
    weight: float
    server: ModelServer
    role: str


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as it is now; a change replaces it as a whole."""

    name: str
    config: str
    status: str
    failure: str | None
    variants: tuple[Variant, ...]
    capture: Mapping[str, Any] | None
    created: float
    modified: float


def arn(kind: str, name: str) -> str:
    """ARN of a SageMaker resource; its name is in lower case, as AWS writes it."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name.lower()}"


class Hosting:
    """All SageMaker resources of the embedded AWS."""

    def __init__(self, children: Children, read_object: ReadObject, command: Command = serving_command) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self._children = children
        self._read_object = read_object
        self._command = command
        self._mutex = threading.Lock()

    def create_model(self, request: Mapping[str, Any]) -> str:
        """Record a model; return its ARN."""
        return self._record(self.models, "model", request["ModelName"], request)

    def create_config(self, request: Mapping[str, Any]) -> str:
        """Record an endpoint configuration; return its ARN."""
        for variant in request["ProductionVariants"]:
            _known(self.models, "model", variant["ModelName"])
        return self._record(self.configs, "endpoint-config", request["EndpointConfigName"], request)

    def create_endpoint(self, request: Mapping[str, Any]) -> str:
        """Start the servers of an endpoint; return its ARN once it is in service. Raises SageMakerError."""
        name, config = request["EndpointName"], request["EndpointConfigName"]
        _known(self.configs, "endpoint-config", config)
        now = time.time()
        with self._mutex:
            if name in self.endpoints:
                raise _exists("endpoint", name)
            self.endpoints[name] = Endpoint(name, config, "Creating", None, (), None, now, now)
        self._put_in_service(name, config, failed="Failed")
        return arn("endpoint", name)

    def update_endpoint(self, request: Mapping[str, Any]) -> str:
        """Put an endpoint on another configuration; the old models answer until the new ones do.

        A lone variant whose container stays the same gets only its artifact exchanged, by the server itself.
        """
        name, config = request["EndpointName"], request["EndpointConfigName"]
        _known(self.configs, "endpoint-config", config)
        self._change(name, status="Updating")
        self._put_in_service(name, config, failed="InService")
        return arn("endpoint", name)

    def delete_endpoint(self, name: str) -> None:
        """Remove an endpoint and end its servers."""
        with self._mutex:
            endpoint = _known(self.endpoints, "endpoint", name)
            del self.endpoints[name]
        for variant in endpoint.variants:
            variant.server.stop()

    def delete_config(self, name: str) -> None:
        """Forget an endpoint configuration."""
        _known(self.configs, "endpoint-config", name)
        del self.configs[name]

    def delete_model(self, name: str) -> None:
        """Forget a model."""
        _known(self.models, "model", name)
        del self.models[name]

    def describe_model(self, name: str) -> dict[str, Any]:
        """DescribeModel's answer."""
        return dict(_known(self.models, "model", name))

    def describe_config(self, name: str) -> dict[str, Any]:
        """DescribeEndpointConfig's answer."""
        return dict(_known(self.configs, "endpoint-config", name))

    def describe_endpoint(self, name: str) -> dict[str, Any]:
        """DescribeEndpoint's answer."""
        endpoint = _known(self.endpoints, "endpoint", name)
        described: dict[str, Any] = {
            "EndpointName": name,
            "EndpointArn": arn("endpoint", name),
            "EndpointConfigName": endpoint.config,
            "EndpointStatus": endpoint.status,
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "ProductionVariants": [
                {
                    "VariantName": variant.name,
                    "CurrentWeight": variant.weight,
                    "DesiredWeight": variant.weight,
                    "CurrentInstanceCount": 1,
                    "DesiredInstanceCount": 1,
                }
                for variant in endpoint.variants
            ],
        }
        if endpoint.failure:
            described["FailureReason"] = endpoint.failure
        if endpoint.capture:
            described["DataCaptureConfig"] = {
                "EnableCapture": bool(endpoint.capture.get("EnableCapture")),
                "CaptureStatus": "Started" if endpoint.capture.get("EnableCapture") else "Stopped",
                "CurrentSamplingPercentage": endpoint.capture["InitialSamplingPercentage"],
                "DestinationS3Uri": endpoint.capture["DestinationS3Uri"],
                "KmsKeyId": endpoint.capture.get("KmsKeyId", ""),
            }
        return described

    def kept(self) -> dict[str, Any]:
        """All resources as JSON, from which `take_up` makes them again."""
        names = ("name", "config", "created", "modified")
        endpoints = [{name: getattr(endpoint, name) for name in names} for endpoint in self.endpoints.values()]
        return {"models": self.models, "configs": self.configs, "endpoints": endpoints}

    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Make all resources again, and start the endpoints' servers; one that does not come up has failed."""
        self.models.update(kept["models"])
        self.configs.update(kept["configs"])
        for one in kept["endpoints"]:
            endpoint = Endpoint(**one, status="Creating", failure=None, variants=(), capture=None)
            self.endpoints[endpoint.name] = endpoint

        def start(endpoint: Endpoint) -> None:
            with contextlib.suppress(SageMakerError):  # DescribeEndpoint says why
                self._put_in_service(endpoint.name, endpoint.config, failed="Failed")

        with ThreadPoolExecutor(4) as starting:
            list(starting.map(start, list(self.endpoints.values())))

    def stop(self) -> None:
        """End all servers."""
        for name in list(self.endpoints):
            self.delete_endpoint(name)

    def _record(self, records: dict[str, dict[str, Any]], kind: str, name: str, request: Mapping[str, Any]) -> str:
        with self._mutex:
            if name in records:
                raise _exists(kind, name)
            key = {"model": "ModelArn", "endpoint-config": "EndpointConfigArn"}[kind]
            records[name] = {**request, key: arn(kind, name), "CreationTime": time.time()}
        return arn(kind, name)

    def _change(self, name: str, **changes: Any) -> Endpoint:
        with self._mutex:
            endpoint: Endpoint = _known(self.endpoints, "endpoint", name)
            self.endpoints[name] = replace(endpoint, modified=time.time(), **changes)
        return endpoint

    def _put_in_service(self, name: str, config_name: str, failed: str) -> None:
        config = self.configs[config_name]
        running = self.endpoints[name].variants
        started: list[Variant] = []
        try:
            for variant in config["ProductionVariants"]:
                started.append(  # noqa: PERF401  (on failure, what has started is stopped)
                    self._exchanged(running, config, variant) or self._start(name, variant)
                )
        except (ServerFailed, SageMakerError) as error:
            for variant in started:
                variant.server.stop()
            variant_name = config["ProductionVariants"][len(started)]["VariantName"]
            reason = (
                f"The primary container for production variant {variant_name} did not pass the ping health check: "
                f"{error}"
            )
            self._change(name, status=failed, failure=reason)
            raise SageMakerError("ValidationException", reason) from error
        before = self._change(
            name, status="InService", failure=None, config=config_name, variants=tuple(started),
            capture=config.get("DataCaptureConfig"),
        )  # fmt: skip
        kept = {id(variant.server) for variant in started}
        for variant in before.variants:
            if id(variant.server) not in kept:
                threading.Thread(target=variant.server.stop, args=(DRAIN_SECONDS,), daemon=True).start()

    def _exchanged(
        self, running: tuple[Variant, ...], config: Mapping[str, Any], variant: Mapping[str, Any]
    ) -> Variant | None:
        """The running variant with the new artifact, where nothing else but that would change."""
        if len(running) != 1 or len(config["ProductionVariants"]) != 1:
            return None
        server, model = running[0].server, self._model(variant)
        if not server.ready or server.environment != model.environment or running[0].name != variant["VariantName"]:
            return None
        server.exchange(model.artifact)
        return _variant(variant, server, model)

    def _start(self, endpoint: str, variant: Mapping[str, Any]) -> Variant:
        model = self._model(variant)
        folder = self._children.state / "endpoints" / endpoint / f"{variant['VariantName']}-{uuid.uuid4().hex[:8]}"
        server = ModelServer(self._children, folder, model.artifact, model.environment, self._command)
        return _variant(variant, server, model)

    def _model(self, variant: Mapping[str, Any]) -> "_Model":
        model = _known(self.models, "model", variant["ModelName"])
        container = model.get("PrimaryContainer") or model["Containers"][0]
        uri = container.get("ModelDataUrl") or container["ModelDataSource"]["S3DataSource"]["S3Uri"]
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        role = model.get("ExecutionRoleArn", "")
        try:
            artifact = self._read_object(role, bucket, key)
        except KeyError:
            raise SageMakerError("ValidationException", f"Could not find model data at {uri}.") from None
        environment = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, **(container.get("Environment") or {})}
        return _Model(artifact, environment, role)


@dataclass(frozen=True)
class _Model:
    """What a variant's server needs of its model: model.tar.gz, the container's environment, the role's ARN."""

    artifact: bytes
    environment: Mapping[str, str]
    role: str


def _variant(variant: Mapping[str, Any], server: ModelServer, model: _Model) -> Variant:
    return Variant(variant["VariantName"], float(variant.get("InitialVariantWeight", 1)), server, model.role)


def _known(records: Mapping[str, Any], kind: str, name: str) -> Any:
    if name not in records:
        raise SageMakerError("ValidationException", f'Could not find {kind} "{arn(kind, name)}".')
    return records[name]


def _exists(kind: str, name: str) -> SageMakerError:
    return SageMakerError("ValidationException", f'Cannot create already existing {kind} "{arn(kind, name)}".')
