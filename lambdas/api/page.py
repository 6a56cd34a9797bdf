"""The document as one page of HTML: no script, no picture, nobody else asked."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from lambdas.api.problems import names

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.5 system-ui,sans-serif;max-width:54rem;margin:0 auto;padding:1rem 1rem 4rem}
h1{margin-bottom:0}h2{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:1rem}
h3 code{font-size:1rem}code{background:var(--soft);padding:.1em .3em;border-radius:.2em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dd{margin:0}dt{font-weight:600}
details{margin:.5rem 0}pre{overflow:auto;background:var(--soft);padding:.8rem}
"""


def policy() -> str:
    """The Content-Security-Policy of the page: its own style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'; base-uri 'none'"


def page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    return "".join(_parts(document))


def _parts(document: Mapping[str, Any]) -> Iterator[str]:
    title, about = escape(document["info"]["title"]), escape(document["info"]["description"])
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: HTTP API</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    yield f'<main><h1>{title}: HTTP API</h1><p>{about} The same for programs: <a href="/openapi.json">openapi.json</a>.'
    yield "<h2>Routes</h2>"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield from _operation(method.upper(), path, operation)
    yield "<h2>Answers</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f'<h3 id="schema-{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}<dl>'
        for one, about_it in schema.get("properties", {}).items():
            yield f"<dt><code>{escape(one)}</code><dd>{_kind(about_it)}"
        yield "</dl>"
    yield "<h2>Refusals</h2><p>Each is an <code>application/problem+json</code> (RFC 9457), by these names.<dl>"
    for name, (status, meaning) in names().items():
        yield f'<dt id="{escape(name)}">{escape(name)}<dd>{status}: {escape(meaning)}'
    yield "</dl></main></html>"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h3><code>{method} {escape(path)}</code></h3><p><strong>{escape(operation['summary'])}.</strong> "
    yield escape(operation["description"].removeprefix(operation["summary"]))
    yield "<dl>"
    for one in operation.get("parameters", ()):
        yield f"<dt><code>{escape(one['name'])}</code><dd>{escape(one.get('description', 'in the path'))}"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<dt>body<dd>{escape(media)}: {_kind(content['schema'])}"
    for status, answer in operation["responses"].items():
        kinds = {_kind(content["schema"]) for content in answer["content"].values()}
        yield f"<dt>{status}<dd>{escape(answer['description'])}: {', '.join(sorted(kinds))}"
    yield "</dl>"


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(escape(str(one)) for one in schema["enum"])
    return escape(str(schema.get("type", "any")))
