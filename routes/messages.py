"""Messages of a session: append and list."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, g

import schemas
from models import Message
from services import documents
from store import entries, messages
from web import pagination, parameters
from web.decorators import batched, body, inline, query, response
from web.idempotency import idempotent, remember_id, transaction

blueprint = Blueprint("messages", __name__, url_prefix="/api/sessions")


@blueprint.post("/<session_id>/messages")
@batched
@response(schemas.Message, 201)
@body(schemas.AppendMessage)
@idempotent(lambda created, data, session_id: entries.get(Message, g.user_id, session_id, created["id"]))
def append_message(data: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Append a message to a session."""
    with transaction():
        message = messages.append(g.user_id, session_id, **data)
        remember_id(message)
    return message


@blueprint.get("/<session_id>/messages")
@inline
@response(schemas.MessagePage)
@query(parameters.ListMessages)
def list_messages(query: dict[str, Any], session_id: str) -> bytes:
    """List a page of a session's messages, oldest first, or with `order=desc` newest first."""
    after = pagination.decode_cursor(query, int)
    items, end = documents.message_page(g.user_id, session_id, pagination.page_size(query), query["order"], after)
    return b'{"items":[%s],"next_cursor":%s}' % (items, orjson.dumps(pagination.encode_cursor(end, query)))
