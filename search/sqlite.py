"""The search index in SQLite: an FTS5 table of terms (https://sqlite.org/fts5.html).

It stores the owner of a text as a term too, so that a query takes the time of the user's own texts,
not of everybody's. Triggers record what has changed; migrations/sqlite/0007_search_terms.py has them and
the tables.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from database import db
from search.batch import INDEX_BATCH_SIZE, index_terms, owner_term, padded_terms, read_batch
from search.terms import Phrase

# Deleted rows per transaction, and the time after which it ends all the same.
DELETE_BATCH_SIZE, DELETE_SECONDS = 512, 0.01
# A prefix of at most this many characters is looked up in the terms of this many entries before the whole index.
SHORT_PREFIX_LENGTH, MAX_SCANNED = 2, 20_000

PENDING = """
SELECT
    EXISTS (SELECT 1 FROM search_deleted),
    EXISTS (SELECT 1 FROM search_deleted LIMIT 1 OFFSET :min_rows - 1),
    coalesce((SELECT max(seq) FROM messages), 0) - (SELECT seq FROM search_progress) >= :min_rows,
    EXISTS (SELECT 1 FROM search_pending WHERE what = 'messages'),
    EXISTS (SELECT 1 FROM search_pending WHERE what = 'title' LIMIT 1 OFFSET :min_rows - 1)
"""
HAS_DELETED = "SELECT EXISTS (SELECT 1 FROM search_deleted)"
INDEXED_SEQ = "SELECT seq FROM search_progress"
NEW_MESSAGES = """
SELECT m.seq, s.user_id, m.content FROM messages m CROSS JOIN sessions s ON s.id = m.session_id
WHERE m.seq > ? ORDER BY m.seq LIMIT ?
"""
MESSAGES_OF_SESSION = """
SELECT m.seq, s.user_id, m.content FROM sessions s CROSS JOIN messages m ON m.session_id = s.id
WHERE s.id = ? AND m.seq > ? AND m.seq <= ? ORDER BY m.seq LIMIT ?
"""
PENDING_MESSAGES = "SELECT session_id, done FROM search_pending WHERE what = 'messages' LIMIT 1"
PENDING_TITLES = """
SELECT p.session_id, s.user_id, s.title, t.seq
FROM search_pending p JOIN sessions s ON s.id = p.session_id LEFT JOIN titles t ON t.session_id = s.id
WHERE p.what = 'title' LIMIT ?
"""
# The entries that match, newest first; then the rows that they belong to.
MATCHING = (
    "SELECT rowid AS number{terms} FROM search WHERE search MATCH :match AND {rowids} LIMIT :limit OFFSET :offset"
)
TITLES = "rowid < 0 AND rowid > -:before ORDER BY rowid"
MESSAGES = "rowid > 0 AND rowid < :before ORDER BY rowid DESC"
OF_TITLES = "titles t ON t.seq = -number CROSS JOIN sessions s ON s.id = t.session_id"
OF_MESSAGES = "messages m ON m.seq = number CROSS JOIN sessions s ON s.id = m.session_id"
FIND = """
SELECT s.id, number FROM ({matching}) CROSS JOIN {joined}
WHERE s.user_id = :user_id AND s.generation = (SELECT generation FROM users WHERE id = :user_id)
"""  # those of other generations were deleted
MESSAGE = "SELECT content FROM messages WHERE seq = ?"
TITLE = "SELECT title FROM sessions WHERE id = ?"
MAX_NUMBER = 2**63 - 1

_batch_lock = threading.Lock()  # two threads that index the same rows would do the work twice


def pending_batches(min_rows: int, user_id: str | None) -> list[Callable[[float], None]]:
    """Return functions that each index a batch of one kind of change, everybody's; see ``index.SearchIndex``.

    Deletions come first, and with all others, because the numbers of deleted rows are used again.
    """
    has_deleted, deleted, *others = db.execute_sql(PENDING, {"min_rows": min_rows}).fetchone()
    due = (deleted or (has_deleted and any(others)), *others)
    batches = (_remove_deleted, _index_new_messages, _index_messages_of_session, _index_titles)
    return [partial(_index_batch, batch) for batch, is_due in zip(batches, due, strict=True) if is_due]


def _index_batch(index_batch: Callable[[], None], timeout: float) -> None:
    """Index a batch, unless another thread's takes longer than ``timeout`` seconds."""
    if _batch_lock.acquire(timeout=timeout):
        try:
            index_batch()
        finally:
            _batch_lock.release()


def find(user_id: str, wanted: Sequence[Phrase]) -> tuple[Iterator[tuple[str, int]], Iterator[tuple[str, int]]]:
    """Return the titles and the messages of a user that have all phrases, each newest first."""
    return _find(TITLES, OF_TITLES, user_id, wanted), _find(MESSAGES, OF_MESSAGES, user_id, wanted)


