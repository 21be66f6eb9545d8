"""A conversation as one JSON document: whole where it is short, in pages as a stream where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from database import db
from models import Message, Session
from values import now

Document = bytes | Iterator[bytes]
"""A whole JSON document, or its pieces in their order."""


def conversation(user_id: str, session_id: str) -> Document:
    """Return a session with its messages, or raise Missing."""
    with db.reading():
        return _document(session_id, Session.one(user_id, session_id))


def export(user_id: str, session_id: str) -> Document:
    """Return the export document of a session, version 1, or raise Missing."""
    with db.reading():
        session = Session.one(user_id, session_id)
        del session["system_prompt"]  # operational, not conversation
        return _document(session_id, {"version": 1, "exported_at": now(), "session": session})


def _document(session_id: str, head: dict[str, Any]) -> Document:
    """Append the messages to ``head``, as its last key."""
    last = Message.last(session_id)
    items, end = Message.page(session_id, 0, last)
    if end == last:
        return orjson.dumps(head | {"messages": items})
    return _stream(session_id, head, items, end, last)


def _stream(session_id: str, head: dict[str, Any], items: list[Any], end: int, last: int) -> Iterator[bytes]:
    """Yield the document a page at a time, up to the message that was the last at the start.

    No transaction is open between two pages: it would keep the write-ahead log from being
    emptied for as long as the slowest client reads.
    """
    yield orjson.dumps(head)[:-1] + b',"messages":[' + orjson.dumps(items)[1:-1]
    while end < last:
        db.prepare()
        start = end
        items, end = Message.page(session_id, start, last)
        if end == start:
            # Deleted meanwhile. Breaking off leaves the client with a body that says it is cut short.
            raise RuntimeError("the session was deleted while it was sent")
        yield b"," + orjson.dumps(items)[1:-1]
    yield b"]}"
