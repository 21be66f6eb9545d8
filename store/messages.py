"""Messages of a session: append, and read as text. As JSON they are read by ``entries``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from peewee import fn

import timestamps
from database import Statement, UpdateThenInsert, db, param
from errors import NotFound
from ids import new_id
from json_values import stored_json
from models import Message, Session
from store import sessions
from store.entries import READ_PAGE_SIZE, newer_seq
from store.fields import defaults, params, public
from store.sessions import touch_query

# What an import gives, in the order of its rows: another field gets its default from the database.
IMPORTED_FIELDS = ("id", "session_id", "role", "content", "metadata", "created_at")
_DEFAULTS = defaults(Message)

# The update is the lock, the check of the owner and the clock: messages are numbered and dated in their order.
APPEND = UpdateThenInsert(
    touch_query,
    Message.insert(params(Message, *Message.PUBLIC_FIELDS) | {Message.created_at: param(Session.updated_at.name)}),
)
IMPORT = Statement(Message.insert(params(Message, *IMPORTED_FIELDS)))
TEXTS = Statement(
    Message.select(Message.seq, Message.role, Message.content, Message.created_at)
    .where(Message.session == param("session_id"), Message.seq > param("after"), Message.seq <= param("last"))
    .order_by(Message.seq)
    .limit(READ_PAGE_SIZE)
)
NEWEST_FIRST = Statement(
    Message.select(Message.seq, Message.id, Message.role, Message.content)
    .where(Message.session == param("session_id"), Message.seq < param("before"))
    .order_by(Message.seq.desc())
    .limit(READ_PAGE_SIZE)
)
SUMMARY = Statement(
    Message.select(
        fn.COUNT(Message.seq), fn.SUM(fn.length(Message.content)), fn.MIN(Message.seq), fn.MAX(Message.seq)
    ).where(Message.session == param("session_id"), Message.seq <= param("last"))
)
ID_OF_SEQ = Statement(Message.select(Message.id).where(Message.seq == param("seq")))
UPDATE = Statement(
    Message.update(params(Message, "content", "metadata"))
    .where(Message.session == param("session_id"), Message.id == param("id"))
    .returning(*public(Message))
)
DELETE = Statement(Message.delete().where(Message.session == param("session_id"), Message.id == param("id")))


def append(
    user_id: str, session_id: str, role: str, content: str, metadata: str, message_id: str | None = None
) -> dict[str, Any]:
    """Append a message to a session of the user's and return it; ``metadata`` is JSON text.

    Raises:
        NotFound: there is no such session of the user's.

    """
    message = _DEFAULTS | {
        "id": message_id or new_id(),
        "session_id": session_id,
        "role": role,
        "content": content,
        "metadata": metadata,
    }
    touched = APPEND.execute(**message, user_id=user_id, now=timestamps.now())
    if touched is None:
        raise NotFound("session")
    (created_at,) = touched
    return message | {"created_at": created_at, "metadata": stored_json(metadata)}


def update(user_id: str, session_id: str, message_id: str, content: str, metadata: str) -> dict[str, Any] | None:
    """Change a message of a session of the user's and return it, None if it is not there.

    Raises:
        NotFound: there is no such session of the user's.

    """
    session = sessions.get_for_update(user_id, session_id)
    message = UPDATE.get(session_id=session_id, id=message_id, content=content, metadata=metadata)
    if message is None:
        return None
    sessions.update(session)  # its ETag changes
    return message | {"metadata": stored_json(metadata)}


def delete(session_id: str, message_id: str) -> None:
    """Delete a message of a session, if it is there."""
    DELETE.execute(session_id=session_id, id=message_id)


def to_rows(session: dict[str, Any], messages: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return imported messages as rows of ``IMPORTED_FIELDS``, for ``IMPORT``.

    ``messages`` are ``(role, content, metadata as JSON text, created_at or None)``.
    """
    session_id, now = session["id"], session["updated_at"]
    return [
        (new_id(), session_id, role, content, metadata, created_at or now)
        for role, content, metadata, created_at in messages
    ]


def iter_texts(session_id: str, last: int) -> Iterator[tuple[str, str, str]]:
    """Yield the role, content and time of a session's messages up to the ``seq`` ``last``, read page by page.

    Raises:
        DeletedDuringRead: the session has been deleted in the meantime.

    """
    end = 0
    while end < last:
        db.ensure_connection()
        rows = TEXTS.execute(session_id=session_id, after=end, last=last).fetchall()
        if not rows:
            last = newer_seq(Message, session_id, last)
            continue
        end = rows[-1][0]
        for _, *text in rows:
            yield tuple(text)


def summarize(session_id: str, last: int) -> dict[str, Any]:
    """Return count, characters, first and last id of a session's messages up to the ``seq`` ``last``, which exist."""
    count, characters, *ends = SUMMARY.execute(session_id=session_id, last=last).fetchone()
    first_id, last_id = (ID_OF_SEQ.execute(seq=seq).fetchone()[0] for seq in ends)
    return {"count": count, "characters": characters, "first_id": first_id, "last_id": last_id}


def iter_newest_first(session_id: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield the seq, id, role and content of a session's messages, newest first, read page by page.

    SQLite reads a page row by row, as far as they are wanted; other drivers have all of it in memory.
    """
    before, count = 2**63 - 1, READ_PAGE_SIZE
    while count == READ_PAGE_SIZE:
        cursor = NEWEST_FIRST.execute(session_id=session_id, before=before)
        count = 0
        try:
            for row in cursor:
                count, before = count + 1, row[0]
                yield row
        finally:
            cursor.close()
