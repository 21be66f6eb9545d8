"""JSON documents of any size: whole if they are short, a stream of pages if they are not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import orjson

import timestamps
from database import db
from models import Message, SessionEntry, WebhookRun
from store import entries, session_pages, sessions
from store.entries import DeletedDuringRead

# A document of up to about this size is sent whole.
MAX_WHOLE_BYTES = 1_048_576
# So is a list of sessions of up to about this size: 3 ms, since Python makes an object of each value.
MAX_WHOLE_LIST_BYTES = 262_144
# It is read in pages of so many sessions, and characters.
LIST_PAGE_SIZE, LIST_PAGE_CHARACTERS = 500, 250_000

Document = bytes | Iterator[bytes]
"""A whole JSON document, or its pieces in their order."""


def session_list(user_id: str) -> Document:
    """Return all sessions of the user's, the most recently updated first.

    Of a stream, each that exists from its beginning to its end comes once; what is updated in
    between comes among the next, and what is new does not.
    """
    return _whole_or_pieces(_list_pieces(user_id), MAX_WHOLE_LIST_BYTES)


def _list_pieces(user_id: str) -> Iterator[bytes]:
    items, cursor = session_pages.list_page(user_id, LIST_PAGE_SIZE, None, LIST_PAGE_CHARACTERS)
    yield b'{"items":[' + orjson.dumps(items)[1:-1]
    while cursor:
        db.ensure_connection()
        items, cursor = session_pages.list_page(user_id, LIST_PAGE_SIZE, cursor, LIST_PAGE_CHARACTERS)
        if items:
            yield b"," + orjson.dumps(items)[1:-1]
    yield b"]}"


def session_with_messages(session: dict[str, Any]) -> Document:
    """Return a session that was read in this transaction, with its messages."""
    return _whole_or_pieces(_entry_pieces(session, "messages", Message, session["id"]), MAX_WHOLE_BYTES)


def export_document(session: dict[str, Any]) -> Document:
    """Return the export, version 1, of a session that was read in this transaction."""
    session = {name: value for name, value in session.items() if name != "system_prompt"}  # no part of the conversation
    head = {"version": 1, "exported_at": timestamps.now(), "session": session}
    return _whole_or_pieces(_entry_pieces(head, "messages", Message, session["id"]), MAX_WHOLE_BYTES)


def message_page(user_id: str, session_id: str, limit: int, after: int) -> tuple[bytes, int | None]:
    """Return some of a session's messages after a ``seq`` as JSON objects with commas between them.

    And the ``seq`` of the last of them, None if there is nothing after it.

    Raises:
        NotFound: there is no such session of the user's.

    """
    with db.read_transaction():
        sessions.get(user_id, session_id)
        last = entries.last_seq(Message, session_id)
        items, end = entries.json_page(Message, session_id, after, last, limit)
    return items, end if end < last else None


def webhook_run_list(user_id: str, session_id: str) -> Document:
    """Return the runs that were fired from a session.

    Raises:
        NotFound: there is no such session of the user's.

    """
    with db.read_transaction():
        sessions.get(user_id, session_id)
        return _whole_or_pieces(_entry_pieces({}, "items", WebhookRun, session_id), MAX_WHOLE_BYTES)


def _whole_or_pieces(pieces: Iterator[bytes], max_bytes: int) -> Document:
    """Return the pieces as a whole, or as they are if they come to more than ``max_bytes``."""
    read, size = [], 0
    for piece in pieces:
        read.append(piece)
        size += len(piece)
        if size > max_bytes:
            return chain(read, pieces)
    return b"".join(read)


def _entry_pieces(head: dict[str, Any], name: str, model: type[SessionEntry], session_id: str) -> Iterator[bytes]:
    """Yield ``head`` with the session's entries as its last key, up to the one that is the last at the start.

    Between two pages of a stream no transaction is open: it would keep the write-ahead log from
    being emptied for as long as the slowest client reads.
    """
    last, end = entries.last_seq(model, session_id), 0
    yield orjson.dumps(head | {name: []})[:-2]
    while end < last:
        db.ensure_connection()
        start = end
        items, end = entries.json_page(model, session_id, start, last)
        if end == start:
            raise DeletedDuringRead
        yield b"," + items if start else items
    yield b"]}"
