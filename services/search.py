"""Search in titles and messages: an index that is brought up to date, asked, and its finds ranked.

The index knows whose each text is, so that a question costs what its asker's texts cost, not what
everybody's do. What fits is ranked by BM25 among itself, in an index of its own in memory: BM25 in
the large one counts all rows that have a word, 0.2 s for a common one among 1,000,000 messages.
"""

from __future__ import annotations

import html
import logging
import re
import sqlite3
import time
import unicodedata
from collections import Counter
from contextlib import suppress
from typing import Any

import peewee

from database import db
from errors import ApiError
from models import Session

AT_ONCE = 64  # rows indexed in one transaction, about 1 ms; of the longest, 0.1 s
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 2.0
MOST_WORDS = 32
# Of what fits, the newest are ranked; of one session some, so that it leaves room for others.
LOOKED_AT, RANKED, RANKED_OF_ONE, RANKED_CHARACTERS = 20_000, 400, 5, 1_000_000
SNIPPET_WORDS = 24
TITLE_WEIGHT = 4
TOKENIZER = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"  # as in migrations/0005_search.py
MARKS = ("\x02", "\x03")  # of a word, within; then <mark>

BEHIND = """
SELECT coalesce((SELECT max(seq) FROM messages), 0) > (SELECT seq FROM search_progress)
    OR EXISTS (SELECT 1 FROM search_pending)
"""
NEXT = "SELECT max(seq) FROM (SELECT seq FROM messages WHERE seq > ? ORDER BY seq LIMIT ?)"
INDEX = """
INSERT INTO search (rowid, owner, text)
SELECT m.seq, replace(s.user_id, '-', ''), m.content FROM messages m JOIN sessions s ON s.id = m.session_id
WHERE m.seq > ? AND m.seq <= ? AND s.user_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM search_pending p WHERE p.session_id = s.id AND p.what = 'messages')
"""
NEXT_OF_SESSION = """
SELECT max(seq) FROM (SELECT seq FROM messages WHERE session_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?)
"""
INDEX_OF_SESSION = """
INSERT INTO search (rowid, owner, text)
SELECT m.seq, replace(s.user_id, '-', ''), m.content FROM messages m JOIN sessions s ON s.id = m.session_id
WHERE m.session_id = ? AND m.seq > ? AND m.seq <= ?
"""
# Of the titles that wait, the first few by their session: what was indexed of them goes, what they are now comes.
WAITING = "(SELECT session_id FROM search_pending WHERE what = 'title' ORDER BY session_id LIMIT 64)"
INDEX_TITLES = (
    f"""
    INSERT INTO search (search, rowid, owner, text)
    SELECT 'delete', -t.seq, replace(s.user_id, '-', ''), t.title
    FROM titles t JOIN sessions s ON s.id = t.session_id WHERE t.session_id IN {WAITING}
    """,  # noqa: S608
    f"DELETE FROM titles WHERE session_id IN {WAITING}",  # noqa: S608
    f"INSERT INTO titles (session_id, title) SELECT id, title FROM sessions WHERE id IN {WAITING} AND title > ''",  # noqa: S608
    f"""
    INSERT INTO search (rowid, owner, text)
    SELECT -t.seq, replace(s.user_id, '-', ''), t.title
    FROM titles t JOIN sessions s ON s.id = t.session_id WHERE t.session_id IN {WAITING}
    """,  # noqa: S608
    f"DELETE FROM search_pending WHERE what = 'title' AND session_id IN {WAITING}",  # noqa: S608
)
FIND_MESSAGES = """
SELECT m.session_id, m.seq FROM (
    SELECT rowid AS seq FROM search WHERE search MATCH ? AND rowid > 0 ORDER BY rowid DESC LIMIT ?
) found JOIN messages m ON m.seq = found.seq JOIN sessions s ON s.id = m.session_id
WHERE s.generation = (SELECT generation FROM users WHERE id = s.user_id)
"""
FIND_TITLES = """
SELECT t.session_id, t.title FROM (
    SELECT rowid AS seq FROM search WHERE search MATCH ? AND rowid < 0 ORDER BY rowid LIMIT ?
) found JOIN titles t ON t.seq = -found.seq JOIN sessions s ON s.id = t.session_id
WHERE s.generation = (SELECT generation FROM users WHERE id = s.user_id)
"""

log = logging.getLogger("parley")


def find(user_id: str, question: str, limit: int) -> list[dict[str, Any]]:
    """Return the user's sessions that have all words of a question, the best first, each with its ``match``.

    That is a piece of HTML: text, with ``<mark>`` round what was looked for. The last word may be
    the beginning of one.
    """
    words = _words(question)
    if not words:
        return []
    catch_up(PATIENCE_SECONDS)
    exact = [f'"{word}"' for word in words]
    texts: list[tuple[str, str, str]] = []
    with db.reading():
        for wanted in (exact, [*exact[:-1], f"{exact[-1]} *"]):
            texts = _texts(f"owner : {user_id.replace('-', '')} AND text : ({' AND '.join(wanted)})")
            if len({session_id for session_id, _, _ in texts}) >= limit:  # a beginning is the slower to look for
                break
        best = _ranked(texts, " AND ".join(wanted))
        matches: dict[str, str] = {}
        for session_id, snippet in best:
            matches.setdefault(session_id, snippet)
        chosen = list(matches)[:limit]
        return [Session.one(user_id, session_id) | {"match": matches[session_id]} for session_id in chosen]


