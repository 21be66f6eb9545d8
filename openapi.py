"""Builds ``openapi.json`` (OpenAPI 3.1) from the routes, their decorators and the schemas."""

from __future__ import annotations

import json
import re
from typing import Any

from apispec import APISpec
from apispec.core import Components
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, current_app
from werkzeug.routing import Rule

import errors
import fields
import schemas
from auth import cookies
from routes.docs import OPENAPI_FILE
from version import VERSION
from web.spec import RouteSpec, spec_of

DESCRIPTION = 'A self-hosted HTTP service that stores chat sessions. Errors are `{"error": code}`.'
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
JSON = "application/json"


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


# Values ----------------------------------------------------------------------------------------

TEXT_PATTERN = r"^[^\u0000]*$"
_BLANK = "".join(f"\\u{ord(char):04x}" for char in fields.WHITESPACE)
TRIMMED_PATTERN = rf"^[{_BLANK}]*[^\u0000{_BLANK}]([^\u0000]{{0,%d}}[^\u0000{_BLANK}])?[{_BLANK}]*$"
ID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
TIME_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
JSON_OBJECT = {
    "propertyNames": {"pattern": TEXT_PATTERN},
    "additionalProperties": _reference("schemas", "JsonValue"),
}
JSON_VALUE = {
    "type": ["null", "boolean", "number", "string", "array", "object"],
    "pattern": TEXT_PATTERN,
    "items": _reference("schemas", "JsonValue"),
    **JSON_OBJECT,
}
EVENTS: dict[str, Any] = {
    "message": _reference("schemas", "Message"),
    "delta": {"type": "object", "required": ["content"], "properties": {"content": {"type": "string"}}},
    "done": {"type": "object", "maxProperties": 0},
    "error": _reference("schemas", "Error"),
}
STREAMS = {
    "text/event-stream": {
        "description": "Each event. If they take long, comments are sent between them.",
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

# Parameters and headers ------------------------------------------------------------------------


def _header(description: str, **schema: str) -> tuple[str, dict[str, Any]]:
    return "header", {"description": description, "schema": {"type": "string"} | schema}


PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "session_id": ("path", {"schema": {"type": "string", "format": "uuid", "pattern": ID_PATTERN}}),
    "name": ("path", {"schema": {"type": "string", "pattern": r"^[A-Za-z0-9_.-]{1,64}$"}}),
    "If-None-Match": _header("The `ETag` of the response that the client has."),
    "If-Match": _header("The `ETag` of the session as the client knows it; never a weak one."),
    cookies.PAGE_HEADER: _header("`page`: take the cookie, for a page of this service."),
    "Idempotency-Key": _header(
        "Within a day, requests with the same key and body do their work once.",
        pattern=r"^[!-~]([ -~]{0,253}[!-~])?$",  # blanks at the ends are no part of a header's value
    ),
}
TEXT_HEADER = {"type": "string", "minLength": 1}
RESPONSE_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {"description": "The client's own id, or a new one.", "required": True, "schema": TEXT_HEADER},
    "ETag": {
        "description": "The state of the session in this representation.",
        "required": True,
        "schema": TEXT_HEADER,
    },
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "pattern": "^Bearer"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
}
HEADERS_BY_STATUS = {304: ["ETag"], 401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}


def _headers(*names: str) -> dict[str, Any]:
    return {name: _reference("headers", name) for name in names}


# Errors ----------------------------------------------------------------------------------------

AUTHENTICATION = {"missing_token", "invalid_token", "token_expired", "token_revoked"}
# Sets of codes that have a name in the document, the larger ones first.
NAMED_ERRORS = {
    "Unauthorized": AUTHENTICATION,
    "InvalidBody": {"bad_request", "invalid_json", "validation_error"},
    "ServiceUnavailable": {"database_busy", "database_unavailable", "too_many_connections"},
    "InvalidParameter": {"bad_request", "validation_error"},
    "ChatUnavailable": {"llm_not_configured", "too_many_streams"},
}


def _error_codes(rule: Rule, spec: RouteSpec) -> list[str]:
    """Return the codes of an operation's errors: its own, and those that follow from what its requests contain."""
    codes = {"bad_request", "headers_too_large", "internal_error", "too_many_connections", *spec.errors}
    for applies, more in (
        (rule.rule.startswith("/api/"), ("database_busy", "database_unavailable", "disk_full")),
        (_needs_token(rule, spec), AUTHENTICATION),
        ("session_id" in rule.arguments, ("session_not_found",)),
        (spec.query, ("validation_error",)),
        (spec.body, ("invalid_json", "validation_error", "payload_too_large", "unsupported_media_type")),
        (isinstance(spec.body, schemas.ImportDocument), ("unsupported_version",)),
        (spec.raw_body, ("payload_too_large", "unsupported_media_type")),
        (spec.conditional == "If-Match", ("precondition_failed",)),
        (spec.idempotent, ("conflict", "validation_error")),
    ):
        codes.update(more if applies else ())
    return sorted(codes)


def _error_response_name(codes: list[str]) -> str:
    """Return the name of the response that has these codes, e.g. ``UnauthorizedOrInvalidCredentials``."""
    names, rest = [], set(codes)
    for name, named in NAMED_ERRORS.items():
        if rest >= named:
            names.append(name)
            rest -= named
    return "Or".join(names + [code.title().replace("_", "") for code in sorted(rest)])


def _add_error_response(components: Components, status: int, codes: list[str]) -> str:
    """Add the response for these codes of a status unless it is there, and return its name."""
    name = _error_response_name(codes)
    if name not in components.responses:
        schema = {"allOf": [schemas.Error], "properties": {"error": {"enum": codes}}}
        components.response(name, _without_content(status) | {"content": _json(schema)})
    return name


