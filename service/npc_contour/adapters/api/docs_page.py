"""A page that shows the OpenAPI document and loads nothing from elsewhere: hospital networks have no internet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2730}
h1{font-size:1.4rem}h2{font:600 1rem ui-monospace,monospace;margin:1.8rem 0 .3rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{border:1px solid #ccd5dc;padding:.25rem .5rem;text-align:left;vertical-align:top}
code{font-family:ui-monospace,monospace}.m{color:#0a6}
@media(prefers-color-scheme:dark){body{background:#12181d;color:#dde5ea}td,th{border-color:#3a4750}a{color:#8cc8ff}}"""
"""A file of its own: the page's policy takes no style from inside it."""


_OF_FASTAPI = {"HTTPValidationError", "ValidationError"}


def docs_page(openapi: Mapping[str, Any]) -> str:
    """Return HTML: every path with its parameters and answers, then every type with its fields.

    Args:
        openapi: the OpenAPI 3.1 document.
    """
    info = openapi["info"]
    title = escape(str(info["title"]))
    paths = [
        part
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
        for part in _operation(path, method, operation)
    ]
    types = [
        part
        for name, schema in sorted(openapi.get("components", {}).get("schemas", {}).items())
        if name not in _OF_FASTAPI
        for part in _schema(name, schema)
    ]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{title}</title>",
            '<link rel="icon" href="data:,"><link rel="stylesheet" href="docs.css"></head><body>',
            f"<h1>{title} {escape(str(info['version']))}</h1>",
            f"<p>{escape(str(info.get('description', '')))}</p>",
            '<p>Machine-readable: <a href="openapi.json">openapi.json</a></p>',
            *paths,
            "<h1>Types</h1>",
            *types,
            "</body></html>",
        ]
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    link = f'<a href="{escape(path[1:])}">{escape(path)}</a>' if "{" not in path else escape(path)
    yield f'<h2><span class="m">{escape(method.upper())}</span> {link}</h2>'
    yield f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>"
    if parameters := operation.get("parameters"):
        rows = [(p["name"], p.get("description", ""), _type(p.get("schema", {}))) for p in parameters]
        yield _table("parameter", rows)
    for status, response in operation.get("responses", {}).items():
        if status == "422":
            yield "<p><code>422</code> A parameter is wrong; the answer names it</p>"
            continue
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        kind = f": <code>{_type(schema)}</code>" if schema else ""
        yield f"<p><code>{escape(status)}</code> {escape(response.get('description', ''))}{kind}</p>"


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h2 id="{escape(name)}">{escape(name)}</h2>'
    yield f"<p>{escape(schema.get('description', ''))}</p>"
    if "enum" in schema:
        yield f"<p><code>{escape(', '.join(map(str, schema['enum'])))}</code></p>"
    else:
        fields = schema.get("properties", {}).items()
        yield _table("field", [(field, _meaning(spec), _type(spec)) for field, spec in fields])


def _meaning(spec: Mapping[str, Any]) -> str:
    examples = ", ".join(json.dumps(example, ensure_ascii=False) for example in spec.get("examples", ()))
    words = str(spec.get("description", spec.get("default", "")))
    return f"{words} (for example {examples})".strip() if examples else words


def _table(first: str, rows: Sequence[tuple[str, str, str]]) -> str:
    """Return a table; names and meanings are plain text, types are HTML."""
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td><td><code>{kind}</code></td></tr>"
        for name, text, kind in rows
    )
    return f"<table><tr><th>{first}</th><th>meaning</th><th>type</th></tr>{lines}</table>"


def _type(schema: Mapping[str, Any]) -> str:
    """Return a type as HTML, named types as links."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "enum" in schema:
        return escape(", ".join(map(str, schema["enum"])))
    if schema.get("type") == "array":
        return f"{_type(schema.get('items', {}))}[]"
    return escape(str(schema.get("format", schema.get("type", "any"))))
