"""The prompt of a session, and chats with the model."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, request

import schemas
from errors import ApiError
from services import get_services
from services.chat import replay_events
from web import parameters
from web.decorators import body, errors, query, response, runs_in
from web.idempotency import idempotent, remember_id
from web.negotiation import preferred_type

blueprint = Blueprint("chat", __name__, url_prefix="/api/sessions")

EVENT_STREAM, JSON = "text/event-stream", "application/json"
# no-transform and X-Accel-Buffering make proxies pass on each event at once.
SSE_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


@blueprint.get("/<session_id>/prompt")
@response(schemas.Prompt)
@query(parameters.GetPrompt)
def get_prompt(query: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Get exactly the messages that the model would be sent."""
    prompt = get_services().prompt
    if query["explain"]:
        return prompt.explain(g.user_id, session_id, query["content"])
    return {"messages": prompt.build(g.user_id, session_id, query["content"])}


@blueprint.post("/<session_id>/chat")
@runs_in("chat")
@errors("conflict", "too_many_streams", "llm_not_configured", "upstream_error", "upstream_timeout")
@response(schemas.ChatMessages, 201, EVENT_STREAM)
@body(schemas.StartChat)
@idempotent(lambda created, data, session_id: replay(session_id, created), wait_timeout=0)
def start_chat(data: dict[str, Any], session_id: str) -> dict[str, Any] | Response:
    """Send a message to the model; the response is server-sent events, or JSON if only that is accepted."""
    is_disconnected = request.environ.get("waitress.client_disconnected", lambda: False)
    chats = get_services().chats
    chat = chats.start(g.user_id, session_id, **data, is_disconnected=is_disconnected, before_commit=remember_id)
    if prefers_json():
        return chat.result()
    stream = Response(chat.events(), mimetype=EVENT_STREAM, headers=SSE_HEADERS)
    stream.call_on_close(chat.close)
    return stream


def replay(session_id: str, created: dict[str, str]) -> dict[str, Any] | Response:
    """Respond as the chat did that created these messages."""
    messages, error = get_services().chats.replay(g.user_id, session_id, created)
    if not prefers_json():
        return Response(replay_events(messages, error), mimetype=EVENT_STREAM, headers=SSE_HEADERS)
    if error:
        raise ApiError(error, {"messages": messages})
    return {"messages": messages}


def prefers_json() -> bool:
    """Return whether the client prefers JSON to events."""
    return preferred_type(EVENT_STREAM, JSON) == JSON
