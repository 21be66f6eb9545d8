"""The blueprints, one per resource."""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.routing import BaseConverter

from routes import actions, auth, chat, docs, messages, operations, pages, sessions, transfer
from web import idempotency


class TextConverter(BaseConverter):
    """A part of a path, as it can be looked up: U+0000, which no name has, is replaced, since PostgreSQL rejects it.

    Bytes that are not UTF-8 have been replaced before.
    """

    def to_python(self, value: str) -> str:
        """Return the value that the view gets."""
        return value.replace("\0", "\ufffd")


class SessionIdConverter(TextConverter):
    """A session's id at the end of a path; not ``import``, which is a route of its own with its own methods."""

    regex = r"(?!import\Z)[^/]+"


def set_headers(response: Response) -> Response:
    """Set ``Cache-Control`` on responses of the API, and remove the type of an empty one."""
    headers = response.headers
    if request.path.startswith("/api/") and "Cache-Control" not in headers:
        headers.add("Cache-Control", "private, no-cache" if "ETag" in headers else "no-store")
    if response.status_code == 204:
        del headers["Content-Type"]
    return response


def init_app(app: Flask) -> None:
    """Register the blueprints."""
    app.url_map.converters |= {"default": TextConverter, "session": SessionIdConverter}
    app.after_request(set_headers)
    idempotency.init_app(app)
    for module in (auth, sessions, messages, chat, actions, transfer, operations, docs, pages):
        app.register_blueprint(module.blueprint)
