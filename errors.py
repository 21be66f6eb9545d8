"""One JSON shape for everything that can go wrong: ``{"error": code}``, maybe with ``details``."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import peewee
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

log = logging.getLogger("parley")

# The one table of codes. What a client may see is here, and nothing else is.
STATUS = {
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
    "method_not_allowed": 405,
    "conflict": 409,
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
    "upstream_timeout": 504,
    "disk_full": 507,
}

# What the framework and the server raise by status alone: its first code in the table.
CODE_OF_STATUS = {status: code for code, status in reversed(STATUS.items())} | {404: "not_found"}

# Seconds after which trying again may well help.
RETRY_AFTER = {"database_busy": 1, "database_unavailable": 1, "too_many_streams": 5, "too_many_connections": 5}

# SQLite's own names (https://www.sqlite.org/rescode.html), the extended ones by their beginning.
CODE_OF_SQLITE = {
    "SQLITE_FULL": "disk_full",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "token_revoked",  # only an owner can be gone: removed meanwhile
    "SQLITE_CONSTRAINT_NOTNULL": "token_revoked",  # a user who is being removed has no generation
    "SQLITE_CONSTRAINT_PRIMARYKEY": "conflict",  # only an Idempotency-Key is the client's own choice
    "SQLITE_BUSY": "database_busy",
    "SQLITE_LOCKED": "database_busy",
    "SQLITE_IOERR": "database_unavailable",
    "SQLITE_CANTOPEN": "database_unavailable",
    "SQLITE_READONLY": "database_unavailable",
    "SQLITE_CORRUPT": "database_unavailable",
    "SQLITE_NOTADB": "database_unavailable",
    "SQLITE_PERM": "database_unavailable",
    "SQLITE_PROTOCOL": "database_unavailable",
}


class ApiError(Exception):
    """A refusal that the client is told of: its code, and the details that help."""

    def __init__(self, code: str, details: Any = None, headers: Mapping[str, str] | None = None):
        super().__init__(code)
        self.code = code
        self.details = details
        self.headers = headers or {}


class HandOver(BaseException):  # past Flask's handlers, which catch Exception
    """A request that would keep others waiting: the server starts it again where it may take its time."""


class NotModified(Exception):
    """The client has the answer already."""


class Missing(ApiError):
    """A row that is not there, or not the caller's: the two cannot be told apart."""

    def __init__(self, thing: str):
        super().__init__(f"{thing}_not_found")


def payload(code: str, details: Any = None) -> bytes:
    """Return the JSON body of an error."""
    body = {"error": code} if details is None else {"error": code, "details": details}
    return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)  # a list's errors are keyed by index


def answer(error: ApiError) -> Response:
    """Return the response that tells the client of an error."""
    response = Response(payload(error.code, error.details), STATUS[error.code], mimetype="application/json")
    response.headers.update(error.headers)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, section 15.5.2
    if error.code in RETRY_AFTER:
        response.headers["Retry-After"] = str(RETRY_AFTER[error.code])
    return response


def from_http(error: HTTPException) -> Response:
    """Give what Flask and Werkzeug raise our shape, and keep their headers (``Allow``)."""
    if error.response is not None or error.code is None or error.code < 400:
        return Response.force_type(error.get_response())  # type: ignore[return-value]  # a redirect
    code = CODE_OF_STATUS.get(error.code, "bad_request" if error.code < 500 else "internal_error")
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    return answer(ApiError(code, headers=headers))


def from_database(error: peewee.PeeweeException | sqlite3.Error) -> Response:
    """Tell a full disk, a busy database and a missing one apart; anything else is our mistake."""
    code = database_code(error)
    if code == "internal_error":
        return from_bug(error)
    log.error("%s: %s", code, error)
    return answer(ApiError(code))


def database_code(error: BaseException) -> str:
    """Return the code for a failure of the database.

    A full disk may come as "cannot rollback", with SQLITE_FULL further down the chain of causes:
    so the whole chain is looked through.
    """
    names = {getattr(link, "sqlite_errorname", "") for link in _chain(error)}
    codes = (code for prefix, code in CODE_OF_SQLITE.items() if any(name.startswith(prefix) for name in names))
    return next(codes, "internal_error")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__, getattr(link, "orig", None)]


def from_bug(error: Exception) -> Response:
    """Log the traceback, with the request's id; tell the client nothing of it."""
    log.error("internal error", exc_info=error)
    return answer(ApiError("internal_error"))


def init_app(app: Flask) -> None:
    """Route every failure through the handlers above."""
    app.register_error_handler(ApiError, answer)
    app.register_error_handler(NotModified, lambda _: Response(status=304, headers=g.headers))
    app.register_error_handler(HTTPException, from_http)
    app.register_error_handler(peewee.PeeweeException, from_database)
    app.register_error_handler(sqlite3.Error, from_database)
    app.register_error_handler(Exception, from_bug)
