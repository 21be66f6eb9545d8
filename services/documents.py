"""What hangs on a session as one JSON document: whole where it is short, a stream of pages where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import orjson

from database import db
from models import GoneMeanwhile, Look, Message, Row, Session, WebhookRun, anything
from values import now

# A document of up to about this size is sent whole.
WHOLE_BYTES = 1_048_576

Document = bytes | Iterator[bytes]
"""A whole JSON document, or its pieces in their order."""


def conversation(user_id: str, session_id: str, look: Look = anything) -> Document:
    """Return a session with its messages, or raise Missing; ``look`` gets to see the session first."""
    with db.reading():
        session = Session.one(user_id, session_id, look)
        return _document(session, "messages", Message, session_id)


def messages(user_id: str, session_id: str, limit: int, after: int) -> tuple[bytes, int | None]:
    """Return some of a session's messages behind a ``seq``, as JSON with commas between them, or raise Missing.

    And the ``seq`` that they end at, None where there is nothing behind it.
    """
    with db.reading():
        Session.one(user_id, session_id)
        last = Message.last(session_id)
        items, end = Message.page(session_id, after, last, limit)
    return items, end if end < last else None


def export(user_id: str, session_id: str, look: Look = anything) -> Document:
    """Return the export document of a session, version 1, or raise Missing; ``look`` gets to see the session first."""
    with db.reading():
        session = Session.one(user_id, session_id, look)
        del session["system_prompt"]  # operational, not conversation
        head = {"version": 1, "exported_at": now(), "session": session}
        return _document(head, "messages", Message, session_id)


def webhook_runs(user_id: str, session_id: str) -> Document:
    """Return the runs that were fired from a session, or raise Missing."""
    with db.reading():
        Session.one(user_id, session_id)
        return _document({}, "items", WebhookRun, session_id)


def _document(head: dict[str, Any], key: str, model: type[Row], session_id: str) -> Document:
    """Append the session's rows of ``model`` to ``head``, as its last key."""
    pieces = _pieces(head, key, model, session_id, model.last(session_id))
    begun, size = [], 0
    for piece in pieces:
        begun.append(piece)
        size += len(piece)
        if size > WHOLE_BYTES:
            return chain(begun, pieces)
    return b"".join(begun)


def _pieces(head: dict[str, Any], key: str, model: type[Row], session_id: str, last: int) -> Iterator[bytes]:
    """Yield the document a page at a time, up to the row that was the last at the start.

    Of a stream, no transaction is open between two pages: it would keep the write-ahead log from
    being emptied for as long as the slowest client reads.
    """
    yield orjson.dumps(head | {key: []})[:-2]
    end = 0
    while end < last:
        db.prepare()
        start = end
        items, end = model.page(session_id, start, last)
        if end == start:
            raise GoneMeanwhile
        yield b"," + items if start else items
    yield b"]}"
