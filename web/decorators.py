"""The decorators of views: what a request contains, what its response is, where it runs, and which errors it has.

A decorator that passes something to the view prepends it to the view's arguments.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import chain
from typing import IO, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

import orjson
from flask import Response, current_app, g, request
from marshmallow import Schema, ValidationError

import jsonstream
from errors import STATUS_BY_CODE, ApiError
from json_values import parse_json
from web.spec import LOOP, POOLS, WRITER, View, annotate

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Loaded = dict[str, Any]


class Decorator(Protocol):
    """A decorator that returns the view that it gets."""

    def __call__(self, view: View, /) -> View:
        """Return the view, annotated."""


ABSENT = object()
"""Instead of the value of a body that was not sent."""

# Of a body that is parsed in one go, which takes 20 ms and blocks all other threads. A message has ten.
MAX_VALUES = 100_000


def body(
    schema: type[Schema],
    *,
    required: bool = True,
    absent: Loaded | None = None,
    limit: str = "PARLEY_MAX_BODY_BYTES",
) -> Callable[[Callable[Concatenate[Loaded, Arguments], Result]], Callable[Arguments, Result]]:
    """Load the request's JSON body through a schema and pass it to the view.

    If it is not ``required``, an absent body and ``null`` stand for an empty object. With ``absent``, an absent body
    stands for that, and ``null`` is wrong. ``limit`` is the setting that has its maximum size in bytes.
    """
    loader = schema()
    nullable = absent is None and not required

    def decorate(view: Callable[Concatenate[Loaded, Arguments], Result]) -> Callable[Arguments, Result]:
        @wraps(view)
        def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            document = read_json(current_app.config[limit], getattr(loader, "compact", None))
            if document is ABSENT and absent is not None:
                return view(dict(absent), *args, **kwargs)
            if document in (ABSENT, None):
                document = {} if nullable else None
            return view(_load(loader, document), *args, **kwargs)

        is_required = required and absent is None
        return annotate(wrapper, body=loader, body_required=is_required, body_nullable=nullable, body_limit=limit)

    return decorate


def query(
    schema: type[Schema],
) -> Callable[[Callable[Concatenate[Loaded, Arguments], Result]], Callable[Arguments, Result]]:
    """Load the request's query parameters through a schema and pass them to the view."""
    loader = schema()
    defaults = loader.load({})

    def decorate(view: Callable[Concatenate[Loaded, Arguments], Result]) -> Callable[Arguments, Result]:
        @wraps(view)
        def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            return view(_load(loader, request.args) if request.query_string else defaults, *args, **kwargs)

        return annotate(wrapper, query=loader)

    return decorate


def _load(loader: Schema, data: Any) -> Loaded:
    try:
        loaded: Loaded = loader.load(data)
    except ValidationError as error:
        raise ApiError("validation_error", error.messages) from None
    return loaded


def raw_body(
    *media_types: str, limit: str
) -> Callable[[Callable[Concatenate[IO[bytes], Arguments], Result]], Callable[Arguments, Result]]:
    """Pass the request's body, which must have one of these media types, to the view as a file of bytes."""

    def decorate(view: Callable[Concatenate[IO[bytes], Arguments], Result]) -> Callable[Arguments, Result]:
        @wraps(view)
        def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            if (request.content_length or 0) > current_app.config[limit]:
                raise ApiError("payload_too_large")
            if request.mimetype not in media_types:
                raise unsupported_media_type(*media_types)
            return view(request.stream, *args, **kwargs)

        return annotate(wrapper, raw_body=media_types, body_limit=limit)

    return decorate


def read_json(limit: int, compact: jsonstream.Compact | None = None) -> Any:
    """Return the request's body parsed, ABSENT if there is none; ``compact`` as in jsonstream.

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


def _parse_small(raw: bytes, limit_values: bool) -> Any:
    """Return the value of a body that is in memory, after counting its values if they are limited."""
    if limit_values and len(raw) > MAX_VALUES:
        jsonstream.check_values(raw, MAX_VALUES)
    return parse_json(raw)


def _parse(body: bytes | IO[bytes], size: int, limit: int, parse: Callable[[], Any]) -> Any:
    """Check a body and return what ``parse`` does; for a request with a key, store the body's digest."""
    if "Idempotency-Key" in request.headers:
        file = io.BytesIO(body) if isinstance(body, bytes) else body
        file.seek(0)
        g.body_digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # has what it needs
    if not size:
        return ABSENT
    if size > limit:
        raise ApiError("payload_too_large")
    if not request.is_json:
        raise unsupported_media_type("application/json")
    try:
        return parse()
    except ValueError:
        raise ApiError("invalid_json") from None