def _words(question: str) -> list[str]:
    """Return what the index would take for words: letters, digits, and signs such as emoji."""
    folded = unicodedata.normalize("NFC", question).lower()
    found = re.findall(r"[^\W_]+|[^\s\w]", folded)
    kept = (word for word in found if len(word) > 1 or unicodedata.category(word)[0] in "LN" or _is_sign(word))
    return list(dict.fromkeys(kept))[:MOST_WORDS]


def _is_sign(character: str) -> bool:
    return unicodedata.category(character) in ("So", "Co")


def _texts(match: str) -> list[tuple[str, str, str]]:
    """Return session, title and content of what fits, the newest first; one of the two is empty."""
    seqs, of_one = [], Counter[str]()
    newest = db.execute_sql(FIND_MESSAGES, (match, LOOKED_AT))
    for session_id, seq in newest:
        of_one[session_id] += 1
        if of_one[session_id] <= RANKED_OF_ONE:
            seqs.append(seq)
        if len(seqs) == RANKED:
            break
    newest.close()
    texts = [(session_id, title, "") for session_id, title in db.execute_sql(FIND_TITLES, (match, RANKED))]
    left = RANKED_CHARACTERS
    for seq in seqs:
        ((session_id, content),) = db.execute_sql("SELECT session_id, content FROM messages WHERE seq = ?", (seq,))
        texts.append((session_id, "", content))
        left -= len(content)
        if left < 0:
            break
    return texts


def _ranked(texts: list[tuple[str, str, str]], match: str) -> list[tuple[str, str]]:
    """Return session and snippet of each text, the best first."""
    index = sqlite3.connect(":memory:")
    try:
        index.execute(
            f'CREATE VIRTUAL TABLE texts USING fts5 (session UNINDEXED, title, content, tokenize = "{TOKENIZER}")'
        )
        clean = str.maketrans(dict.fromkeys(MARKS))
        rows = ((session_id, title.translate(clean), content.translate(clean)) for session_id, title, content in texts)
        index.executemany("INSERT INTO texts VALUES (?, ?, ?)", rows)
        found = index.execute(
            f"SELECT session, snippet(texts, -1, ?, ?, '…', {SNIPPET_WORDS}) FROM texts WHERE texts MATCH ? "  # noqa: S608
            f"ORDER BY bm25(texts, 0, {TITLE_WEIGHT}, 1), rowid",
            (*MARKS, match),
        )
        return [(session_id, _marked(snippet)) for session_id, snippet in found]
    finally:
        index.close()


def _marked(snippet: str) -> str:
    return html.escape(snippet, quote=False).replace(MARKS[0], "<mark>").replace(MARKS[1], "</mark>")


def catch_up(seconds: float) -> None:
    """Index what is new, some rows a transaction, for so many seconds at most.

    Where that fails (a full disk, a lock that another process holds) the index stays as it is.
    """
    deadline = time.monotonic() + seconds
    try:
        while db.execute_sql(BEHIND).fetchone()[0] and time.monotonic() < deadline:
            with db.writing(lasting=False):
                _index_some()
    except (ApiError, peewee.PeeweeException) as error:
        log.warning("the search index stays as it is: %s", error)


def _index_some() -> None:
    (seq,) = db.execute_sql("SELECT seq FROM search_progress").fetchone()
    (end,) = db.execute_sql(NEXT, (seq, AT_ONCE)).fetchone()
    if end is not None:
        db.execute_sql(INDEX, (seq, end))
        db.execute_sql("UPDATE search_progress SET seq = ?", (end,))
        return
    given = db.execute_sql("SELECT session_id, done FROM search_pending WHERE what = 'messages' LIMIT 1").fetchone()
    if given:
        session_id, done = given
        (end,) = db.execute_sql(NEXT_OF_SESSION, (session_id, done, seq, AT_ONCE)).fetchone()
        if end is None:
            db.execute_sql("DELETE FROM search_pending WHERE session_id = ? AND what = 'messages'", (session_id,))
        else:
            db.execute_sql(INDEX_OF_SESSION, (session_id, done, end))
            db.execute_sql(
                "UPDATE search_pending SET done = ? WHERE session_id = ? AND what = 'messages'", (end, session_id)
            )
        return
    for statement in INDEX_TITLES:
        db.execute_sql(statement)


def keep_up() -> None:
    """Index what is new, for ever, beside the writers."""
    while True:
        time.sleep(PAUSE_SECONDS)
        with suppress(ApiError, peewee.PeeweeException):  # the database is not there; others will say so
            db.prepare()
            catch_up(PATIENCE_SECONDS)
