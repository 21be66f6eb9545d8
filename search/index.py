"""The index in SQLite: brought up to date beside the writers, and asked.

It stores terms, and whose they are as a term of its own, so that a query costs what the user's own
texts cost, not what everybody's do. The tables and triggers are in migrations/0007_search_terms.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import peewee

from database import db
from errors import ApiError
from search.terms import Phrase, terms

# What is indexed in one transaction: 2 to 10 ms of it, and of the longest texts 30.
BATCH_ROWS, BATCH_CHARACTERS = 128, 50_000
BATCH_DELETED, DELETE_SECONDS = 512, 0.01
# Making terms keeps the interpreter lock, and others are given it after 5 ms only: so it is let go before.
WORK_SECONDS, YIELD_SECONDS = 0.0005, 0.0001
PAUSE_SECONDS, BACKGROUND_REST = 0.5, 0.25
SHORT, MAX_SCANNED = 2, 20_000

HAS_PENDING = """
SELECT coalesce((SELECT max(seq) FROM messages), 0) - (SELECT seq FROM search_progress) > :few
    OR EXISTS (SELECT 1 FROM search_pending WHERE what = 'messages')
    OR (SELECT count(*) FROM (SELECT 1 FROM search_pending LIMIT :few + 1)) > :few
    OR (SELECT count(*) FROM (SELECT 1 FROM search_deleted LIMIT :few + 1)) > :few