def unsupported_media_type(*accepted: str) -> ApiError:
    """Return the error for a body that has none of the accepted media types."""
    return ApiError("unsupported_media_type", {"Content-Type": [f"Must be one of: {', '.join(accepted)}."]})


Payload = object
"""Of a response: bytes, an iterator of bytes, or what orjson can write."""


def response(
    schema: type[Schema] | None, status: int = 200, *other_types: str
) -> Callable[[Callable[Arguments, Payload]], Callable[Arguments, Response]]:
    """Send what the view returns: an object as JSON, bytes as they are, an iterator of bytes as a stream.

    The view may also return a pair of that and of headers, or a Response. ``other_types`` are the media types that the
    response may have instead of JSON, with status 200.
    """

    def decorate(view: Callable[Arguments, Payload]) -> Callable[Arguments, Response]:
        @wraps(view)
        def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Response:
            result = view(*args, **kwargs)
            if isinstance(result, Response):
                return result
            payload, headers = result if isinstance(result, tuple) else (result, {})
            if schema is None:
                return Response(status=status, headers=headers)
            content = payload if "Content-Type" in headers else _json_line(payload)
            response = Response(content, status, mimetype="application/json")
            response.headers.update(headers)
            return response

        return annotate(wrapper, has_response=True, response=schema, status=status, other_types=other_types)

    return decorate


def _json_line(payload: Payload) -> bytes | Iterator[bytes]:
    """Return a payload as JSON with a line break at its end, so that a terminal's prompt gets its own line."""
    if isinstance(payload, bytes):
        return payload + b"\n"
    if isinstance(payload, Iterator):
        return chain(payload, (b"\n",))
    return orjson.dumps(payload, option=orjson.OPT_APPEND_NEWLINE)


def other_response(schema: type[Schema], status: int) -> Decorator:
    """Declare what a view may return instead of its usual response, and with which status."""
    return lambda view: annotate(view, other_response=(schema, status))


def errors(*codes: str) -> Decorator:
    """Declare the codes of a view's errors, besides those that follow from its route.

    Raises:
        ValueError: there is no such code.

    """
    if unknown := set(codes) - set(STATUS_BY_CODE):
        raise ValueError(f"no such codes in errors.STATUS_BY_CODE: {unknown}")
    return lambda view: annotate(view, errors=codes)


def conditional(header: str) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Declare the header of conditional requests that a view supports: ``If-Match`` or ``If-None-Match``.

    It is parsed before the view opens a transaction: a long one takes 30 ms.
    """

    def decorate(view: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @wraps(view)
        def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            _ = request.if_match if header == "If-Match" else request.if_none_match
            return view(*args, **kwargs)

        return annotate(wrapper, conditional=header)

    return decorate


@overload
def inline(view: View) -> View: ...
@overload
def inline(*, unless: tuple[str, ...] = (), uses_database: bool = True) -> Decorator: ...


def inline(view: View | None = None, *, unless: tuple[str, ...] = (), uses_database: bool = True) -> View | Decorator:
    """Run a view in the event loop itself: all other requests wait until it returns.

    It must take a few milliseconds at most, however much the user has. With any of the query parameters in ``unless``
    it runs in the background. One that ``uses_database`` runs in a thread if the database is not near.
    """
    decorate = _runs_in(LOOP, unless, uses_database)
    return decorate if view is None else decorate(view)


def batched(view: View) -> View:
    """Run a view in the write batcher, in one transaction with others; it must be as quick as an ``inline`` one.

    If the database is not near it runs in a thread, by itself.
    """
    return _runs_in(WRITER)(view)


def runs_in(pool: str) -> Decorator:
    """Run a view that waits for something in a pool of threads of its own; unmarked views run in ``background``.

    Raises:
        ValueError: there is no such pool.

    """
    if pool not in POOLS:
        raise ValueError(f"no such pool: {pool}")
    return _runs_in(pool)


def _runs_in(place: str, unless: tuple[str, ...] = (), uses_database: bool = True) -> Decorator:
    return lambda view: annotate(view, runs_in=place, unless=frozenset(unless), uses_database=uses_database)
