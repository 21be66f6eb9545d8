"""Makes ``openapi.json`` (OpenAPI 3.1) from the routes, their decorators and the schemas."""

from __future__ import annotations

import json
import re
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, current_app
from werkzeug.routing import Rule

import schemas
from auth import tokens_of
from routes.docs import OPENAPI_FILE

VERSION = "1.0.0"
DESCRIPTION = 'Keeps each user\'s chat sessions with their messages. Errors are `{"error": code}`.'
TIME_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"


def build(app: Flask) -> dict[str, Any]:
    """Return the description of an app's routes."""
    marshmallow = MarshmallowPlugin(schema_name_resolver=lambda schema: type(_instance(schema)).__name__)
    spec = APISpec("Parley", VERSION, "3.1.0", info={"description": DESCRIPTION}, plugins=[marshmallow])
    converter: Any = marshmallow.converter
    converter.map_to_openapi_type(schemas.Metadata, "object", None)
    converter.map_to_openapi_type(schemas.MessageList, "array", None)
    converter.add_attribute_function(_list_items)
    converter.add_attribute_function(_exact_time)
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        if hasattr(view, "returned"):
            operations = {
                method.lower(): _operation(rule, view) for method in sorted(rule.methods or ()) if method in METHODS
            }
            spec.path(re.sub(r"<(\w+)>", r"{\1}", rule.rule), operations=operations)
    document: dict[str, Any] = spec.to_dict()
    for name, schema in document["components"]["schemas"].items():
        if name in _OUTGOING:
            schema["additionalProperties"] = False  # the keys are a contract
        for attribute in schema["properties"].values():
            attribute.pop("default", None)  # what a loaded value falls back to is no client's business
    return document


THROTTLED = {"auth.log_in", "auth.change_password"}
METHODS = {"GET", "POST", "PATCH", "DELETE"}
_OUTGOING = {
    name
    for name, schema in vars(schemas).items()
    if isinstance(schema, type) and issubclass(schema, schemas.Schema) and not issubclass(schema, schemas.Base)
}


def _instance(schema: Any) -> Any:
    return schema() if isinstance(schema, type) else schema


def _list_items(self: Any, field: Any, **kwargs: Any) -> dict[str, Any]:
    if isinstance(field, schemas.MessageList):
        return {"items": self.resolve_nested_schema(field.nested)}
    return {}


def _exact_time(self: Any, field: Any, **kwargs: Any) -> dict[str, Any]:
    return {"pattern": TIME_PATTERN} if isinstance(field, schemas.Timestamp) else {}


def _operation(rule: Rule, view: Any) -> dict[str, Any]:
    kinds = tokens_of(view) if rule.rule.startswith("/api/") else ()
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "summary": (view.__doc__ or "").partition("\n")[0],
        "tags": [rule.endpoint.partition(".")[0]],
        "security": [{"token": []}] if kinds else [],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in sorted(rule.arguments, reverse=True)
        ],
        "responses": {str(view.status): _answer("Done.", view.returned)},
    }
    refusals = [503]
    if kinds or rule.endpoint in THROTTLED:
        refusals += [401]
    if "session_id" in rule.arguments:
        refusals += [404]
    if view.other_types:
        answer = operation["responses"].setdefault("200", {"description": "Done."})
        answer.setdefault("content", {}).update({kind: {"schema": {"type": "string"}} for kind in view.other_types})
    if hasattr(view, "alternative"):
        schema, status = view.alternative
        operation["responses"][str(status)] = _answer("Done.", schema)
    if hasattr(view, "query"):
        operation["parameters"] += [{"in": "query", "schema": view.query}]
        refusals += [400]
    if hasattr(view, "body"):
        operation["requestBody"] = {"required": view.body_required, "content": _json(view.body)}
        refusals += [400, 413, 415]
    if hasattr(view, "reads"):
        kinds_read = {kind: {"schema": {"type": "string"}} for kind in view.reads}
        operation["requestBody"] = {"required": True, "content": kinds_read}
        refusals += [400, 413, 415]
    if rule.endpoint in THROTTLED:
        refusals += [429]
    refusals += getattr(view, "refusals", ())
    if hasattr(view, "retried"):
        refusals += [409]
    operation["parameters"] += [
        {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}
        for name, status, description in HEADERS
        if status in refusals and (status != 409 or hasattr(view, "retried"))
    ]
    for status in sorted({*refusals}):
        operation["responses"][str(status)] = _answer(REFUSALS[status], None if status == 304 else schemas.Error)
    return operation


HEADERS = (
    ("If-None-Match", 304, "The `ETag` of the answer that is known."),
    ("If-Match", 412, "The `ETag` of the session that is meant, which is never a weak one."),
    ("Idempotency-Key", 409, "With the same key and body, within a day, the work is done once."),
)
REFUSALS = {
    400: "The body or a parameter is refused.",
    401: "No token, or none that is good here.",
    404: "No such row of the caller's.",
    304: "The client has it already.",
    409: "Something else is under way there, or the key was for another request.",
    412: "It has moved on.",
    413: "The body is too large.",
    415: "The body is of another type.",
    429: "Too many failures; `Retry-After` says how long to wait.",
    502: "The model's API has failed.",
    503: "Something that is needed is busy or not there.",
    504: "The model's API has taken too long.",
}


def _answer(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description} if schema is None else {"description": description, "content": _json(schema)}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def write() -> None:
    """Write the description of the current app to the file that is served."""
    OPENAPI_FILE.write_text(json.dumps(build(current_app), indent=2, ensure_ascii=False) + "\n")