def _find(rowids: str, joined: str, user_id: str, wanted: Sequence[Phrase]) -> Iterator[tuple[str, int]]:
    """Yield the entries that have all phrases.

    For a prefix FTS5 reads all terms that begin with it, everybody's: 0.3 s for a letter in 500,000
    messages. So a short one is looked up in the stored terms of the entries that match the rest of
    the query, in the newest MAX_SCANNED of them, before the index is asked for older ones.
    """
    matching = MATCHING.format(terms="", rowids=rowids)
    values = {"user_id": user_id, "before": MAX_NUMBER, "limit": -1, "offset": 0}
    short = [phrase for phrase in wanted if phrase.open and len(phrase.terms[-1]) <= SHORT_PREFIX_LENGTH]
    if short:
        rest = [Phrase(phrase.terms[:-1], False) if phrase in short else phrase for phrase in wanted]
        scanned = values | {"match": _match(user_id, rest), "limit": MAX_SCANNED}
        scanned |= {f"short{number}": f" {' '.join(phrase.terms)}" for number, phrase in enumerate(short)}
        conditions = "".join(f" AND instr(terms, :short{number})" for number in range(len(short)))
        with_terms = MATCHING.format(terms=", terms", rowids=rowids)
        yield from _rows(FIND.format(matching=with_terms, joined=joined) + conditions, scanned)
        last = list(_rows(matching, scanned | {"limit": 1, "offset": MAX_SCANNED - 1}))
        if not last:
            return
        values["before"] = abs(last[0][0])
    yield from _rows(FIND.format(matching=matching, joined=joined), values | {"match": _match(user_id, wanted)})


def _match(user_id: str, wanted: Iterable[Phrase]) -> str:
    phrases = [Phrase((owner_term(user_id),), False), *wanted]
    return " AND ".join(
        f'"{" ".join(phrase.terms)}"{" *" if phrase.open else ""}' for phrase in phrases if phrase.terms
    )


def _rows(sql: str, values: dict[str, Any]) -> Iterator[Any]:
    cursor = db.execute_sql(sql, values)
    try:
        yield from cursor
    finally:
        cursor.close()


def entry_terms(entries: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Return the terms of each entry, with a space before and after each."""
    for _, number in entries:
        ((stored,),) = db.execute_sql("SELECT terms FROM search WHERE rowid = ?", (number,))
        yield padded_terms(stored)


def entry_texts(entries: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Return the message or the title of each entry."""
    for session_id, number in entries:
        sql, value = (MESSAGE, number) if number > 0 else (TITLE, session_id)
        row = db.execute_sql(sql, (value,)).fetchone()
        yield str(row[0] or "") if row else ""


def _remove_deleted() -> None:
    with db.write_transaction(durable=False):
        deadline = time.monotonic() + DELETE_SECONDS
        for row in db.execute_sql("SELECT seq FROM search_deleted LIMIT ?", (DELETE_BATCH_SIZE,)).fetchall():
            db.execute_sql("DELETE FROM search WHERE rowid = ?", row)
            db.execute_sql("DELETE FROM search_deleted WHERE seq = ?", row)
            if time.monotonic() > deadline:
                break


def _index_new_messages() -> None:
    (indexed_seq,) = db.execute_sql(INDEXED_SEQ).fetchone()
    end, batch = _read(NEW_MESSAGES, indexed_seq, INDEX_BATCH_SIZE)
    if end:
        with db.write_transaction(durable=False):
            if _is_unchanged(indexed_seq, batch):
                _store(batch)
                db.execute_sql("UPDATE search_progress SET seq = ?", (end,))


def _index_messages_of_session() -> None:
    """Index messages of a session that was given an owner after they had been passed over."""
    pending = db.execute_sql(PENDING_MESSAGES).fetchone()
    if not pending:
        return
    session_id, done = pending
    (indexed_seq,) = db.execute_sql(INDEXED_SEQ).fetchone()
    end, batch = _read(MESSAGES_OF_SESSION, session_id, done, indexed_seq, INDEX_BATCH_SIZE)
    with db.write_transaction(durable=False):
        if db.execute_sql(PENDING_MESSAGES).fetchone() == pending and _is_unchanged(indexed_seq, batch):
            _store(batch)
            sql = (
                "UPDATE search_pending SET done = ? WHERE session_id = ? AND what = 'messages'"
                if end
                else "DELETE FROM search_pending WHERE ? = 0 AND session_id = ? AND what = 'messages'"
            )
            db.execute_sql(sql, (end, session_id))


def _index_titles() -> None:
    with db.write_transaction(durable=False):
        if db.execute_sql(HAS_DELETED).fetchone()[0]:
            return
        for session_id, user_id, title, seq in db.execute_sql(PENDING_TITLES, (INDEX_BATCH_SIZE,)).fetchall():
            db.execute_sql("DELETE FROM search_pending WHERE session_id = ? AND what = 'title'", (session_id,))
            if title and user_id is not None:
                if seq is None:
                    seq = db.execute_sql("INSERT INTO titles (session_id) VALUES (?)", (session_id,)).lastrowid
                _store([(-seq, index_terms(user_id, title))])
            elif seq is not None:
                db.execute_sql("DELETE FROM titles WHERE seq = ?", (seq,))


def _read(sql: str, *values: object) -> tuple[int, list[tuple[int, str]]]:
    """Return the number of the last row of a batch, 0 if there is none, and its rows for the index."""
    cursor = db.execute_sql(sql, values)
    try:
        return read_batch(cursor)
    finally:
        cursor.close()


def _is_unchanged(indexed_seq: int, batch: Sequence[tuple[int, str]]) -> bool:
    """Return whether the rows that were read before this transaction still exist."""
    first, last = (batch[0][0], batch[-1][0]) if batch else (0, 0)
    deleted = "EXISTS (SELECT 1 FROM search_deleted WHERE seq BETWEEN ? AND ?)"
    sql = f"SELECT seq = ? AND NOT {deleted} FROM search_progress"  # noqa: S608  # only constants
    return bool(db.execute_sql(sql, (indexed_seq, first, last)).fetchone()[0])


def _store(rows: Iterable[tuple[int, str]]) -> None:
    for row in rows:
        db.execute_sql("INSERT OR REPLACE INTO search (rowid, terms) VALUES (?, ?)", row)
