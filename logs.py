"""One line a request on stdout, as text or JSON, and whatever else is worth a line.

No tokens, no passwords, no text of users: of a request, the path is all that is logged.
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

access = logging.getLogger("parley.access")

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class TextFormatter(logging.Formatter):
    """``time LEVEL request-id message key=value …``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as a line, a traceback below it and indented: nothing logged can forge a line."""
        entry = _entry(record, self)
        traceback = entry.pop("traceback", None)
        head = f"{entry.pop('time')} {entry.pop('level')} {entry.pop('request_id')} {entry.pop('message')}"
        line = " ".join([head, *(f"{key}={value}" for key, value in entry.items())])
        below = (f"    {each}" for each in (traceback or "").splitlines())
        return "\n".join(map(printable, (line, *below)))


class JsonFormatter(logging.Formatter):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as a line."""
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


def request_id(given: str | None) -> str:
    """Return the client's own id of a request where it is a sane one, else a fresh one."""
    return given if given and _SANE_REQUEST_ID.fullmatch(given) else new_id()


def start_request() -> None:
    """Before a request: start its clock and give it its id."""
    g.started = time.perf_counter()
    g.request_id = request_id(request.headers.get("X-Request-Id"))


def finish_request(response: Response) -> Response:
    """After a request: tell the client the id, and log the line (of a stream, when it is over)."""
    response.headers["X-Request-Id"] = g.request_id
    if access.isEnabledFor(logging.INFO):
        fields = {
            "request_id": g.request_id,
            "method": request.method,
            "path": quote(request.path),
            "status": response.status_code,
            "ms": 0.0,
            "user_id": g.get("user_id", "-"),
        }
        if response.is_streamed:
            response.call_on_close(partial(write_access_log, fields, g.started))
        else:
            write_access_log(fields, g.started)
    return response


def write_access_log(fields: dict[str, Any], started: float) -> None:
    """Log the line of a request that began when the clock of start_request() said ``started``."""
    fields["ms"] = round((time.perf_counter() - started) * 1000, 1)
    access.info("request", extra={"fields": fields})


def announce(message: str, log_format: str, level: int = logging.INFO) -> None:
    """Write what the operator must see, whatever the log level: as it stands, or as a line of JSON."""
    if log_format == "json":
        message = JsonFormatter().format(access.makeRecord("parley", level, "", 0, message, (), None))
    click.echo(message, err=level >= logging.ERROR)


def init_app(app: Flask) -> None:
    """Send the logs where they belong, and log every request when it is over."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if app.config["PARLEY_LOG_FORMAT"] == "json" else TextFormatter())
    for name, level in (("parley", app.config["PARLEY_LOG_LEVEL"]), ("waitress", "ERROR")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level)
    app.after_request(finish_request)
