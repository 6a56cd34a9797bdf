"""The SageMaker JSON API: `X-Amz-Target: SageMaker.<Operation>`."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from local.sagemaker.hosting import Hosting, SageMakerError, arn


def answer(hosting: Hosting, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation's answer; raise SageMakerError as AWS does.

    CreateEndpoint and UpdateEndpoint return at once, like on AWS: the endpoint's status tells how they go on.
    """
    operations: dict[str, Callable[[], dict[str, Any]]] = {
        "CreateModel": lambda: {"ModelArn": hosting.create_model(request)},
        "CreateEndpointConfig": lambda: {"EndpointConfigArn": hosting.create_config(request)},
        "CreateEndpoint": lambda: _in_background(hosting.create_endpoint, request),
        "UpdateEndpoint": lambda: _in_background(hosting.update_endpoint, request),
        "DescribeModel": lambda: hosting.describe_model(request["ModelName"]),
        "DescribeEndpointConfig": lambda: hosting.describe_config(request["EndpointConfigName"]),
        "DescribeEndpoint": lambda: hosting.describe_endpoint(request["EndpointName"]),
        "ListEndpoints": lambda: {"Endpoints": _endpoints(hosting, request)},
        "DeleteModel": lambda: _done(hosting.delete_model, request["ModelName"]),
        "DeleteEndpointConfig": lambda: _done(hosting.delete_config, request["EndpointConfigName"]),
        "DeleteEndpoint": lambda: _done(hosting.delete_endpoint, request["EndpointName"]),
    }
    if operation not in operations:
        raise SageMakerError("UnknownOperationException", f"{operation} is not part of the local SageMaker")
    return operations[operation]()


def _done(change: Callable[[str], None], name: str) -> dict[str, Any]:
    change(name)
    return {}


def _in_background(change: Callable[[Mapping[str, Any]], str], request: Mapping[str, Any]) -> dict[str, Any]:
    def run() -> None:
        try:
            change(request)
        except SageMakerError as error:
            refused.append(error)

    refused: list[SageMakerError] = []
    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(0.05)  # what AWS refuses at once (an unknown configuration) is refused at once
    if refused:
        raise refused[0]
    return {"EndpointArn": arn("endpoint", request["EndpointName"])}


def _endpoints(hosting: Hosting, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = []
    for name in sorted(hosting.endpoints):
        described = hosting.describe_endpoint(name)
        if request.get("NameContains", "") in name:
            keys = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
            listed.append({key: described[key] for key in keys})
    return listed
