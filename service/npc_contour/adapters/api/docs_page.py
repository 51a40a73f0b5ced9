"""A page that shows the OpenAPI document and loads nothing from elsewhere: hospital networks have no internet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2730}
h1{font-size:1.4rem}h2{font:600 1rem ui-monospace,monospace;margin:1.8rem 0 .3rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{border:1px solid #ccd5dc;padding:.25rem .5rem;text-align:left;vertical-align:top}
code{font-family:ui-monospace,monospace}.m{color:#0a6}
@media(prefers-color-scheme:dark){body{background:#12181d;color:#dde5ea}td,th{border-color:#3a4750}}"""


def docs_page(openapi: Mapping[str, Any]) -> str:
    """Return HTML: every path with its parameters and the fields of its answer.

    Args:
        openapi: the OpenAPI 3.1 document.
    """
    info = openapi["info"]
    schemas = openapi.get("components", {}).get("schemas", {})
    body = "\n".join(
        "\n".join(_operation(path, method, operation, schemas))
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    )
    title = escape(str(info["title"]))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{title} {escape(str(info['version']))}</h1><p>{escape(str(info.get('description', '')))}</p>"
        f'<p>Machine-readable: <a href="openapi.json">openapi.json</a></p>{body}</body></html>'
    )


def _operation(
    path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    link = f'<a href="{escape(path[1:])}">{escape(path)}</a>' if "{" not in path else escape(path)
    yield f'<h2><span class="m">{escape(method.upper())}</span> {link}</h2>'
    yield f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>"
    if parameters := operation.get("parameters"):
        yield _table(
            ("parameter", "meaning", "type"),
            [(p["name"], p.get("description", ""), _type(p.get("schema", {}))) for p in parameters],
        )
    for status, response in operation.get("responses", {}).items():
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        if schema is None or status == "422":
            yield f"<p><code>{escape(status)}</code> {escape(response.get('description', ''))}</p>"
            continue
        name = _type(schema)
        meaning = escape(response.get("description", ""))
        yield f"<p><code>{escape(status)}</code> {meaning}: <code>{escape(name)}</code></p>"
        fields = schemas.get(name.removesuffix("[]"), {}).get("properties", {})
        yield _table(
            ("field", "meaning", "type"),
            [(field, spec.get("description", ""), _type(spec)) for field, spec in fields.items()],
        )


def _table(heads: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td><td><code>{escape(kind)}</code></td></tr>"
        for name, text, kind in rows
    )
    return f"<table><tr>{head}</tr>{lines}</table>"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"{_type(schema.get('items', {}))}[]"
    return str(schema.get("type", "any"))
