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
# A list of sessions of up to about this size is: 3 ms, since Python makes an object of each value.
WHOLE_LIST_BYTES = 262_144
# It is read in pages of so many sessions, and characters.
LIST_SESSIONS, LIST_CHARACTERS = 500, 250_000

Document = bytes | Iterator[bytes]
"""A whole JSON document, or its pieces in their order."""


def conversation(user_id: str, session_id: str, look: Look = anything) -> Document:
    """Return a session with its messages, or raise Missing; ``look`` gets to see the session first."""
    with db.reading():
        session = Session.one(user_id, session_id, look)
        return _document(_pieces(session, "messages", Message, session_id), WHOLE_BYTES)


def sessions(user_id: str) -> Document:
    """Return all sessions of the user's, the one that moved last first.

    Of a stream, each that is there from its beginning to its end comes once; what has moved
    meanwhile comes among the next, and what is new does not.
    """
    return _document(_list_pieces(user_id), WHOLE_LIST_BYTES)


def _list_pieces(user_id: str) -> Iterator[bytes]:
    items, place = Session.page(user_id, LIST_SESSIONS, None, LIST_CHARACTERS)
    yield b'{"items":[' + orjson.dumps(items)[1:-1]
    while place:
        db.prepare()
        items, place = Session.page(user_id, LIST_SESSIONS, place, LIST_CHARACTERS)
        if items:
            yield b"," + orjson.dumps(items)[1:-1]
    yield b"]}"


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
        return _document(_pieces(head, "messages", Message, session_id), WHOLE_BYTES)


def webhook_runs(user_id: str, session_id: str) -> Document:
    """Return the runs that were fired from a session, or raise Missing."""
    with db.reading():
        Session.one(user_id, session_id)
        return _document(_pieces({}, "items", WebhookRun, session_id), WHOLE_BYTES)


def _document(pieces: Iterator[bytes], most: int) -> Document:
    """Return the pieces as a whole, or as they are where they come to more than ``most`` bytes."""
    begun, size = [], 0
    for piece in pieces:
        begun.append(piece)
        size += len(piece)
        if size > most:
            return chain(begun, pieces)
    return b"".join(begun)


def _pieces(head: dict[str, Any], key: str, model: type[Row], session_id: str) -> Iterator[bytes]:
    """Yield ``head`` with the session's rows of ``model`` as its last key, up to the row that is the last at the start.

    Of a stream, no transaction is open between two pages: it would keep the write-ahead log from
    being emptied for as long as the slowest client reads.
    """
    last, end = model.last(session_id), 0
    yield orjson.dumps(head | {key: []})[:-2]
    while end < last:
        db.prepare()
        start = end
        items, end = model.page(session_id, start, last)
        if end == start:
            raise GoneMeanwhile
        yield b"," + items if start else items
    yield b"]}"
