"""The schema of an application's routes; one rule: it documents what is really answered.

Litestar writes the OpenAPI 3.1 document from the handlers; this adds what is true of every route
(problems in RFC 9457, who may call) and takes out what Litestar assumes (its own error format).
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from tradewind.platform.sessions import admin, signed_in, staff
from tradewind.platform.web.problems import PROBLEM_MEDIA_TYPE

Json = dict[str, Any]

_WHO: Mapping[Any, str] = {signed_in: "session", staff: "staff", admin: "admin"}
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_PARAMETER = re.compile(r"\{[^}]*\}")
_PROBLEMS = (400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 422, 429, 431, 500, 503)
_PROBLEM_SCHEMA: Json = {
    "title": "Problem",
    "description": "A problem document (RFC 9457). A code may add members of its own.",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "requestId"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "pattern": "^[a-z0-9_]+$"},
        "detail": {"type": "string"},
        "requestId": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_SECURITY_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "session"},
}


def operation_id(handler: HTTPRouteHandler, method: Any, path: list[Any]) -> str:
    """A unique, readable operation id: method and path, `get_v1_products_by_id`."""
    parts = [part if isinstance(part, str) else f"by_{part.name}" for part in path]
    words = [str(getattr(method, "value", method)).lower(), *parts]
    name = "_".join(word.strip("/").replace("-", "_").replace("/", "_") for word in words if word)
    return name.strip("_") or handler.handler_name


def build_schema(app: Litestar, *, https: bool) -> Json:
    """The OpenAPI document of an application, as plain JSON values."""
    document: Json = msgspec.json.decode(
        msgspec.json.encode(app.openapi_schema.to_schema(), enc_hook=str)
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM_SCHEMA
    schemes = msgspec.json.decode(msgspec.json.encode(_SECURITY_SCHEMES))
    schemes["cookie"]["name"] = "__Host-session" if https else "session"
    components["securitySchemes"] = schemes
    components["responses"] = {
        f"Problem{status}": _problem_response(status) for status in _PROBLEMS
    }
    callers = _callers(app)
    paths: dict[str, dict[str, Json]] = document.get("paths", {})
    for path, item in paths.items():
        for method, operation in item.items():
            if method in _METHODS:
                _complete(operation, callers.get((path, method.upper()), "anyone"))
    _join_alike(paths)
    return document


def _join_alike(paths: dict[str, dict[str, Json]]) -> None:
    """Makes paths that differ in the names of their parameters only one path, as OpenAPI asks."""
    first: dict[str, str] = {}
    for path in list(paths):
        kept = first.setdefault(_PARAMETER.sub("{}", path), path)
        if kept == path:
            continue
        renamed = dict(zip(_PARAMETER.findall(path), _PARAMETER.findall(kept), strict=True))
        item = paths.pop(path)
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["name"] = renamed["{" + parameter["name"] + "}"][1:-1]
        paths[kept].update(item)


def _problem_response(status: int) -> Json:
    described = HTTPStatus(status)
    return {
        "description": described.description or described.phrase,
        "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _complete(operation: Json, who: str) -> None:
    """Who may call it, and how it fails."""
    operation["x-who"] = who
    operation["security"] = [{"bearer": []}, {"cookie": []}] + ([{}] if who == "anyone" else [])
    responses: Json = operation["responses"]
    responses.get("204", {}).pop("content", None)  # a handler that answers None is given one
    for status in _PROBLEMS:
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    responses.setdefault("default", _problem_default())


def _problem_default() -> Json:
    return {
        "description": "Any other failure.",
        "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _callers(app: Litestar) -> dict[tuple[str, str], str]:
    """Who may call each (path, method), from the guards of its handler; the strictest counts."""
    found: dict[tuple[str, str], str] = {}
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            guards = cast("list[Any]", handler.resolve_guards())  # pyright: ignore[reportUnknownMemberType]  Litestar does not say
            names = [who for guard, who in _WHO.items() if guard in guards]
            for method in handler.http_methods:
                found[route.path_format, str(method)] = names[-1] if names else "anyone"
    return found
