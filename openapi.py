"""Makes ``openapi.json`` (OpenAPI 3.1) from the routes, their decorators and the schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, current_app
from werkzeug.routing import Rule

import errors
import fields
import schemas
from routes.docs import OPENAPI_FILE
from version import VERSION
from web.spec import RouteSpec, spec_of

DESCRIPTION = 'Keeps each user\'s chat sessions with their messages. Errors are `{"error": code}`.'


def build(app: Flask) -> dict[str, Any]:
    """Return the description of an app's routes."""
    marshmallow = MarshmallowPlugin(schema_name_resolver=lambda schema: type(_instance(schema)).__name__)
    spec = APISpec("Parley", VERSION, "3.1.0", info={"description": DESCRIPTION}, plugins=[marshmallow])
    converter: Any = marshmallow.converter
    converter.map_to_openapi_type(fields.JsonObject, "object", None)
    converter.map_to_openapi_type(fields.MessageList, "array", None)
    converter.add_attribute_function(_attributes)
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    spec.components.schema("JsonValue", JSON_VALUE)
    for name, header in HEADERS.items():
        spec.components.header(name, header)
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        if spec_of(view).has_response:
            operations = {
                method.lower(): _operation(rule, view) for method in sorted(rule.methods or ()) if method in METHODS
            }
            spec.path(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), operations=operations)
    document: dict[str, Any] = spec.to_dict()
    for name, schema in document["components"]["schemas"].items():
        if name in _OUTGOING:
            schema["additionalProperties"] = False  # the keys are a contract
        for attribute in schema.get("properties", {}).values():
            attribute.pop("default", None)  # what a loaded value falls back to is no client's business
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "query":
                    _as_sent(parameter["schema"])
    return document


METHODS = {"GET", "POST", "PATCH", "DELETE"}
_OUTGOING = {
    name
    for name, schema in vars(schemas).items()
    if isinstance(schema, type) and issubclass(schema, schemas.Schema) and not issubclass(schema, schemas.RequestSchema)
}


def _instance(schema: Any) -> Any:
    return schema() if isinstance(schema, type) else schema


def _attributes(self: Any, field: Any, ret: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Return what a field of ours says beside what its class and its validators do."""
    match field:
        case fields.MessageList():
            return {"items": self.resolve_nested_schema(field.schema)}
        case fields.JsonObject():
            ret.pop("maxLength", None)  # of its JSON text, which is no property of the object
            return JSON_OBJECT
        case fields.TrimmedText():
            return {"description": "Trimmed.", "pattern": TRIMMED_PATTERN % (ret.pop("maxLength") - 2)}
        case fields.Text() if "enum" not in ret:
            return {"pattern": TEXT_PATTERN}
        case fields.IsoTime():
            return {"format": "date-time"}
        case fields.Timestamp():
            return {"pattern": TIME_PATTERN}
        case fields.Uuid():
            return {"pattern": ID_PATTERN}
    return {}


def _as_sent(schema: dict[str, Any]) -> None:
    """Let a query parameter's schema say what can be sent: text, and no null where it is absent."""
    if isinstance(schema["type"], list):
        (schema["type"],) = set(schema["type"]) - {"null"}
    if schema.get("default", ...) is None:
        del schema["default"]
    if schema["type"] == "boolean":
        spellings = {str(spelling) for spelling in fields.Boolean.truthy | fields.Boolean.falsy}
        schema |= {"type": "string", "enum": sorted(spellings), "default": str(schema["default"]).lower()}


def _codes(rule: Rule, spec: RouteSpec) -> set[str]:
    """Return the codes that an operation may fail with: its own, and those that follow from what it takes."""
    codes = {"bad_request", "headers_too_large", "internal_error", "too_many_connections", *spec.errors}
    for applies, more in (
        (rule.rule.startswith("/api/"), ("database_busy", "database_unavailable", "disk_full")),
        (spec.tokens and rule.rule.startswith("/api/"), AUTHENTICATION),
        ("session_id" in rule.arguments, ("session_not_found",)),
        (spec.query, ("validation_error",)),
        (spec.body, ("invalid_json", "validation_error", "payload_too_large", "unsupported_media_type")),
        (isinstance(spec.body, schemas.ImportDocument), ("unsupported_version",)),
        (spec.raw_body, ("payload_too_large", "unsupported_media_type")),
        (spec.conditional == "If-Match", ("precondition_failed",)),
        (spec.idempotent, ("conflict", "validation_error")),
    ):
        codes.update(more if applies else ())
    return codes


def _operation(rule: Rule, view: Any) -> dict[str, Any]:
    spec = spec_of(view)
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "summary": (view.__doc__ or "").partition("\n")[0],
        "tags": [rule.endpoint.partition(".")[0]],
        "security": [{"token": []}] if spec.tokens and rule.rule.startswith("/api/") else [],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS.get(name, {"type": "string"})}
            for name in sorted(rule.arguments, reverse=True)
        ],
        "responses": {str(spec.status): _response(spec.response)},
    }
    responses = operation["responses"]
    if spec.other_types:
        response = responses.setdefault("200", _response(None))
        response.setdefault("content", {}).update(
            {kind: {"schema": STREAMS.get(kind, {"type": "string"})} for kind in spec.other_types}
        )
    if spec.other_response:
        schema, status = spec.other_response
        responses[str(status)] = _response(schema)
    if spec.query:
        operation["parameters"] += [{"in": "query", "schema": spec.query}]
    if spec.body:
        body = spec.body if spec.body_required else {"anyOf": [spec.body, {"type": "null"}]}
        operation["requestBody"] = {"required": spec.body_required, "content": _json(body)}
    if spec.raw_body:
        # What is in it is validated piece by piece, and each piece that is refused is in the report.
        kinds_read = {kind: {"schema": {} if kind == JSON else {"type": "string"}} for kind in spec.raw_body}
        operation["requestBody"] = {"required": True, "content": kinds_read}
    if spec.conditional:
        operation["parameters"] += [CONDITIONAL[spec.conditional]]
        if spec.response:
            responses[str(spec.status)]["headers"] |= _headers("ETag")
        if spec.conditional == "If-None-Match":
            responses["304"] = _error_response(304, ())
    if spec.idempotent:
        operation["parameters"] += [IDEMPOTENCY_KEY]
    by_status: dict[int, list[str]] = {}
    for code in sorted(_codes(rule, spec)):
        by_status.setdefault(errors.STATUS_BY_CODE[code], []).append(code)
    for status in sorted(by_status):
        responses[str(status)] = _error_response(status, by_status[status])
    return operation


