"""The types by which the page reads the HTTP API's answers are those of its OpenAPI document, to the letter."""

import re
from pathlib import Path
from typing import Any

from lambdas.api import handler
from lambdas.api.document import document

TYPES = Path(__file__).parents[2] / "web" / "src" / "types.ts"
HELD = 17
"""Interfaces before the line that ends what the document describes."""


def typescript(schema: dict[str, Any]) -> str:
    """A JSON schema as a TypeScript type."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " | ".join(map(typescript, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(f'"{one}"' for one in schema["enum"])
    if schema["type"] == "array":
        return f"{typescript(schema['items'])}[]"
    if schema["type"] == "object":
        inner = schema.get("additionalProperties")
        return f"Record<string, {typescript(inner) if isinstance(inner, dict) else 'unknown'}>"
    return {"integer": "number"}.get(schema["type"], str(schema["type"]))


def test_the_pages_types_are_the_documents() -> None:
    assert handler.ROUTES
    schemas = document()["components"]["schemas"]
    source = TYPES.read_text("utf-8").partition("// ----")[0]
    found = dict(re.findall(r"export interface (\w+) \{\n(.*?)\n\}", source, re.DOTALL))
    assert len(found) == HELD
    for name, fields in found.items():
        properties = schemas[name]["properties"]
        expected = [f"  {field}: {typescript(schema)};" for field, schema in properties.items()]
        assert fields.splitlines() == expected, name
        assert schemas[name]["required"] == list(properties)
