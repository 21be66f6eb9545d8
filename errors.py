"""One JSON shape for all errors: ``{"error": code}``, with ``details`` if they help."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

log = logging.getLogger("parley")

# The one table of codes: a client sees no others.
STATUS_BY_CODE = {
    "bad_request": 400,
    "invalid_json": 400,
    "validation_error": 400,
    "unsupported_version": 400,
    "missing_token": 401,
    "invalid_token": 401,
    "token_expired": 401,
    "token_revoked": 401,
    "invalid_credentials": 401,
    "not_found": 404,
    "session_not_found": 404,
    "action_not_found": 404,
    "chat_not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "refresh_raced": 409,
    "precondition_failed": 412,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "rate_limited": 429,
    "headers_too_large": 431,
    "internal_error": 500,
    "not_implemented": 501,
    "upstream_error": 502,
    "database_busy": 503,
    "database_unavailable": 503,
    "too_many_streams": 503,
    "too_many_connections": 503,
    "llm_not_configured": 503,
    "shutting_down": 503,
    "upstream_timeout": 504,
    "disk_full": 507,
}

DESCRIPTION_BY_STATUS = {
    304: "The client has the current representation.",
    400: "The body, a parameter or the request itself is not valid; `details` has the reasons by field.",
    401: "There is no valid token, or the credentials are wrong.",
    404: "The caller has no such resource.",
    409: "The request conflicts with another one or with the state of the session.",
    412: "The session has been updated since.",
    413: "The body is too large.",
    415: "The body has another media type than those in `details`.",
    429: "There were too many failures or calls. Wait as long as `Retry-After` says.",
    431: "The path, the query and the headers are too large together.",
    500: "The service has a bug.",
    502: "The model's API has failed.",
    503: "Something that is needed is busy, not available or not configured.",
    504: "The model's API has taken too long.",
    507: "The disk is full.",
}

# For errors of the framework and the server, which have a status alone: its first code in the table.
CODE_BY_STATUS = {status: code for code, status in reversed(STATUS_BY_CODE.items())} | {404: "not_found"}

# Seconds after which trying again is likely to help.
RETRY_AFTER = {"database_busy": 1, "database_unavailable": 1, "too_many_streams": 5, "too_many_connections": 5}


class ApiError(Exception):
    """An error that the client sees: its code, and details that help."""

    def __init__(self, code: str, details: Any = None, headers: Mapping[str, str] | None = None):
        super().__init__(code)
        self.code = code
        self.details = details
        self.headers = headers or {}


class NotFound(ApiError):
    """A row that does not exist or is another user's: the client cannot distinguish the two."""

    def __init__(self, resource: str):
        super().__init__(f"{resource}_not_found")


def error_body(code: str, details: Any = None) -> bytes:
    """Return the JSON body for an error."""
    body = {"error": code} if details is None else {"error": code, "details": details}
    # Errors of a list are keyed by index.
    return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)


def error_response(error: ApiError) -> Response:
    """Return the response for an error."""
    response = Response(error_body(error.code, error.details), STATUS_BY_CODE[error.code], mimetype="application/json")
    response.headers.update(error.headers)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, section 15.5.2
    if error.code in RETRY_AFTER:
        response.headers["Retry-After"] = str(RETRY_AFTER[error.code])
    return response


def handle_http_exception(error: HTTPException) -> Response:
    """Return the response for an exception of Flask or Werkzeug, with its headers (``Allow``)."""
    if error.response is not None or error.code is None or error.code < 400:
        return Response.force_type(error.get_response())  # type: ignore[return-value]  # a redirect
    code = CODE_BY_STATUS.get(error.code, "bad_request" if error.code < 500 else "internal_error")
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    return error_response(ApiError(code, headers=headers))


def handle_unexpected_error(error: Exception) -> Response:
    """Log the traceback with the request's id, and return a response that reveals nothing of it."""
    log.error("internal error", exc_info=error)
    return error_response(ApiError("internal_error"))


def init_app(app: Flask) -> None:
    """Register the handlers of all exceptions."""
    app.register_error_handler(ApiError, error_response)
    app.register_error_handler(HTTPException, handle_http_exception)
    app.register_error_handler(Exception, handle_unexpected_error)