AUTHENTICATION = ("missing_token", "invalid_token", "token_expired", "token_revoked")
JSON = "application/json"
TEXT_PATTERN = r"^[^\u0000]*$"
_BLANK = "".join(f"\\u{ord(char):04x}" for char in fields.WHITESPACE)
TRIMMED_PATTERN = rf"^[{_BLANK}]*[^\u0000{_BLANK}]([^\u0000]{{0,%d}}[^\u0000{_BLANK}])?[{_BLANK}]*$"
ID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
TIME_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
JSON_OBJECT = {
    "propertyNames": {"pattern": TEXT_PATTERN},
    "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
}
JSON_VALUE = {
    "type": ["null", "boolean", "number", "string", "array", "object"],
    "pattern": TEXT_PATTERN,
    "items": {"$ref": "#/components/schemas/JsonValue"},
    **JSON_OBJECT,
}
EVENTS: dict[str, Any] = {
    "message": {"$ref": "#/components/schemas/Message"},
    "delta": {"type": "object", "required": ["content"], "properties": {"content": {"type": "string"}}},
    "done": {"type": "object", "maxProperties": 0},
    "error": {"$ref": "#/components/schemas/Error"},
}
STREAMS = {
    "text/event-stream": {
        "description": "Each event; comments are sent between them where it takes long.",
        "type": "object",
        "required": ["event", "data"],
        "oneOf": [
            {
                "properties": {
                    "event": {"const": event},
                    "data": {"type": "string", "contentMediaType": JSON, "contentSchema": schema},
                }
            }
            for event, schema in EVENTS.items()
        ],
    }
}
PATH_PARAMETERS = {
    "session_id": {"type": "string", "format": "uuid", "pattern": ID_PATTERN},
    "name": {"type": "string", "pattern": r"^[A-Za-z0-9_.-]{1,64}$"},
}


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


CONDITIONAL = {
    "If-None-Match": _header("If-None-Match", "The `ETag` of the response that the client has."),
    "If-Match": _header("If-Match", "The `ETag` of the session that is meant, which is never a weak one."),
}
IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    "With the same key and body, within a day, the work is done once.",
    pattern=r"^[!-~]([ -~]{0,253}[!-~])?$",  # blanks at the ends are no part of a header's value
)
# Of answers.
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {"description": "The client's own id, or a fresh one.", "required": True},
    "ETag": {"description": "The state of the session in this representation.", "required": True},
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "pattern": "^Bearer"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
}
for _definition in HEADERS.values():
    _definition.setdefault("schema", {"type": "string", "minLength": 1})
HEADERS_OF_STATUS = {304: ["ETag"], 401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
DESCRIPTION_OF_STATUS = {
    304: "The client has it already.",
    400: "The body, a parameter or the request itself is refused.",
    401: "No token, or none that is good here.",
    404: "No such row of the caller's.",
    409: "Something else is under way there, or the key was for another request.",
    412: "It has moved on.",
    413: "The body is too large.",
    415: "The body is of another type.",
    429: "Too many failures or calls; `Retry-After` says how long to wait.",
    431: "The path, the query and the headers are too large together.",
    500: "A mistake of the service's.",
    502: "The model's API has failed.",
    503: "Something that is needed is busy or not there.",
    504: "The model's API has taken too long.",
    507: "The disk is full.",
}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _error_response(status: int, codes: Sequence[str]) -> dict[str, Any]:
    """Return the response for a status, with the codes that it comes with."""
    headers = _headers("X-Request-Id", *HEADERS_OF_STATUS.get(status, ()))
    response = {"description": DESCRIPTION_OF_STATUS[status], "headers": headers}
    if codes:
        schema = {"allOf": [schemas.Error], "properties": {"error": {"enum": list(codes)}}}
        response["content"] = {JSON: {"schema": schema}}
    return response


def _response(schema: Any) -> dict[str, Any]:
    response: dict[str, Any] = {"description": "Done.", "headers": _headers("X-Request-Id")}
    return response if schema is None else response | {"content": _json(schema)}


def _json(schema: Any) -> dict[str, Any]:
    return {JSON: {"schema": schema}}


def write() -> None:
    """Write the description of the current app to the file that is served."""
    OPENAPI_FILE.write_text(json.dumps(build(current_app), indent=2, ensure_ascii=False) + "\n")
