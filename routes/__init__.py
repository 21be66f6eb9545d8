"""The blueprints, and what their handlers have in common: bodies and parameters in, JSON out."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import chain
from typing import Any, cast

import orjson
from flask import Flask, Response, current_app, g, request
from marshmallow import Schema, ValidationError
from werkzeug.routing import BaseConverter

import jsonstream
from errors import ApiError, HandOver

View = Callable[..., Any]

# Of a body that is parsed in one go: 20 ms, in which nobody else has the interpreter; a message has ten.
MOST_VALUES = 100_000


def body(
    schema: type[Schema], *, required: bool = True, limit: str = "PARLEY_MAX_BODY_BYTES"
) -> Callable[[View], View]:
    """Load the request's JSON body through a schema and pass it as the handler's next argument.

    Where it is not ``required``, none and ``null`` stand for an empty object. ``limit`` is the
    setting that says how many bytes it may have.
    """
    loader = schema()

    def decorate(view: View) -> View:
        @wraps(view)
        def handler(*loaded: Any, **arguments: Any) -> Any:
            document = read_json(current_app.config[limit], getattr(loader, "compact", None))
            if document is None and not required:
                document = {}
            try:
                data = loader.load(document)
            except ValidationError as error:
                raise ApiError("validation_error", error.messages) from None
            return view(*loaded, data, **arguments)

        handler.body, handler.body_required = loader, required  # type: ignore[attr-defined]  # for openapi.py
        handler.limit = limit  # type: ignore[attr-defined]  # for the server
        return handler

    return decorate


def query(schema: type[Schema]) -> Callable[[View], View]:
    """Load the request's query parameters through a schema and pass them as the handler's next argument."""
    loader = schema()
    defaults = loader.load({})

    def decorate(view: View) -> View:
        @wraps(view)
        def handler(*loaded: Any, **arguments: Any) -> Any:
            try:
                data = loader.load(request.args) if request.query_string else defaults
            except ValidationError as error:
                raise ApiError("validation_error", error.messages) from None
            return view(*loaded, data, **arguments)

        handler.query = loader  # type: ignore[attr-defined]  # for openapi.py
        return handler

    return decorate


def reads(*types: str, limit: str) -> Callable[[View], View]:
    """Pass the request's body, which must be of one of these types, to the handler as a file of bytes."""

    def decorate(view: View) -> View:
        @wraps(view)
        def handler(*loaded: Any, **arguments: Any) -> Any:
            if (request.content_length or 0) > current_app.config[limit]:
                raise ApiError("payload_too_large")
            if request.mimetype not in types:
                raise ApiError("unsupported_media_type")
            return view(*loaded, request.stream, **arguments)

        handler.reads = types  # type: ignore[attr-defined]  # for openapi.py
        handler.limit = limit  # type: ignore[attr-defined]  # for the server
        return handler

    return decorate


def read_json(limit: int, compact: jsonstream.Compact | None = None) -> Any:
    """Return the request's body parsed, None where there is none; ``compact`` as in jsonstream.

    Raises:
        ApiError: ``payload_too_large``, ``unsupported_media_type``, ``invalid_json``, or ``validation_error``
            if it has too many values.

    """
    if (request.content_length or 0) > limit:
        raise ApiError("payload_too_large")
    large = (request.content_length or 0) > jsonstream.LARGE_BYTES
    with jsonstream.seekable(request.stream if large else io.BytesIO(request.get_data(cache=False))) as raw:
        if "Idempotency-Key" in request.headers:
            g.body_digest = hashlib.file_digest(raw, "sha256").digest()  # type: ignore[arg-type]  # has what it needs
        size = raw.seek(0, io.SEEK_END)
        if not size:
            return None
        if size > limit:
            raise ApiError("payload_too_large")
        if not request.is_json:
            raise ApiError("unsupported_media_type")
        if size > MOST_VALUES and not large and compact is None:
            raw.seek(0)
            jsonstream.check_values(raw.read(), MOST_VALUES)
        try:
            return jsonstream.load(raw, compact)
        except ValueError:
            raise ApiError("invalid_json") from None


def returns(schema: type[Schema] | None, status: int = 200, *other_types: str) -> Callable[[View], View]:
    """Send what the handler returns: an object as JSON, bytes as they are, an iterator as a stream.

    It may put headers of the answer into ``g.headers``, or return a response of its own; ``other_types``
    are those that the answer may have beside JSON, with status 200.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def handler(*arguments: Any, **named: Any) -> Response:
            g.headers = {}
            result = view(*arguments, **named)
            if isinstance(result, Response):
                return result
            if schema is None:
                return Response(status=status)
            response = Response(_content(result), status, mimetype="application/json")
            response.headers.update(g.headers)
            return response

        handler.returned, handler.status, handler.other_types = schema, status, other_types  # type: ignore[attr-defined]
        return handler

    return decorate


def _content(result: Any) -> bytes | Iterator[bytes]:
    """Return what a view has made as it is sent. JSON ends its line, so that a terminal's prompt gets its own."""
    if "Content-Type" in g.headers:  # of bytes that are not JSON
        return cast(bytes | Iterator[bytes], result)
    if isinstance(result, bytes):
        return result + b"\n"
    if isinstance(result, Iterator):
        return chain(result, (b"\n",))
    return orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE)


def may_return(schema: type[Schema], status: int) -> Callable[[View], View]:
    """Say what else a view may return than its usual answer, and with which status."""

    def mark(view: View) -> View:
        view.alternative = (schema, status)  # type: ignore[attr-defined]  # for openapi.py
        return view

    return mark


def refuses(*statuses: int) -> Callable[[View], View]:
    """Say with which statuses a view may refuse, beside those that follow from its route."""

    def mark(view: View) -> View:
        view.refusals = statuses  # type: ignore[attr-defined]  # for openapi.py
        return view

    return mark


def take_time() -> None:
    """Go on only where this keeps nobody else waiting: in the loop or in a group of writes, start again in a pool.

    To be called before anything is done. What the request has in a transaction of its own is undone, and
    it waits without the group's: that commits first.
    """
    if not request.environ.get("parley.may_wait", True):
        raise HandOver


def waits_in(pool: str) -> Callable[[View], View]:
    """Mark a view that takes long or waits for something: the server gives it a thread of this pool of its own."""

    def mark(view: View) -> View:
        view.pool = pool  # type: ignore[attr-defined]  # for server.py
        return view

    return mark


class SessionIdConverter(BaseConverter):
    """A session's id at the end of a path. What is a path of its own there takes other methods, and says so."""

    regex = r"(?!import\Z)[^/]+"


def set_headers(response: Response) -> Response:
    """Say who may keep an answer; where it has no content it has no type either."""
    headers = response.headers
    if request.path.startswith("/api/") and "Cache-Control" not in headers:
        headers.add("Cache-Control", "private, no-cache" if "ETag" in headers else "no-store")
    if response.status_code == 204:
        del headers["Content-Type"]
    return response


def init_app(app: Flask) -> None:
    """Register the blueprints."""
    from routes import actions, auth, chat, docs, operations, retries, sessions, transfer

    app.url_map.converters["session"] = SessionIdConverter
    app.after_request(set_headers)
    retries.init_app(app)
    for module in (auth, sessions, chat, actions, transfer, operations, docs):
        app.register_blueprint(module.blueprint)
