"""JSON documents of any size: short ones as bytes, long ones as a stream of their pieces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import orjson

import timestamps
from database import db
from errors import NotFound
from models import Message, SessionEntry, WebhookRun
from store import entries, session_pages
from store.entries import DeletedDuringRead, Page

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


def session_with_messages(user_id: str, session_id: str) -> tuple[dict[str, Any], Document]:
    """Return a session, and its document with its messages.

    Raises:
        NotFound: if the user has no such session.

    """
    session, page = entries.read(Message, user_id, session_id)
    return session, _whole_or_pieces(_entry_pieces(session, "messages", Message, session_id, page), MAX_WHOLE_BYTES)


def export_document(user_id: str, session_id: str) -> tuple[dict[str, Any], Document]:
    """Return a session, and its export, version 1.

    Raises:
        NotFound: if the user has no such session.

    """
    session, page = entries.read(Message, user_id, session_id)
    exported = {name: value for name, value in session.items() if name != "system_prompt"}  # not of the conversation
    fields = {"version": 1, "exported_at": timestamps.now(), "session": exported}
    return session, _whole_or_pieces(_entry_pieces(fields, "messages", Message, session_id, page), MAX_WHOLE_BYTES)


def webhook_run_list(user_id: str, session_id: str) -> Document:
    """Return the webhook runs of a session.

    Raises:
        NotFound: if the user has no such session.

    """
    _, page = entries.read(WebhookRun, user_id, session_id)
    return _whole_or_pieces(_entry_pieces({}, "items", WebhookRun, session_id, page), MAX_WHOLE_BYTES)


def message_page(user_id: str, session_id: str, limit: int, order: str, after: int | None) -> tuple[bytes, int | None]:
    """Return some messages of a session, ``limit`` at most, after the ``seq`` of ``after``: JSON, joined by commas.

    The second value is the ``seq`` of the last of them, None if there are no more in this ``order``.

    Raises:
        NotFound: if the user has no such session.

    """
    _, page = entries.read(Message, user_id, session_id, after, limit, order)
    return page.items, None if page.end == page.last else page.end


def _whole_or_pieces(pieces: Iterator[bytes], max_bytes: int) -> Document:
    """Return the pieces joined, or as an iterator if they have more than ``max_bytes``.

    Raises:
        NotFound: the session was deleted before so many were read.

    """
    read, size = [], 0
    try:
        for piece in pieces:
            read.append(piece)
            size += len(piece)
            if size > max_bytes:
                return chain(read, pieces)
    except DeletedDuringRead:  # nothing of it has been sent
        raise NotFound("session") from None
    return b"".join(read)


def _entry_pieces(
    fields: dict[str, Any], name: str, model: type[SessionEntry], session_id: str, page: Page
) -> Iterator[bytes]:
    """Yield an object of ``fields`` and, as its last member, a session's entries, from a page to the last.

    No transaction is open between two pages of a stream: it would prevent the checkpoints of the
    write-ahead log for as long as the slowest client reads.

    Raises:
        DeletedDuringRead: if the session is deleted before its last entry is read.

    """
    yield orjson.dumps(fields | {name: []})[:-2]
    yield page.items
    last, end = page.last, page.end or page.last
    while end < last:
        db.ensure_connection()
        page = entries.read_more(model, session_id, end, last)
        if page.end is None:
            last = entries.newer_seq(model, session_id, last)
        else:
            end = page.end
            yield b"," + page.items
    yield b"]}"
