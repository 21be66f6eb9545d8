"""The prompt of a session, and chats with the model."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, request

import schemas
from routes import body, query, refuses, returns, waits_in
from services import services

blueprint = Blueprint("chat", __name__, url_prefix="/api/sessions")

EVENTS, JSON = "text/event-stream", "application/json"
# no-transform and X-Accel-Buffering: proxies pass each event on as it comes.
UNBUFFERED = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


@blueprint.get("/<session_id>/prompt")
@waits_in("patient")
@returns(schemas.Prompt)
@query(schemas.NextQuestion)
def get_prompt(data: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Get exactly what the model would be sent."""
    return {"messages": services().prompt.assemble(g.user_id, session_id, data["content"])}


@blueprint.post("/<session_id>/chat")
@waits_in("streams")
@refuses(409, 502, 504)
@returns(schemas.Exchange, 201, EVENTS)
@body(schemas.NewQuestion)
def chat(data: dict[str, Any], session_id: str) -> dict[str, Any] | Response:
    """Ask the model: its answer comes as server-sent events, or as JSON where that alone is accepted."""
    gone = request.environ.get("waitress.client_disconnected", lambda: False)
    chat = services().chats.begin(g.user_id, session_id, **data, gone=gone)
    if request.accept_mimetypes.best_match((EVENTS, JSON)) == JSON:
        return chat.result()
    response = Response(chat.events(), mimetype=EVENTS, headers=UNBUFFERED)
    response.call_on_close(chat.close)
    return response
