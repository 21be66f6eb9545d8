"""Conditional requests (RFC 9110, section 13): what a client has already, and what must not have changed.

Whatever a session's responses depend on changes its ``updated_at``, strictly forwards: so that is its etag.
"""

from __future__ import annotations

from typing import Any

from flask import Response, abort, request

from errors import ApiError

REPRESENTATION_VERSION = 2  # to be raised with a change of what a response looks like
WEAK = {"export", "markdown"}  # they say when they were made: no two are the same bytes


def etag(kind: str, session: dict[str, Any]) -> str:
    """Return the entity tag of a session in one of its representations: a strong one, if it stands for bytes."""
    return f'{"W/" if kind in WEAK else ""}"{_opaque_tag(kind, session)}"'


def _opaque_tag(kind: str, session: dict[str, Any]) -> str:
    return f"{kind}{REPRESENTATION_VERSION}-{session['updated_at']}"


def with_etag(session: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a session as the payload of a response, with the header that has its etag."""
    return session, {"ETag": etag("session", session)}


def check_if_none_match(kind: str, session: dict[str, Any]) -> dict[str, str]:
    """Return the header with the etag of this representation; respond 304 if the client has it already."""
    headers = {"ETag": etag(kind, session)}
    if request.if_none_match.contains_weak(_opaque_tag(kind, session)):
        abort(Response(status=304, headers=headers))
    return headers


def check_if_match(session: dict[str, Any]) -> None:
    """Refuse a request that is meant for another state of the session than this one.

    Raises:
        ApiError: ``precondition_failed``.

    """
    if "If-Match" in request.headers and not request.if_match.contains(_opaque_tag("session", session)):
        raise ApiError("precondition_failed")
