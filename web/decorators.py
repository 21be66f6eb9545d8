"""The decorators of handlers: what comes in and goes out, where a view runs, and which errors it has."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import chain
from typing import IO, Any, TypeVar

import orjson
from flask import Response, current_app, g, request
from marshmallow import Schema, ValidationError

import jsonstream
from errors import STATUS_BY_CODE, ApiError
from json_values import parse_json
from web.spec import LOOP, POOLS, WRITER, annotate

View = TypeVar("View", bound=Callable[..., Any])
Decorator = Callable[[View], View]

# Of a body that is parsed in one go: 20 ms, in which nobody else has the interpreter; a message has ten.
MAX_VALUES = 100_000


def body(schema: type[Schema], *, required: bool = True, limit: str = "PARLEY_MAX_BODY_BYTES") -> Callable[..., Any]:
    """Load the request's JSON body through a schema and pass it as the handler's next argument.

    If it is not ``required``, none and ``null`` stand for an empty object. ``limit`` is the setting
    that says how many bytes it may have.
    """
    loader = schema()

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
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

        return annotate(handler, body=loader, body_required=required, body_limit=limit)

    return decorate


def query(schema: type[Schema]) -> Callable[..., Any]:
    """Load the request's query parameters through a schema and pass them as the handler's next argument."""
    loader = schema()
    defaults = loader.load({})

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def handler(*loaded: Any, **arguments: Any) -> Any:
            try:
                data = loader.load(request.args) if request.query_string else defaults
            except ValidationError as error:
                raise ApiError("validation_error", error.messages) from None
            return view(*loaded, data, **arguments)

        return annotate(handler, query=loader)

    return decorate


def raw_body(*types: str, limit: str) -> Callable[..., Any]:
    """Pass the request's body, which must be of one of these types, to the handler as a file of bytes."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def handler(*loaded: Any, **arguments: Any) -> Any:
            if (request.content_length or 0) > current_app.config[limit]:
                raise ApiError("payload_too_large")
            if request.mimetype not in types:
                raise ApiError("unsupported_media_type")
            return view(*loaded, request.stream, **arguments)

        return annotate(handler, raw_body=types, body_limit=limit)

    return decorate


def read_json(limit: int, compact: jsonstream.Compact | None = None) -> Any:
    """Return the request's body parsed, None if there is none; ``compact`` as in jsonstream.

    Raises:
        ApiError: ``payload_too_large``, ``unsupported_media_type``, ``invalid_json``, or ``validation_error``
            if it has too many values.

    """
    length = request.content_length or 0
    if length > limit:
        raise ApiError("payload_too_large")
    if length > jsonstream.LARGE_BYTES:
        with jsonstream.seekable(request.stream) as file:
            return _parse(file, file.seek(0, io.SEEK_END), limit, lambda: jsonstream.load(file, compact))
    raw = request.get_data(cache=False)
    return _parse(raw, len(raw), limit, lambda: _parse_small(raw, compact is None))


def _parse_small(raw: bytes, has_limit: bool) -> Any:
    if has_limit and len(raw) > MAX_VALUES:
        jsonstream.check_values(raw, MAX_VALUES)
    return parse_json(raw)


def _parse(body: bytes | IO[bytes], size: int, limit: int, parse: Callable[[], Any]) -> Any:
    if "Idempotency-Key" in request.headers:
        file = io.BytesIO(body) if isinstance(body, bytes) else body
        g.body_digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # has what it needs
    if not size:
        return None
    if size > limit:
        raise ApiError("payload_too_large")
    if not request.is_json:
        raise ApiError("unsupported_media_type")
    try:
        return parse()
    except ValueError:
        raise ApiError("invalid_json") from None


def response(schema: type[Schema] | None, status: int = 200, *other_types: str) -> Callable[..., Any]:
    """Send what the handler returns: an object as JSON, bytes as they are, an iterator as a stream.

    It may return a pair of that and of headers, or a response of its own; ``other_types`` are those
    that the response may have beside JSON, with status 200.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def handler(*arguments: Any, **named: Any) -> Response:
            result = view(*arguments, **named)
            if isinstance(result, Response):
                return result
            if schema is None:
                return Response(status=status)
            payload, headers = result if isinstance(result, tuple) else (result, {})
            content = payload if "Content-Type" in headers else _json_line(payload)
            made = Response(content, status, mimetype="application/json")
            made.headers.update(headers)
            return made

        return annotate(handler, has_response=True, response=schema, status=status, other_types=other_types)

    return decorate


def _json_line(payload: Any) -> bytes | Iterator[bytes]:
    """Return a payload as JSON that ends its line, so that a terminal's prompt gets its own."""
    if isinstance(payload, bytes):
        return payload + b"\n"
    if isinstance(payload, Iterator):
        return chain(payload, (b"\n",))
    return orjson.dumps(payload, option=orjson.OPT_APPEND_NEWLINE)


def other_response(schema: type[Schema], status: int) -> Decorator[View]:
    """Say what else a view may return than its usual response, and with which status."""
    return lambda view: annotate(view, other_response=(schema, status))


def errors(*codes: str) -> Decorator[View]:
    """Say with which codes a view may fail, beside those that follow from its route.

    Raises:
        KeyError: there is no such code.

    """
    for code in codes:
        STATUS_BY_CODE[code]
    return lambda view: annotate(view, errors=codes)


def conditional(header: str) -> Decorator[View]:
    """Say which header of conditional requests a view heeds: ``If-Match`` or ``If-None-Match``."""
    return lambda view: annotate(view, conditional=header)


def inline(view: View | None = None, *, unless: tuple[str, ...] = ()) -> Any:
    """Run a view in the event loop itself, where it must be done in a few milliseconds, whatever the user has.

    Everybody else waits for it. With a query parameter of those in ``unless`` it runs in the background.
    """
    if view is None:
        return lambda view: inline(view, unless=unless)
    return annotate(view, runs_in=LOOP, unless=frozenset(unless))


def batched(view: View) -> View:
    """Run a view in the write batcher: in one transaction with others, where it must be as quick as ``inline``."""
    return annotate(view, runs_in=WRITER)


def runs_in(pool: str) -> Decorator[View]:
    """Run a view that waits for something in a pool of threads of its own; unmarked ones run in ``background``."""
    if pool not in POOLS:
        raise ValueError(f"no such pool: {pool}")
    return lambda view: annotate(view, runs_in=pool)
