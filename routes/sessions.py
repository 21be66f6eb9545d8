"""Sessions: list, create, get, update, delete."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

import schemas
from database import db
from errors import ApiError
from limits import DEFAULT_SEARCH_LIMIT
from search import search
from services import documents, get_services
from store import deletion, session_pages, sessions
from store.session_pages import SessionCursor
from web import pagination, parameters
from web.decorators import batched, body, conditional, inline, query, response
from web.etags import check_if_match, check_if_none_match, read_document, with_etag
from web.idempotency import idempotent, remember, transaction

# Says that there is a chat to attach to: a page that only looks should not get an error if there is none.
IN_PROGRESS = {"Parley-Chat": "in-progress"}

blueprint = Blueprint("sessions", __name__, url_prefix="/api/sessions")


@blueprint.get("")
@inline(unless=("q",))  # a search takes longer
@response(schemas.SessionList)
@query(parameters.ListSessions)
def list_sessions(query: dict[str, Any]) -> dict[str, Any] | documents.Document:
    """List the caller's sessions, the most recently updated first; or a page of them, or the results of a search."""
    if query["q"] is not None:
        return {"items": search(g.user_id, query["q"], query["limit"] or DEFAULT_SEARCH_LIMIT)}
    if not pagination.is_paginated(query):
        return documents.session_list(g.user_id)
    cursor = pagination.decode_cursor(query, SessionCursor._make)
    items, cursor = session_pages.list_page(g.user_id, pagination.page_size(query), cursor)
    return {"items": items, "next_cursor": pagination.encode_cursor(cursor, query)}


@blueprint.post("")
@batched
@response(schemas.Session, 201)
@body(schemas.CreateSession, required=False)
@idempotent(lambda session, data: session)
def create_session(data: dict[str, Any]) -> dict[str, Any]:
    """Create a session."""
    with transaction():
        session = sessions.create(g.user_id, **data)
        remember(session)
    return session


@blueprint.get("/<session:session_id>")
@inline
@conditional("If-None-Match")
@response(schemas.SessionWithMessages)
@query(parameters.GetSession)
def get_session(query: dict[str, Any], session_id: str) -> tuple[dict[str, Any] | documents.Document, dict[str, str]]:
    """Get a session with its messages, in the order in which they were written."""
    if query["messages"]:
        return read_document("session", session_id, documents.session_with_messages)
    in_progress = get_services().chats.is_active(session_id)  # first, or an answer stored in between would be missed
    session = sessions.get(g.user_id, session_id)
    return session, check_if_none_match("session", session) | (IN_PROGRESS if in_progress else {})


@blueprint.patch("/<session:session_id>")
@batched
@conditional("If-Match")
@response(schemas.Session)
@body(schemas.UpdateSession)
def update_session(data: dict[str, Any], session_id: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Rename a session."""
    with db.write_transaction():
        session = sessions.get_for_update(g.user_id, session_id)
        check_if_match(session)
        return with_etag(sessions.update(session, **data))


@blueprint.patch("/<session_id>/system-prompt")
@batched
@conditional("If-Match")
@response(schemas.Session)
@body(schemas.SetSystemPrompt, required=False)
def set_system_prompt(data: dict[str, Any], session_id: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Set or clear a session's system prompt."""
    with db.write_transaction():
        session = sessions.get_for_update(g.user_id, session_id)
        check_if_match(session)
        if data.get("system_prompt", session["system_prompt"]) != session["system_prompt"]:
            session = sessions.update(session, **data)
        return with_etag(session)


@blueprint.delete("/<session:session_id>")
@batched
@conditional("If-Match")
@response(None, 204)
def delete_session(session_id: str) -> None:
    """Delete a session with its messages and webhook runs."""
    with db.write_transaction(frees_space=True):
        check_if_match(sessions.get_for_update(g.user_id, session_id))
        deletion.delete_session(g.user_id, session_id)


@blueprint.delete("")
@response(schemas.DeletedSessions)
@query(parameters.DeleteSessions)
@body(schemas.DeleteSessions, absent={"ids": None})
def delete_sessions(data: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
    """Delete the sessions of the caller that are listed; without a body, all of them."""
    if query["listed"] and data["ids"] is None:
        raise ApiError("validation_error", {"ids": ["Missing: the body was lost on its way."]})
    with db.write_transaction(frees_space=True):
        if data["ids"] is None:
            return {"deleted": deletion.delete_all_sessions(g.user_id)}
        return {"deleted": deletion.delete_sessions(g.user_id, data["ids"])}
