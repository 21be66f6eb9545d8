"""Conditional requests (RFC 9110, section 13): entity tags, ``If-None-Match`` and ``If-Match``.

All that a session's responses depend on moves its ``updated_at`` strictly forward, so an entity tag is that time, the
representation, and a digest of what the representation looks like, so that a new version of it has new tags.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Response, abort, g, request
from marshmallow import Schema, fields

import schemas
from errors import ApiError
from store import sessions
from version import VERSION

Document = TypeVar("Document")

WEAK = {"export", "markdown"}  # they contain the time of the request: no two are the same bytes


def representation_digest(schema: type[Schema]) -> str:
    """Return a digest of the JSON that a schema describes: its keys in their order, their types, which may be null."""
    return hashlib.sha256(repr(_shape(schema())).encode()).hexdigest()[:8]


def _shape(schema: Schema | fields.Field[Any]) -> object:
    match schema:
        case Schema():
            return [
                (field.data_key or name, field.required, field.allow_none, _shape(field))
                for name, field in schema.fields.items()
            ]
        case fields.Nested():
            return _shape(schema.schema)
        case fields.List():
            return [_shape(schema.inner)]
        case _:
            return type(schema).__name__


REPRESENTATIONS = {
    "session": representation_digest(schemas.SessionWithMessages),
    "export": representation_digest(schemas.ExportDocument),
    "markdown": VERSION,  # no schema describes it: each release may write it differently
}


def etag(representation: str, session: dict[str, Any]) -> str:
    """Return the entity tag of a session in one of its representations: a strong one, if it stands for bytes."""
    return f'{"W/" if representation in WEAK else ""}"{_opaque_tag(representation, session)}"'


def _opaque_tag(representation: str, session: dict[str, Any]) -> str:
    return f"{representation}-{REPRESENTATIONS[representation]}-{session['updated_at']}"


def with_etag(session: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a session as the payload of a response, with its ``ETag`` header."""
    return session, {"ETag": etag("session", session)}


def check_if_none_match(representation: str, session: dict[str, Any]) -> dict[str, str]:
    """Return the ``ETag`` header of this representation; respond 304 if the client has it already."""
    headers = {"ETag": etag(representation, session)}
    if request.if_none_match.contains_weak(_opaque_tag(representation, session)):
        abort(Response(status=304, headers=headers))
    return headers


def read_document(
    representation: str, session_id: str, read: Callable[[str, str], tuple[dict[str, Any], Document]]
) -> tuple[Document, dict[str, str]]:
    """Return a document of a session and its ``ETag`` header; respond 304 if the client has it already.

    ``read`` returns a session of a user, and its document. It is not called for a 304.

    Raises:
        NotFound: the caller has no such session.

    """
    if request.if_none_match:
        check_if_none_match(representation, sessions.get(g.user_id, session_id))
    session, document = read(g.user_id, session_id)
    return document, check_if_none_match(representation, session)


def check_if_match(session: dict[str, Any]) -> None:
    """Check that the session is still as the client knows it, if the request has an ``If-Match`` header.

    Raises:
        ApiError: ``precondition_failed``.

    """
    if "If-Match" in request.headers and not request.if_match.contains(_opaque_tag("session", session)):
        raise ApiError("precondition_failed")
