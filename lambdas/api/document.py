"""The OpenAPI 3.1 document: what Powertools makes of the routes, and what they declare besides."""

from collections.abc import Iterator
from typing import Any

from aws_lambda_powertools.event_handler.openapi.models import HTTPBearer
from pydantic import TypeAdapter

from ics.errors import InvalidParameter, RoleNeeded, TableUnavailable
from lambdas.api import answers
from lambdas.api.problems import MEDIA_TYPE, status_of
from lambdas.api.router import DECLARED, Declared, Parameter, app

_REF = "#/components/schemas/{model}"
_NAMES = {"image_id": "^([0-9a-f]{64}|[0-9a-f]{32})$", "run": "^[A-Za-z0-9._-]{1,80}$"}
"""What may stand in a path."""

_BY_GATEWAY = {
    401: "NotSignedIn: no token, or one that is expired; of a forged one in API Gateway's own words",
    429: "too many requests; in API Gateway's own words",
}
"""What CloudFront answers as a problem, and API Gateway, which cannot, as `{"message": ...}`."""


def document() -> dict[str, Any]:
    """The document as JSON."""
    made: dict[str, Any] = app.get_openapi_schema(
        title="ICS", version="1", openapi_version="3.1.0",
        description="Classifies images, tells which answers can be trusted, and learns the truth from people.",
        security_schemes={"token": HTTPBearer(bearerFormat="JWT")},
    ).model_dump(by_alias=True, exclude_none=True, mode="json")  # fmt: skip
    schemas: dict[str, Any] = {}
    made["components"] = {
        "schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    }  # fmt: skip
    for one in DECLARED:
        path = one.path.replace("<", "{").replace(">", "}")
        _complete(made["paths"][path][one.method.lower()], one, schemas)
    _schema(answers.Problem, schemas)
    return made


def _complete(operation: dict[str, Any], one: Declared, schemas: dict[str, Any]) -> None:
    operation["summary"], operation["description"] = one.summary, one.description or one.summary
    operation["parameters"] = [
        *(_path_parameter(given) for given in operation.get("parameters", ()) if given["in"] == "path"),
        *map(_query_parameter, one.query),
    ]
    if one.body is not None:
        operation["requestBody"] = {"required": True, "content": dict(_body(one.body, schemas))}
    media = "text/html" if one.answer is str else "application/json"
    content = {media: {"schema": _schema(one.answer, schemas)}}
    operation["responses"] = {str(one.status): {"description": "done", "content": content}} | dict(_refusals(one))
    operation["security"] = [{"token": []}] if one.role else []
    if one.role:
        operation["description"] += f"\n\nNeeds the role {one.role}."


def _path_parameter(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": given["name"],
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": _NAMES[given["name"]]},
    }


def _query_parameter(one: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": one.kind}
    if one.kind == "integer":
        schema |= {"minimum": one.least, "maximum": one.most}
    else:
        schema |= {"minLength": 1, "maxLength": one.most}
    if one.pattern:
        schema["pattern"] = f"^{one.pattern}$"
    return {"name": one.name, "in": "query", "required": False, "description": one.says, "schema": schema}


def _body(body: Any, schemas: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(body, list):
        yield from ((media, {"schema": {"type": "string", "format": "binary"}}) for media in body)
    else:
        found = _schema(body, schemas)
        if "$ref" in found:
            schemas[body.__name__]["additionalProperties"] = False
        yield "application/json", {"schema": found}


def _refusals(one: Declared) -> Iterator[tuple[str, Any]]:
    problem = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    kinds = {*one.errors, InvalidParameter, TableUnavailable, *((RoleNeeded,) if one.role else ())}
    found: dict[int, list[str]] = {403: ["PastTheFrontDoor"], 500: ["InternalError"]}
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        found.setdefault(status_of(kind), []).append(kind.__name__)
    for status, these in sorted(found.items()):
        yield str(status), {"description": ", ".join(dict.fromkeys(these)), "content": problem}
    if one.role:
        said = {"application/json": {"schema": {"type": "object", "properties": {"message": {"type": "string"}}}}}
        yield "401", {"description": _BY_GATEWAY[401], "content": problem | said}
        yield "429", {"description": _BY_GATEWAY[429], "content": said}


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a type, its dataclasses among the document's."""
    made = TypeAdapter(kind).json_schema(ref_template=_REF)
    schemas.update(made.pop("$defs", {}))
    name = getattr(kind, "__name__", "")
    if made.get("type") == "object" and "properties" in made and name:
        schemas[name] = made
        return {"$ref": _REF.format(model=name)}
    return dict(made)
