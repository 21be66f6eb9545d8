"""What the decorators of a view declare about it, in one place: for the server, ``auth`` and ``openapi``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from marshmallow import Schema

View = TypeVar("View", bound=Callable[..., object])

ACCESS, REFRESH = "access", "refresh"
LOOP, WRITER, DATABASE, BACKGROUND = "loop", "writer", "database", "background"
POOLS = (BACKGROUND, "chat", "webhook", "login", "transfer")


@dataclass(frozen=True)
class RouteSpec:
    """All that is known about a view besides its rule and its docstring."""

    tokens: tuple[str, ...] = (ACCESS,)
    """The types of token that it accepts; none if it is public."""

    cookie: bool = False
    """Whether it takes the refresh token from the cookie, too, if the request has no ``Authorization``."""

    runs_in: str = BACKGROUND
    """The event loop, the write batcher, or a pool of threads."""
    uses_database: bool = True
    """Whether it does. If the database is not near, such a view never runs in the loop or the batcher."""
    unless: frozenset[str] = frozenset()
    """Query parameters with any of which it runs in the background instead."""

    query: Schema | None = None
    body: Schema | None = None
    body_required: bool = True
    body_nullable: bool = False
    body_limit: str = "PARLEY_MAX_BODY_BYTES"
    """The setting that has the maximum size of the body."""
    raw_body: tuple[str, ...] = ()
    """The media types of a body that it reads as a file."""

    has_response: bool = False
    """Whether it is part of the API, and so of its description."""
    response: type[Schema] | None = None
    status: int = 200
    other_types: tuple[str, ...] = ()
    """Media types that the response may have instead of JSON, with status 200."""
    other_response: tuple[type[Schema], int] | None = None
    errors: tuple[str, ...] = ()
    """Codes of errors besides those that follow from the rest."""
    conditional: str | None = None
    """The header of conditional requests that it supports: If-Match or If-None-Match."""
    idempotent: bool = False
    """Whether it supports an Idempotency-Key."""


_DEFAULT = RouteSpec()


def spec_of(view: Callable[..., object] | None) -> RouteSpec:
    """Return what is known about a view; the defaults if it has no decorators."""
    return getattr(view, "spec", _DEFAULT)


def annotate(view: View, **changes: Any) -> View:
    """Change fields of a view's spec, and return the view; ``functools.wraps`` copies the spec to wrappers."""
    view.spec = replace(spec_of(view), **changes)  # type: ignore[attr-defined]  # functions take any attribute
    return view
