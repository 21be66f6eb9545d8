"""The prompt of a session, and chats with the model."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, request

import schemas
from errors import ApiError
from routes import body, query, refuses, returns, waits_in
from routes.retries import kept_id, retried
from services import services
from services.chat import replayed_events

blueprint = Blueprint("chat", __name__, url_prefix="/api/sessions")

EVENTS, JSON = "text/event-stream", "application/json"
# no-transform and X-Accel-Buffering: proxies pass each event on as it comes.
UNBUFFERED = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


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
@retried(lambda made, data, session_id: replay(session_id, made), patience=0)
def chat(data: dict[str, Any], session_id: str) -> dict[str, Any] | Response:
    """Ask the model: its answer comes as server-sent events, or as JSON where that alone is accepted."""
    gone = request.environ.get("waitress.client_disconnected", lambda: False)
    chat = services().chats.begin(g.user_id, session_id, **data, gone=gone, then=kept_id)
    if json_is_wanted():
        return chat.result()
    response = Response(chat.events(), mimetype=EVENTS, headers=UNBUFFERED)
    response.call_on_close(chat.close)
    return response


def replay(session_id: str, made: dict[str, str]) -> dict[str, Any] | Response:
    """Answer as the chat did that has made these messages."""
    messages = services().chats.replay(g.user_id, session_id, made)
    if not json_is_wanted():
        return Response(replayed_events(messages), mimetype=EVENTS, headers=UNBUFFERED)
    if len(messages) == 1:
        raise ApiError("upstream_error", {"messages": messages})
    return {"messages": messages}


def json_is_wanted() -> bool:
    """Tell whether the client wants JSON rather than events."""
    return bool(request.accept_mimetypes.best_match((EVENTS, JSON)) == JSON)
