"""Sessions, their export and import."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

import schemas
from models import Message, Session
from routes import body, returns, waits_in
from services import documents

blueprint = Blueprint("sessions", __name__, url_prefix="/api/sessions")


@blueprint.get("")
@returns(schemas.SessionList)
def list_sessions() -> dict[str, Any]:
    """List the caller's sessions, the one that moved last first."""
    return {"items": Session.of_user(g.user_id)}


@blueprint.post("")
@returns(schemas.SessionOut, 201)
@body(schemas.NewSession, required=False)
def create_session(data: dict[str, Any]) -> dict[str, Any]:
    """Create a session."""
    return Session.add(g.user_id, data.get("title"))


@blueprint.get("/<session_id>")
@returns(schemas.Conversation)
def get_session(session_id: str) -> documents.Document:
    """Get a session with its messages, in the order in which they were written."""
    return documents.conversation(g.user_id, session_id)


@blueprint.patch("/<session_id>")
@returns(schemas.SessionOut)
@body(schemas.NewTitle)
def rename_session(data: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Rename a session."""
    return Session.change(g.user_id, session_id, title=data["title"])


@blueprint.patch("/<session_id>/system-prompt")
@returns(schemas.SessionOut)
@body(schemas.NewSystemPrompt, required=False)
def set_system_prompt(data: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Set or clear a session's system prompt."""
    prompt = data["system_prompt"]
    if prompt is None:
        return Session.one(g.user_id, session_id)
    return Session.set_prompt(g.user_id, session_id, prompt if prompt.strip(schemas.BLANK) else None)


@blueprint.delete("/<session_id>")
@returns(None, 204)
def delete_session(session_id: str) -> None:
    """Delete a session with its messages and webhook runs."""
    Session.remove(g.user_id, session_id)


@blueprint.delete("")
@returns(schemas.Deleted)
def delete_sessions() -> dict[str, Any]:
    """Delete every session of the caller."""
    return {"deleted": Session.remove_all(g.user_id)}


@blueprint.post("/<session_id>/messages")
@returns(schemas.MessageOut, 201)
@body(schemas.NewMessage)
def append_message(data: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Append a message to a session."""
    return Message.add(g.user_id, session_id, **data)


@blueprint.get("/<session_id>/export")
@returns(schemas.ExportDocument)
def export_session(session_id: str) -> documents.Document:
    """Export a session as a document that the import takes."""
    return documents.export(g.user_id, session_id)


@blueprint.post("/import")
@waits_in("patient")
@returns(schemas.Imported, 201)
@body(schemas.ImportDocument, limit="PARLEY_MAX_IMPORT_BYTES")
def import_session(data: dict[str, Any]) -> dict[str, Any]:
    """Import an export document as a new session."""
    given, messages = data["session"], data["messages"]
    session = Session.take_in(g.user_id, given["title"], given["created_at"], messages)
    return {"session": session, "imported_messages": len(messages)}