"""
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
# What fits by the index, the newest first; then what it is part of.
FITTING = "SELECT rowid AS number{terms} FROM search WHERE search MATCH :match AND {rowids} LIMIT :most OFFSET :skipped"
TITLES = "rowid < 0 AND rowid > -:before ORDER BY rowid"
MESSAGES = "rowid > 0 AND rowid < :before ORDER BY rowid DESC"
OF_TITLES = "titles t ON t.seq = -number CROSS JOIN sessions s ON s.id = t.session_id"
OF_MESSAGES = "messages m ON m.seq = number CROSS JOIN sessions s ON s.id = m.session_id"
FIND = """
SELECT s.id, number FROM ({fitting}) CROSS JOIN {joined}
WHERE s.user_id = :user_id AND s.generation = (SELECT generation FROM users WHERE id = :user_id)
"""  # those of other generations were deleted
COUNT_SESSIONS = """
SELECT count(*) FROM (
    SELECT 1 FROM sessions
    WHERE user_id = :user_id AND generation = (SELECT generation FROM users WHERE id = :user_id) LIMIT :most
)
"""
EVERYTHING = 2**63 - 1

log = logging.getLogger("parley")
_one_at_a_time = threading.Lock()  # two that index the same rows would do it for nothing


Row = tuple[str, int]
"""A session, and a number in the index: the ``seq`` of a message, or a negative one for a title."""


def find(user_id: str, wanted: Sequence[Phrase]) -> tuple[Iterator[Row], Iterator[Row]]:
    """Return the titles and the messages of a user that have all phrases, each the newest first."""
    return _find(TITLES, OF_TITLES, user_id, wanted), _find(MESSAGES, OF_MESSAGES, user_id, wanted)


def _find(rowids: str, joined: str, user_id: str, wanted: Sequence[Phrase]) -> Iterator[Row]:
    """Yield the rows that have all phrases.

    The beginning of a term costs FTS5 all that begins with it, everybody's: 0.3 s for a letter in
    500,000 messages. A short one is looked for in the terms of the rows that have all the rest, in
    some thousands of them first.
    """
    fitting = FITTING.format(terms="", rowids=rowids)
    values = {"user_id": user_id, "before": EVERYTHING, "most": -1, "skipped": 0}
    short = [phrase for phrase in wanted if phrase.open and len(phrase.terms[-1]) <= SHORT]
    if short:
        rest = [Phrase(phrase.terms[:-1], False) if phrase in short else phrase for phrase in wanted]
        scanned = values | {"match": _match(user_id, rest), "most": MAX_SCANNED}
        scanned |= {f"short{number}": f" {' '.join(phrase.terms)}" for number, phrase in enumerate(short)}
        tests = "".join(f" AND instr(terms, :short{number})" for number in range(len(short)))
        with_terms = FITTING.format(terms=", terms", rowids=rowids)
        yield from _rows(FIND.format(fitting=with_terms, joined=joined) + tests, scanned)
        left = list(_rows(fitting, scanned | {"most": 1, "skipped": MAX_SCANNED - 1}))
        if not left:
            return
        values["before"] = abs(left[0][0])
    yield from _rows(FIND.format(fitting=fitting, joined=joined), values | {"match": _match(user_id, wanted)})


def _match(user_id: str, wanted: Iterable[Phrase]) -> str:
    phrases = [Phrase((_owner(user_id),), False), *wanted]
    return " AND ".join(
        f'"{" ".join(phrase.terms)}"{" *" if phrase.open else ""}' for phrase in phrases if phrase.terms
    )


def _rows(sql: str, values: dict[str, Any]) -> Iterator[Any]:
    cursor = db.execute_sql(sql, values)
    try:
        yield from cursor
    finally:
        cursor.close()


def _owner(user_id: str) -> str:
    return f"={user_id.replace('-', '')}"


def count_sessions(user_id: str, most: int) -> int:
    """Return how many sessions a user has, or ``most`` if there are more."""
    return int(db.execute_sql(COUNT_SESSIONS, {"user_id": user_id, "most": most}).fetchone()[0])


def stored_terms(number: int) -> str:
    """Return the terms of a row of the index, with a space before and after each."""
    ((stored,),) = db.execute_sql("SELECT terms FROM search WHERE rowid = ?", (number,))
    return f" {stored.partition(' ')[2]} "


def text_of(number: int) -> str:
    """Return the message or the title that a row of the index stands for."""
    sql = (
        "SELECT content FROM messages WHERE seq = ?"
        if number > 0
        else "SELECT s.title FROM titles t JOIN sessions s ON s.id = t.session_id WHERE t.seq = ?"
    )
    row = db.execute_sql(sql, (abs(number),)).fetchone()
    return str(row[0] or "") if row else ""


def update_index(seconds: float, background: bool = False) -> None:
    """Index what is new, a batch a transaction, for at most so many seconds.

    In the ``background`` this thread sleeps after each batch for some of what it took, and leaves
    what makes no whole batch for the next time: row by row, indexing costs writers a tenth of
    their rate. If something fails (a full disk, a lock that another process holds) the index stays
    as it is.
    """
    deadline = time.monotonic() + seconds
    few, rest = 0, BACKGROUND_REST if background else 0.0
    try:
        while (began := time.monotonic()) < deadline and db.execute_sql(HAS_PENDING, {"few": few}).fetchone()[0]:
            if _one_at_a_time.acquire(timeout=deadline - began):
                try:
                    _index_batch()
                finally:
                    _one_at_a_time.release()
            time.sleep(rest * (time.monotonic() - began))
            few = BATCH_ROWS if background else 0
    except (ApiError, peewee.PeeweeException) as error:
        log.warning("the search index stays as it is: %s", error)


def run_indexer() -> None:
    """Index what is new, for ever, beside the writers."""
    while True:
        time.sleep(PAUSE_SECONDS)
        with suppress(ApiError, peewee.PeeweeException):  # the database is not there; others will say so
            db.ensure_connection()
            update_index(60.0, background=True)


def _index_batch() -> None:
    """Take out what is deleted; then index new messages, those of sessions that got an owner, and titles.

    Deleted rows come first, since their numbers are used again.
    """
    if db.execute_sql("SELECT 1 FROM search_deleted LIMIT 1").fetchone():
        _take_out_deleted()
        return
    (progress,) = db.execute_sql("SELECT seq FROM search_progress").fetchone()
    end, rows = _read(NEW_MESSAGES, progress, BATCH_ROWS)
    if end:
        with db.write_transaction(durable=False):
            if _is_unchanged(progress, rows):
                _store(rows)
                db.execute_sql("UPDATE search_progress SET seq = ?", (end,))
        return
    pending = db.execute_sql(PENDING_MESSAGES).fetchone()
    if pending:
        session_id, done = pending
        end, rows = _read(MESSAGES_OF_SESSION, session_id, done, progress, BATCH_ROWS)
        with db.write_transaction(durable=False):
            if db.execute_sql(PENDING_MESSAGES).fetchone() == pending and _is_unchanged(progress, rows):
                _store(rows)
                sql = (
                    "UPDATE search_pending SET done = ? WHERE session_id = ? AND what = 'messages'"
                    if end
                    else "DELETE FROM search_pending WHERE ? = 0 AND session_id = ? AND what = 'messages'"
                )
                db.execute_sql(sql, (end, session_id))
        return
    with db.write_transaction(durable=False):
        _index_titles()


def _read(sql: str, *values: object) -> tuple[int, list[tuple[int, str]]]:
    """Return the number where a batch ends, 0 if there is none, and its rows for the index.

    It is read and its terms are made outside the transaction that stores it: others write meanwhile.
    """
    end, rows, characters = 0, [], 0
    cursor = db.execute_sql(sql, values)
    worked_since = time.monotonic()
    for seq, user_id, content in cursor:
        if time.monotonic() - worked_since > WORK_SECONDS:
            time.sleep(YIELD_SECONDS)
            worked_since = time.monotonic()
        end = seq
        if user_id is not None:
            rows.append((seq, " ".join((_owner(user_id), *terms(content)))))
            characters += len(content)
            if characters > BATCH_CHARACTERS:
                break
    cursor.close()
    return end, rows


def _is_unchanged(progress: int, rows: Sequence[tuple[int, str]]) -> bool:
    """Return whether what was read before this transaction is still there."""
    first, last = (rows[0][0], rows[-1][0]) if rows else (0, 0)
    deleted = "EXISTS (SELECT 1 FROM search_deleted WHERE seq BETWEEN ? AND ?)"
    sql = f"SELECT seq = ? AND NOT {deleted} FROM search_progress"  # noqa: S608  # made of constants
    return bool(db.execute_sql(sql, (progress, first, last)).fetchone()[0])


def _store(rows: Iterable[tuple[int, str]]) -> None:
    for row in rows:
        db.execute_sql("INSERT OR REPLACE INTO search (rowid, terms) VALUES (?, ?)", row)


def _take_out_deleted() -> None:
    with db.write_transaction(durable=False):
        deadline = time.monotonic() + DELETE_SECONDS
        for row in db.execute_sql("SELECT seq FROM search_deleted LIMIT ?", (BATCH_DELETED,)).fetchall():
            db.execute_sql("DELETE FROM search WHERE rowid = ?", row)
            db.execute_sql("DELETE FROM search_deleted WHERE seq = ?", row)
            if time.monotonic() > deadline:
                break


def _index_titles() -> None:
    if db.execute_sql("SELECT 1 FROM search_deleted LIMIT 1").fetchone():
        return
    for session_id, user_id, title, seq in db.execute_sql(PENDING_TITLES, (BATCH_ROWS,)).fetchall():
        db.execute_sql("DELETE FROM search_pending WHERE session_id = ? AND what = 'title'", (session_id,))
        if title and user_id is not None:
            if seq is None:
                seq = db.execute_sql("INSERT INTO titles (session_id) VALUES (?)", (session_id,)).lastrowid
            _store([(-seq, " ".join((_owner(user_id), *terms(title))))])
        elif seq is not None:
            db.execute_sql("DELETE FROM titles WHERE seq = ?", (seq,))
