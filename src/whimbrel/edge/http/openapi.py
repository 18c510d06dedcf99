"""The OpenAPI 3.1 document, generated from the route table and the msgspec types."""

from typing import Any

import msgspec

from whimbrel import __version__
from whimbrel.edge.http.problems import STATUS, Problems
from whimbrel.edge.http.routes import Access, Route, errors_of

REF = "#/components/schemas/{name}"


def document(routes: tuple[Route, ...]) -> dict[str, Any]:
    """The whole document, ready to be encoded."""
    types: list[Any] = [Problems]
    types += [kind for route in routes for kind in (route.takes, route.gives) if kind is not None]
    types = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, by_type)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Whimbrel",
            "version": __version__,
            "description": "Sign-up by phone, administration and health of a Whimbrel server.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "admin": {"type": "http", "scheme": "bearer"},
                "device": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _operation(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.tags[0]}-{route.name}".replace("_", "-"),
        "summary": route.summary,
        "tags": list(route.tags),
        "responses": _responses(route, schemas),
    }
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.takes is not None:
        content = {"application/json": {"schema": schemas[route.takes]}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.sends:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.access is Access.ADMIN:
        operation["security"] = [{"admin": []}]
        operation["description"] = f"For tokens of the scope `{route.scope}`."
    if route.basic:
        operation["security"] = [{"device": []}]
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    for part in route.path.split("/"):
        if part.startswith("{"):
            name = part.strip("{}")
            schema = {"type": "string", "maxLength": 64}
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    for where, named in (("query", route.query), ("header", route.tells)):
        for name, kind, what in named:
            parameters.append(
                {
                    "name": name,
                    "in": where,
                    "required": where == "header",
                    "description": what,
                    "schema": {"type": kind},
                }
            )
    return parameters


def _responses(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done."}
    if route.gives is not None:
        done["content"] = {"application/json": {"schema": schemas[route.gives]}}
    elif route.answer:
        done["content"] = {route.answer: {"schema": {"type": "string"}}}
    responses: dict[str, Any] = {str(status): done for status in (route.status, *route.also)}
    codes: dict[int, list[str]] = {}
    for code in errors_of(route):
        codes.setdefault(STATUS[code][0], []).append(code)
    for status, names in sorted(codes.items()):
        texts = [f"`{name}`: {STATUS[name][1]}" for name in names]
        responses[str(status)] = {
            "description": " ".join(texts),
            "content": {"application/json": {"schema": schemas[Problems]}},
        }
    return responses