def _without_content(status: int) -> dict[str, Any]:
    headers = _headers("X-Request-Id", *HEADERS_BY_STATUS.get(status, ()))
    return {"description": errors.DESCRIPTION_BY_STATUS[status], "headers": headers}


def _needs_token(rule: Rule, spec: RouteSpec) -> bool:
    return bool(spec.tokens) and rule.rule.startswith("/api/")


def _success(schema: Any) -> dict[str, Any]:
    response: dict[str, Any] = {"description": "Success.", "headers": _headers("X-Request-Id")}
    return response if schema is None else response | {"content": _json(schema)}


def _json(schema: Any) -> dict[str, Any]:
    return {JSON: {"schema": schema}}


def _operation(components: Components, rule: Rule, view: Any) -> dict[str, Any]:
    spec = spec_of(view)
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "summary": (view.__doc__ or "").partition("\n")[0],
        "tags": [rule.endpoint.partition(".")[0]],
        "security": [{"token": []}] * _needs_token(rule, spec) + [{"cookie": []}] * spec.cookie,
        "parameters": sorted(rule.arguments, reverse=True),
        "responses": {str(spec.status): _success(spec.response)},
    }
    parameters, responses = operation["parameters"], operation["responses"]
    if spec.other_types:
        response = responses.setdefault("200", _success(None))
        response.setdefault("content", {}).update(
            {media_type: {"schema": STREAMS.get(media_type, {"type": "string"})} for media_type in spec.other_types}
        )
    if spec.other_response:
        schema, status = spec.other_response
        responses[str(status)] = _success(schema)
    if spec.query:
        parameters.append({"in": "query", "schema": spec.query})
    if spec.body:
        body = {"anyOf": [spec.body, {"type": "null"}]} if spec.body_nullable else spec.body
        operation["requestBody"] = {"required": spec.body_required, "content": _json(body)}
    if spec.raw_body:
        # Its items are validated one by one, and the report has the errors of each.
        content = {kind: {"schema": {} if kind == JSON else {"type": "string"}} for kind in spec.raw_body}
        operation["requestBody"] = {"required": True, "content": content}
    if spec.conditional:
        parameters.append(spec.conditional)
        if spec.response:
            responses[str(spec.status)]["headers"] |= _headers("ETag")
        if spec.conditional == "If-None-Match":
            responses["304"] = "NotModified"
    if spec.idempotent:
        parameters.append("Idempotency-Key")
    if spec.cookie:
        parameters.append(cookies.PAGE_HEADER)
    by_status: dict[int, list[str]] = {}
    for code in _error_codes(rule, spec):
        by_status.setdefault(errors.STATUS_BY_CODE[code], []).append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = _add_error_response(components, status, codes)
    return operation


def build(app: Flask) -> dict[str, Any]:
    """Return the description of an app's routes."""
    marshmallow = MarshmallowPlugin(schema_name_resolver=_schema_name)
    spec = APISpec("Parley", VERSION, "3.1.0", info={"description": DESCRIPTION}, plugins=[marshmallow])
    converter: Any = marshmallow.converter
    converter.map_to_openapi_type(fields.JsonObject, "object", None)
    converter.map_to_openapi_type(fields.MessageList, "array", None)
    converter.add_attribute_function(_attributes)
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    spec.components.security_scheme("cookie", {"type": "apiKey", "in": "cookie", "name": cookies.NAME})
    spec.components.schema("JsonValue", JSON_VALUE)
    spec.components.response("NotModified", _without_content(304))
    for name, (location, parameter) in PARAMETERS.items():
        spec.components.parameter(name, location, parameter)
    for name, header in RESPONSE_HEADERS.items():
        spec.components.header(name, header)
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        if spec_of(view).has_response:
            methods = sorted(METHODS & (rule.methods or set()))
            operations = {method.lower(): _operation(spec.components, rule, view) for method in methods}
            spec.path(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), operations=operations)
    document: dict[str, Any] = spec.to_dict()
    for name, schema in document["components"]["schemas"].items():
        if not issubclass(getattr(schemas, name, schemas.RequestSchema), schemas.RequestSchema):
            schema["additionalProperties"] = False  # the keys of a response are a contract
        schema |= getattr(getattr(schemas, name, None), "json_schema", {})
        for attribute in schema.get("properties", {}).values():
            attribute.pop("default", None)  # of what is loaded; a client need not know it
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter.get("in") == "query":
                    _describe_as_text(parameter["schema"])
    return document


def _schema_name(schema: Any) -> str:
    return schema.__name__ if isinstance(schema, type) else type(schema).__name__


def _attributes(self: Any, field: Any, ret: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Return what the description of one of our fields has in addition to its type and its validators."""
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


def _describe_as_text(schema: dict[str, Any]) -> None:
    """Change the schema of a query parameter to what can be sent: text, and no null if it is absent."""
    if isinstance(schema["type"], list):
        (schema["type"],) = set(schema["type"]) - {"null"}
    if schema.get("default", ...) is None:
        del schema["default"]
    if schema["type"] == "boolean":
        spellings = {str(spelling) for spelling in fields.Boolean.truthy | fields.Boolean.falsy}
        schema |= {"type": "string", "enum": sorted(spellings), "default": str(schema["default"]).lower()}


def write() -> None:
    """Write the description of the current app to the file that is served."""
    OPENAPI_FILE.write_text(json.dumps(build(current_app), indent=2, ensure_ascii=False) + "\n")
