"""JSON documents of any size: short ones as bytes, long ones as a stream of their pieces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import orjson

import timestamps
from database import db
from models import Message, SessionEntry, WebhookRun
from store import entries, session_pages, sessions

# A document of up to about this size is sent whole.
MAX_WHOLE_BYTES = 1_048_576
# A list of sessions of up to about this size is sent whole: 3 ms, since Python creates an object for each value.
MAX_WHOLE_LIST_BYTES = 262_144
# A list is read in pages of at most this many sessions and about this many characters.
LIST_PAGE_SIZE, LIST_PAGE_CHARACTERS = 500, 250_000

Document = bytes | Iterator[bytes]
"""A JSON document as a whole, or its pieces in their order."""


def session_list(user_id: str) -> Document:
    """Return all sessions of a user, most recently updated first.

    A stream has each session that exists from its start to its end exactly once, also one that is
    updated in between; one that is created in between is not in it.
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
    fields = {"version": 1, "exported_at": timestamps.now(), "session": session}
    return _whole_or_pieces(_entry_pieces(fields, "messages", Message, session["id"]), MAX_WHOLE_BYTES)


def message_page(user_id: str, session_id: str, limit: int, order: str, after: int | None) -> tuple[bytes, int | None]:
    """Return some messages of a session, ``limit`` at most, after the ``seq`` of ``after``: JSON, joined by commas.

    The second value is the ``seq`` of the last of them, None if there are no more in this ``order``.

    Raises:
        NotFound: if the user has no such session.

    """
    with db.read_transaction():
        sessions.get(user_id, session_id)
        last = entries.last_seq(Message, session_id, order)
        items, end = entries.json_page(Message, session_id, after, last, limit, order)
    return items, end if items and end != last else None


def webhook_run_list(user_id: str, session_id: str) -> Document:
    """Return the webhook runs of a session.

    Raises:
        NotFound: if the user has no such session.

    """
    with db.read_transaction():
        sessions.get(user_id, session_id)
        return _whole_or_pieces(_entry_pieces({}, "items", WebhookRun, session_id), MAX_WHOLE_BYTES)


def _whole_or_pieces(pieces: Iterator[bytes], max_bytes: int) -> Document:
    """Return the pieces joined, or as an iterator if they have more than ``max_bytes``."""
    read, size = [], 0
    for piece in pieces:
        read.append(piece)
        size += len(piece)
        if size > max_bytes:
            return chain(read, pieces)
    return b"".join(read)


def _entry_pieces(fields: dict[str, Any], name: str, model: type[SessionEntry], session_id: str) -> Iterator[bytes]:
    """Yield an object of ``fields`` and, as its last member, a session's entries up to the last one at the start.

    No transaction is open between two pages of a stream: it would prevent the checkpoints of the
    write-ahead log for as long as the slowest client reads.

    Raises:
        DeletedDuringRead: if the session is deleted before its last entry is read.

    """
    last, end = entries.last_seq(model, session_id), 0
    yield orjson.dumps(fields | {name: []})[:-2]
    while end < last:
        db.ensure_connection()
        start = end
        items, end = entries.json_page(model, session_id, start, last)
        if end == start:
            last = entries.newer_seq(model, session_id, last)
            continue
        yield b"," + items if start else items
    yield b"]}"
