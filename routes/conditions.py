"""Conditional requests (RFC 9110, section 13): what a client knows already, and what must not have moved on.

All that a session's answers depend on moves its ``updated_at``, strictly forwards: so that is the tag.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import g, request

from errors import ApiError, NotModified

FORMAT = 2  # to be raised with a change of what an answer looks like
WEAK = {"export", "markdown"}  # they say when they were made: no two are the same bytes


def tag(kind: str, session: dict[str, Any]) -> str:
    """Return the entity tag of a session, in one of its representations: a strong one, if it stands for bytes."""
    return f'{"W/" if kind in WEAK else ""}"{_opaque(kind, session)}"'


def _opaque(kind: str, session: dict[str, Any]) -> str:
    return f"{kind}{FORMAT}-{session['updated_at']}"


def tagged(session: dict[str, Any]) -> dict[str, Any]:
    """Let the answer, which is this session, say its tag."""
    g.headers["ETag"] = tag("session", session)
    return session


def unless_known(kind: str) -> Callable[[dict[str, Any]], None]:
    """Return what is to be told of the session before its answer is built: it may end the request with 304."""

    def look(session: dict[str, Any]) -> None:
        g.headers["ETag"] = tag(kind, session)
        if request.if_none_match.contains_weak(_opaque(kind, session)):
            raise NotModified

    return look


def unmoved(session: dict[str, Any]) -> None:
    """Raise ``precondition_failed`` where the request is for another state of the session than this one."""
    if "If-Match" in request.headers and not request.if_match.contains(_opaque("session", session)):
        raise ApiError("precondition_failed")
