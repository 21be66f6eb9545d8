"""A conversation as one JSON document: whole where it is short, in pages as a stream where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import orjson

from database import db
from models import Message, Session
from values import now

# A document of up to about this size is sent whole.
WHOLE_BYTES = 1_048_576

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
    pieces = _pieces(session_id, head, Message.last(session_id))
    begun, size = [], 0
    for piece in pieces:
        begun.append(piece)
        size += len(piece)
        if size > WHOLE_BYTES:
            return chain(begun, pieces)
    return b"".join(begun)


def _pieces(session_id: str, head: dict[str, Any], last: int) -> Iterator[bytes]:
    """Yield the document a page at a time, up to the message that was the last at the start.

    Of a stream, no transaction is open between two pages: it would keep the write-ahead log from
    being emptied for as long as the slowest client reads.
    """
    yield orjson.dumps(head)[:-1] + b',"messages":['
    end = 0
    while end < last:
        db.prepare()
        start = end
        items, end = Message.page(session_id, start, last)
        if end == start:
            # Deleted meanwhile. Breaking off leaves the client with a body that says it is cut short.
            raise RuntimeError("the session was deleted while it was sent")
        yield b"," + items if start else items
    yield b"]}"
