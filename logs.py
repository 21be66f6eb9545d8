"""Logs on stdout, as text or JSON: one line per request, and warnings and errors.

They have no tokens, no passwords and no text of users: of a request's content, only the path is logged.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from functools import partial
from typing import Any
from urllib.parse import quote

import click
import orjson
from flask import Flask, Response, g, has_request_context, request

import timestamps
from ids import new_id
from text import printable

access_log = logging.getLogger("parley.access")

_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class TextFormatter(logging.Formatter):
    """Formats a record as ``time LEVEL request-id message key=value …``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line, and its traceback indented below: nothing that is logged can forge a line."""
        entry = _entry(record, self)
        traceback = entry.pop("traceback", None)
        start = f"{entry.pop('time')} {entry.pop('level')} {entry.pop('request_id')} {entry.pop('message')}"
        line = " ".join([start, *(f"{key}={value}" for key, value in entry.items())])
        indented = (f"    {each}" for each in (traceback or "").splitlines())
        return "\n".join(map(printable, (line, *indented)))


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        return orjson.dumps(_entry(record, self)).decode()


def _entry(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    entry = {
        "time": timestamps.now(),
        "level": record.levelname,
        "request_id": g.get("request_id", "-") if has_request_context() else "-",
        "message": record.getMessage(),
        **getattr(record, "fields", {}),
    }
    if record.exc_info:
        entry["traceback"] = formatter.formatException(record.exc_info)
    return entry


def request_id(header: str | None) -> str:
    """Return the client's own id of a request if it is valid, else a new one."""
    return header if header and _VALID_REQUEST_ID.fullmatch(header) else new_id()


def start_request() -> None:
    """Before a request: start its timer and assign its id."""
    g.started_at = time.perf_counter()
    g.request_id = request_id(request.headers.get("X-Request-Id"))


def finish_request(response: Response) -> Response:
    """After a request: send its id, and log it; a streamed response is logged when it is closed."""
    response.headers["X-Request-Id"] = g.request_id
    if access_log.isEnabledFor(logging.INFO):
        fields = {
            "request_id": g.request_id,
            "method": request.method,
            "path": quote(request.path),
            "status": response.status_code,
            "ms": 0.0,
            "user_id": g.get("user_id", "-"),
        }
        if response.is_streamed:
            response.call_on_close(partial(write_access_log, fields, g.started_at))
        else:
            write_access_log(fields, g.started_at)
    return response


def write_access_log(fields: dict[str, Any], started_at: float) -> None:
    """Log a request that started at ``started_at`` of ``time.perf_counter()``."""
    fields["ms"] = round((time.perf_counter() - started_at) * 1000, 1)
    access_log.info("request", extra={"fields": fields})


def announce(message: str, log_format: str, level: int = logging.INFO) -> None:
    """Print a message that the operator must see, whatever the log level: plain, or as a line of JSON."""
    if log_format == "json":
        message = JsonFormatter().format(access_log.makeRecord("parley", level, "", 0, message, (), None))
    click.echo(message, err=level >= logging.ERROR)


def init_app(app: Flask) -> None:
    """Set up the loggers, and the log line of each request."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if app.config["PARLEY_LOG_FORMAT"] == "json" else TextFormatter())
    for name, level in (("parley", app.config["PARLEY_LOG_LEVEL"]), ("waitress", "ERROR")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level)
    app.after_request(finish_request)
