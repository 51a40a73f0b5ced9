"""What FastAPI's description of REST lacks: an example of every body, and how a caller authenticates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

JSON = "application/json"
OPEN_PATHS = ("/health/", "/dicom-web/")
"""Asked without a token: probes, and modalities, which have a list of addresses of their own."""


def complete(app: FastAPI) -> None:
    """Have an application describe itself in full at /openapi.json."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            _secure(document)
            _close(document["components"]["schemas"])
            for operation in _operations(document):
                _exemplify(operation, document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def example_of(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """Return a value that fits a schema, made of the examples of its fields.

    Args:
        schema: of the value; `$ref`s lead into `document`.
        document: the whole description.
    """
    if "$ref" in schema:
        return example_of(_resolve(str(schema["$ref"]), document), document)
    for given in ("example", "default", "const"):
        if given in schema:
            return schema[given]
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return example_of(schema[choice][0], document)
    return _of_type(schema, document)


def _of_type(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    if "properties" in schema:
        return {name: example_of(field, document) for name, field in schema["properties"].items()}
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        name = example_of(schema.get("propertyNames", {"const": "key"}), document)
        return {str(name): example_of(values, document)} if isinstance(values, Mapping) else {}
    if schema.get("type") == "array":
        return [example_of(item, document) for item in schema.get("prefixItems", [schema.get("items", {})])]
    if schema.get("format") == "date-time":
        return "2026-11-24T09:15:02Z"
    return {"string": "", "integer": 1, "number": 1.0, "boolean": False}.get(str(schema.get("type")))


def _resolve(reference: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found  # type: ignore[no-any-return]


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def _secure(document: dict[str, Any]) -> None:
    token = {
        "type": "http",
        "scheme": "bearer",
        "description": "From the page Accounts or `npc-contour account token`; not needed while accounts are off",
    }
    document["components"].setdefault("securitySchemes", {})["token"] = token
    document["security"] = [{"token": []}]
    for path, methods in document["paths"].items():
        if path.startswith(OPEN_PATHS):
            for operation in methods.values():
                operation["security"] = []


def _close(schema: Any) -> None:  # noqa: ANN401 - any JSON
    """Say that a mapping takes no other keys than those of its pattern: pydantic refuses them and does not say so."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            _close(part)
    elif isinstance(schema, list):
        for part in schema:
            _close(part)


def _exemplify(operation: dict[str, Any], document: Mapping[str, Any]) -> None:
    bodies = [operation.get("requestBody", {}), *operation.get("responses", {}).values()]
    for body in bodies:
        for kind, content in body.get("content", {}).items():
            if kind == JSON and "example" not in content and "schema" in content:
                content["example"] = example_of(content["schema"], document)
    for parameter in operation.get("parameters", ()):
        if "example" not in parameter and parameter.get("required"):
            parameter["example"] = example_of(parameter.get("schema", {}), document)
