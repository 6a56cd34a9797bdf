"""CloudFormation: `AWS::SageMaker::Model`, `EndpointConfig` and `Endpoint`, which MiniStack refuses as unrecognized.

Template reference: `Ref` gives the ARN, `Fn::GetAtt` the name. A Model and an EndpointConfig are replaced when changed;
an Endpoint takes another EndpointConfig without interruption, and is replaced when renamed.
"""

import uuid
from collections.abc import Callable
from typing import Any

from ministack.services.cloudformation import provisioners, stacks

from local.sagemaker.hosting import Hosting, arn


def apply(hosting: Hosting) -> None:
    """Register the three types."""

    def create_model(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
        request = {"ModelName": _name(stack, logical_id), **properties}
        return hosting.create_model(request), {"ModelName": request["ModelName"]}

    def create_config(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
        request = {"EndpointConfigName": _name(stack, logical_id), **properties}
        return hosting.create_config(request), {"EndpointConfigName": request["EndpointConfigName"]}

    def create_endpoint(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
        request = {"EndpointName": _name(stack, logical_id), **properties}
        return hosting.create_endpoint(request), {"EndpointName": request["EndpointName"]}

    def update_endpoint(physical_id: str, _old: Any, new: dict[str, Any], _stack: str) -> tuple[str, dict[str, Any]]:
        name = next(name for name in hosting.endpoints if arn("endpoint", name) == physical_id)
        return hosting.update_endpoint({**new, "EndpointName": name}), {"EndpointName": name}

    _register("AWS::SageMaker::Model", create_model, _deleter(hosting.models, "model", hosting.delete_model))
    _register(
        "AWS::SageMaker::EndpointConfig",
        create_config,
        _deleter(hosting.configs, "endpoint-config", hosting.delete_config),
    )
    _register(
        "AWS::SageMaker::Endpoint",
        create_endpoint,
        _deleter(hosting.endpoints, "endpoint", hosting.delete_endpoint),
        update_endpoint,
    )
    provisioners._REPLACING_PROPERTIES["AWS::SageMaker::Endpoint"] = ("EndpointName",)
    on_thread = stacks._runs_on_worker_thread
    # Starting a server takes seconds, and it reads its artifact from the S3 that this event loop serves.
    stacks._runs_on_worker_thread = lambda kind: kind == "AWS::SageMaker::Endpoint" or on_thread(kind)


def _register(
    kind: str, create: Callable[..., Any], delete: Callable[..., Any], update: Callable[..., Any] | None = None
) -> None:
    if update is None:

        def replace(physical_id: str, _old: Any, new: dict[str, Any], stack: str, logical_id: str) -> Any:
            return create(logical_id or physical_id, new, stack)

        handlers = {"create": create, "delete": delete, "update": replace, "update_with_logical_id": True}
    else:
        handlers = {"create": create, "delete": delete, "update": update}
    provisioners._RESOURCE_HANDLERS[kind] = handlers


def _deleter(records: dict[str, Any], kind: str, delete: Callable[[str], None]) -> Callable[..., None]:
    def remove(physical_id: str, _properties: dict[str, Any]) -> None:
        for name in [name for name in records if arn(kind, name) == physical_id]:
            delete(name)

    return remove


def _name(stack: str, logical_id: str) -> str:
    return f"{logical_id[:40]}-{stack[:8]}-{uuid.uuid4().hex[:12]}"
