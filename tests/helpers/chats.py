"""Chats of an ``ApiClient``. A script is what the user's message has the stand-in model do; see fake_llm.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder

from database import db
from ids import new_id
from models import Draft
from tests.helpers.client import ApiClient

STALE = 60.0  # seconds since a draft was saved, after which nobody can be alive who does
JSON = {"Accept": "application/json"}


def start_chat(client: ApiClient, session: dict[str, Any], *script: str, **options: Any) -> Any:
    return client.post(f"/api/sessions/{session['id']}/chat", {"content": "\n".join(script)}, **options)


def parse_events(body: bytes) -> list[tuple[str, Any]]:
    """Return name and data of each event of a stream."""
    decoder = SSEDecoder()
    decoded: Iterator[ServerSentEvent | None] = (decoder.decode(line) for line in body.decode().split("\n"))
    return [(event.event, json.loads(event.data)) for event in decoded if event]


def list_messages(client: ApiClient, session: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = client.get(f"/api/sessions/{session['id']}").get_json()["messages"]
    return messages


def plant_draft(
    session: dict[str, Any], content: str = "half of", age: float = 0, model: str | None = "m", **fields: Any
) -> str:
    """Store a draft as another process would have done ``age`` seconds ago, and return the id of the answer to be."""
    answer_id = str(fields.setdefault("answer_id", new_id()))
    with db.write_transaction():
        Draft.insert(
            session_id=session["id"], content=content, model=model, saved_at=db.timestamp(-age), **fields
        ).execute()
    return answer_id
