"""The prompt of a session, and chats with the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, g, request

import schemas
from services import get_services
from services.chat_reader import ChatReader, messages_or_error, replay_events
from services.ended_chat import get_ended_chat
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
    """Send a message to the model, or ask the newest one again; the response is server-sent events, or JSON."""
    chats = get_services().chats
    reader = chats.start(g.user_id, session_id, **data, is_disconnected=disconnect_check(), before_commit=remember_id)
    return read(reader)


@blueprint.get("/<session_id>/chat")
@runs_in("chat")
@errors("chat_not_found", "conflict", "too_many_streams", "upstream_error", "upstream_timeout")
@response(schemas.ChatMessages, 200, EVENT_STREAM)
def get_chat(session_id: str) -> dict[str, Any] | Response:
    """Attach to the chat in progress: what has come so far, and what comes, as from its start."""
    return read(get_services().chats.attach(g.user_id, session_id, disconnect_check()))


@blueprint.delete("/<session_id>/chat")
@runs_in("chat")  # it may wait for another process
@errors("chat_not_found")
@response(None, 204)
def stop_chat(session_id: str) -> None:
    """Stop the chat in progress; what has come of the answer is stored."""
    get_services().chats.stop(g.user_id, session_id)


def read(reader: ChatReader) -> dict[str, Any] | Response:
    """Respond with what a reader of a chat gets, in the form that the client prefers."""
    if prefers_json():
        return reader.result()
    stream = Response(reader.events(), mimetype=EVENT_STREAM, headers=SSE_HEADERS)
    stream.call_on_close(reader.close)
    return stream


def disconnect_check() -> Callable[[], bool]:
    """Return a function that returns whether the client of this request has disconnected."""
    check: Callable[[], bool] = request.environ.get("waitress.client_disconnected", lambda: False)
    return check


def replay(session_id: str, created: dict[str, str | None]) -> dict[str, Any] | Response:
    """Respond as the chat did that created these messages."""
    messages, error = get_ended_chat(g.user_id, session_id, created)
    if prefers_json():
        return messages_or_error(messages, error)
    return Response(replay_events(messages, error), mimetype=EVENT_STREAM, headers=SSE_HEADERS)


def prefers_json() -> bool:
    """Return whether the client prefers JSON to events."""
    return preferred_type(EVENT_STREAM, JSON) == JSON
