"""Sessions, their export and import."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, g

import schemas
from models import Message, Move, PageState, Session
from routes import body, may_return, paging, query, refuses, returns, take_time, waits_in
from routes.conditions import tagged, unless_known, unmoved
from routes.retries import kept, kept_id, retried
from services import documents, markdown, search
from store import deletion
from values import FOUND_LENGTH

MARKDOWN = "text/markdown"
# Reading through so many moves takes 4 ms.
MANY_MOVES = 20_000

blueprint = Blueprint("sessions", __name__, url_prefix="/api/sessions")


@blueprint.get("")
@returns(schemas.SessionList)
@query(schemas.SessionPage)
def list_sessions(wanted: dict[str, Any]) -> dict[str, Any] | documents.Document:
    """List the caller's sessions, the one that moved last first; or a page of them, or what a search finds."""
    if wanted["q"] is not None:
        take_time()
        return {"items": search.find(g.user_id, wanted["q"], wanted["limit"] or FOUND_LENGTH)}
    if not paging.is_asked(wanted):
        return documents.sessions(g.user_id)
    place = paging.place(wanted, PageState._make)
    if place and Move.count_since(g.user_id, place.seq) > MANY_MOVES:
        take_time()
    items, place = Session.page(g.user_id, paging.limit(wanted), place)
    return {"items": items, "next_cursor": paging.cursor(place)}


@blueprint.post("")
@returns(schemas.SessionOut, 201)
@body(schemas.NewSession, required=False)
@retried(lambda session, data: session)
def create_session(data: dict[str, Any]) -> dict[str, Any]:
    """Create a session."""
    return Session.add(g.user_id, data.get("title"), kept)


@blueprint.get("/<session:session_id>")
@returns(schemas.Conversation)
@refuses(304)
def get_session(session_id: str) -> documents.Document:
    """Get a session with its messages, in the order in which they were written."""
    return documents.conversation(g.user_id, session_id, unless_known("session"))


@blueprint.patch("/<session:session_id>")
@refuses(412)
@returns(schemas.SessionOut)
@body(schemas.NewTitle)
def rename_session(data: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Rename a session."""
    return tagged(Session.change(g.user_id, session_id, unmoved, title=data["title"]))


@blueprint.patch("/<session_id>/system-prompt")
@refuses(412)
@returns(schemas.SessionOut)
@body(schemas.NewSystemPrompt, required=False)
def set_system_prompt(data: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Set or clear a session's system prompt."""
    prompt = data["system_prompt"]
    if prompt is None:
        return tagged(Session.one(g.user_id, session_id, unmoved))
    prompt = prompt if prompt.strip(schemas.BLANK) else None
    return tagged(Session.set_prompt(g.user_id, session_id, prompt, unmoved))


@blueprint.delete("/<session:session_id>")
@refuses(412)
@returns(None, 204)
def delete_session(session_id: str) -> None:
    """Delete a session with its messages and webhook runs."""
    deletion.delete_session(g.user_id, session_id, unmoved)


@blueprint.delete("")
@returns(schemas.Deleted)
def delete_sessions() -> dict[str, Any]:
    """Delete every session of the caller."""
    return {"deleted": deletion.delete_sessions(g.user_id)}


@blueprint.post("/<session_id>/messages")
@returns(schemas.MessageOut, 201)
@body(schemas.NewMessage)
@retried(lambda made, data, session_id: Message.shown(g.user_id, session_id, made["id"]))
def append_message(data: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Append a message to a session."""
    return Message.add(g.user_id, session_id, **data, then=kept_id)


@blueprint.get("/<session_id>/messages")
@returns(schemas.MessagePage)
@query(schemas.Page)
def list_messages(wanted: dict[str, Any], session_id: str) -> bytes:
    """List a page of a session's messages, oldest first."""
    items, end = documents.messages(g.user_id, session_id, paging.limit(wanted), paging.place(wanted, int) or 0)
    return b'{"items":[%s],"next_cursor":%s}' % (items, orjson.dumps(paging.cursor(end)))


@blueprint.get("/<session_id>/export")
@refuses(304)
@returns(schemas.ExportDocument, 200, MARKDOWN)
@query(schemas.ExportFormat)
def export_session(wanted: dict[str, Any], session_id: str) -> documents.Document:
    """Export a session, as a document that the import takes or as Markdown to be read."""
    if wanted["format"] == "json":
        return documents.export(g.user_id, session_id, unless_known("export"))
    pieces = markdown.export(g.user_id, session_id, unless_known("markdown"))
    g.headers["Content-Type"] = f"{MARKDOWN}; charset=utf-8"
    return pieces


@blueprint.post("/import")
@waits_in("patient")
@returns(schemas.Imported, 201)
@may_return(schemas.Rehearsed, 200)
@query(schemas.ImportOptions)
@body(schemas.ImportDocument, limit="PARLEY_MAX_IMPORT_BYTES")
@retried(lambda session, wanted, data: imported(session, data))
def import_session(wanted: dict[str, Any], data: dict[str, Any]) -> dict[str, Any] | Response:
    """Import an export document as a new session, or rehearse that."""
    if wanted["dry_run"]:
        counted = orjson.dumps({"imported_messages": len(data["messages"])}, option=orjson.OPT_APPEND_NEWLINE)
        return Response(counted, mimetype="application/json")
    given, messages = data["session"], data["messages"]
    return imported(Session.take_in(g.user_id, given, messages, kept), data)


def imported(session: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to an import."""
    return {"session": session, "imported_messages": len(data["messages"])}
