"""What the decorators of a view say about it, in one place: for the server, for ``auth``, for ``openapi``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from marshmallow import Schema

View = TypeVar("View", bound=Callable[..., Any])

ACCESS, REFRESH = "access", "refresh"
LOOP, WRITER, BACKGROUND = "loop", "writer", "background"
POOLS = (BACKGROUND, "chat", "webhook", "login", "transfer")


@dataclass(frozen=True)
class RouteSpec:
    """All that is known about a view beside its rule and its docstring."""

    tokens: tuple[str, ...] = (ACCESS,)
    """The types of token it accepts; none means that it is public."""

    runs_in: str = BACKGROUND
    """The event loop, the write batcher, or a pool of threads."""
    unless: frozenset[str] = frozenset()
    """Query parameters with any of which it runs in the background instead."""

    query: Schema | None = None
    body: Schema | None = None
    body_required: bool = True
    body_limit: str = "PARLEY_MAX_BODY_BYTES"
    """The setting that says how many bytes the body may have."""
    raw_body: tuple[str, ...] = ()
    """The types of a body that it reads as a file."""

    has_response: bool = False
    """Whether it is a part of the API, and so of its description."""
    response: type[Schema] | None = None
    status: int = 200
    other_types: tuple[str, ...] = ()
    """Types that the response may have beside JSON, with status 200."""
    other_response: tuple[type[Schema], int] | None = None
    errors: tuple[str, ...] = ()
    """Codes of errors beside those that follow from the rest."""
    conditional: str | None = None
    """The header of a conditional request that it heeds: If-Match or If-None-Match."""
    idempotent: bool = False
    """Whether it heeds an Idempotency-Key."""


def spec_of(view: Callable[..., Any] | None) -> RouteSpec:
    """Return what is known about a view; of one without decorators, what holds for all."""
    return getattr(view, "spec", _DEFAULT)


def annotate(view: View, **changes: Any) -> View:
    """Add to what is known about a view, and return it; ``functools.wraps`` hands it on to wrappers."""
    view.spec = replace(spec_of(view), **changes)  # type: ignore[attr-defined]  # the only one there is
    return view


_DEFAULT = RouteSpec()
