"""The search index in PostgreSQL: the terms of each text, and a GIN index of its words.

Two tables, ``search_messages`` and ``search_titles``, store the terms; their rows are deleted with the texts that they
are of. The owner of a text is one of its words, so that a query takes the time of the user's own texts, not of
everybody's. The index (https://www.postgresql.org/docs/current/gin.html) has single words; phrases are then looked up
in the terms.

Triggers record in ``search_pending`` what is to be indexed: the messages of a session from one ``seq`` to another, or
its title. Several processes may index at once. Each locks the rows that it works on, so that no other does the same
work, and deletes them in the transaction that stores the terms: if it is killed, all is as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import uuid4

from database import db
from search.batch import INDEX_BATCH_CHARACTERS, INDEX_BATCH_SIZE, owner_term, padded_terms, read_batch
from search.terms import Phrase

# For a prefix the index reads all words that begin with it, everybody's: 70 ms for a common one in 300,000 messages.
# So it is first looked up in the terms of the user's newest texts; most users have no more of them. Those that contain
# a short one are many, wherever one looks, and the words that begin with it are too.
MAX_SCANNED, MAX_SCANNED_FOR_SHORT, SHORT_PREFIX_LENGTH = 2_000, 20_000, 2
FETCH_SIZE, PAGE_SIZE = 256, 64
MAX_NUMBER = 2**63 - 1

# The changes that nobody else is indexing.
PENDING = """
SELECT coalesce(sum(last_seq - first_seq + 1), 0) >= %s
FROM (SELECT first_seq, last_seq FROM search_pending LIMIT %s FOR KEY SHARE SKIP LOCKED) AS free
"""
PENDING_OF_USER = """
SELECT EXISTS (SELECT 1 FROM search_pending p JOIN sessions s ON s.id = p.session_id WHERE s.user_id = %s)
"""
TAKE = """
SELECT p.id, p.session_id, p.first_seq, p.last_seq, s.user_id, s.title
FROM search_pending p
LEFT JOIN LATERAL (SELECT user_id, title FROM sessions WHERE id = p.session_id OFFSET 0) AS s ON true
ORDER BY p.id LIMIT %s FOR UPDATE OF p SKIP LOCKED
"""
TAKE_OF_USER = """
SELECT p.id, p.session_id, p.first_seq, p.last_seq, s.user_id, s.title
FROM search_pending p JOIN sessions s ON s.id = p.session_id
WHERE s.user_id = %s ORDER BY p.id LIMIT %s FOR UPDATE OF p
"""
READ_MESSAGES = """
SELECT position, seq, content FROM (
    SELECT position, seq, content,
        sum(octet_length(content)) OVER (ORDER BY position, seq) - octet_length(content) AS bytes_before
    FROM unnest(%s::text[], %s::bigint[], %s::bigint[])
        WITH ORDINALITY AS p (session_id, first_seq, last_seq, position)
    CROSS JOIN LATERAL (
        SELECT m.seq, m.content FROM messages m
        WHERE m.session_id = p.session_id AND m.seq BETWEEN p.first_seq AND p.last_seq ORDER BY m.seq LIMIT %s
    ) AS of_session
) AS texts
WHERE bytes_before < %s ORDER BY position, seq LIMIT %s
"""
# A row that is locked is being deleted. It is not waited for, which could be a deadlock, but remains pending. If two
# processes have read a text before and after it was changed, the later change counts, whoever stores it first.
STORE_MESSAGES = """
WITH texts AS (
    SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[]) AS t (session_id, seq, change, terms)
), existing AS MATERIALIZED (
    SELECT session_id, seq, change, terms FROM texts JOIN messages m USING (session_id, seq)
    ORDER BY session_id, seq FOR KEY SHARE OF m SKIP LOCKED
), stored AS (
    INSERT INTO search_messages AS t (session_id, seq, change, terms)
    SELECT session_id, seq, change, terms FROM existing
    ON CONFLICT (session_id, seq) DO UPDATE SET change = excluded.change, terms = excluded.terms
    WHERE excluded.change > t.change
)
INSERT INTO search_pending (session_id, first_seq, last_seq)
SELECT session_id, seq, seq FROM texts JOIN messages USING (session_id, seq)
WHERE (session_id, seq) NOT IN (SELECT session_id, seq FROM existing)
"""
STORE_TITLES = """
WITH texts AS (
    SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS t (id, change, terms)
), existing AS MATERIALIZED (
    SELECT id, change, terms FROM texts JOIN sessions s USING (id) ORDER BY id FOR KEY SHARE OF s SKIP LOCKED
), stored AS (
    INSERT INTO search_titles AS t (session_id, change, terms) SELECT id, change, terms FROM existing
    ON CONFLICT (session_id) DO UPDATE SET change = excluded.change, terms = excluded.terms
    WHERE excluded.change > t.change
)
INSERT INTO search_pending (session_id)
SELECT id FROM texts JOIN sessions USING (id) WHERE id NOT IN (SELECT id FROM existing)
"""
CONTINUE = "UPDATE search_pending SET first_seq = %s WHERE id = %s"
FINISH = "DELETE FROM search_pending WHERE id = ANY(%s::bigint[])"
# The entries with all words, newest first. The rest is looked up as they are fetched: few may be needed. A session of
# another generation than its owner's was deleted. The planner takes the words of a text for no work at all, and would
# compute those of everybody's, if it were not for SEARCH_INDEX_ONLY and had another index for the innermost WHERE.
FIND = """
SELECT session_id, number, is_found FROM (
    SELECT session_id, number, number < %(before)s {and_has_phrases} AND (
        SELECT s.user_id = %(user_id)s AND s.generation = (SELECT generation FROM users WHERE id = %(user_id)s)
        FROM sessions s WHERE s.id = session_id
    ) AS is_found
    FROM (
        SELECT session_id, {column} AS number FROM {table}
        WHERE array_to_tsvector(string_to_array(terms, ' ')) @@ %(words)s::tsquery
        ORDER BY {column} DESC LIMIT %(limit)s
    ) AS matching
    OFFSET 0
) AS examined
WHERE is_found OR %(all)s
"""
SEARCH_INDEX_ONLY = "SET LOCAL enable_seqscan = off"
AND_HAS_PHRASES = """AND (
    SELECT {conditions} FROM {table} t WHERE t.session_id = matching.session_id AND t.{column} = matching.number
)"""
ENTRIES = """
SELECT {column}
FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS e (session_id, number, position)
{joined} ORDER BY position
"""
TERMS = ENTRIES.format(
    column="coalesce(m.terms, t.terms)",
    joined="LEFT JOIN search_messages m ON m.session_id = e.session_id AND m.seq = e.number "
    "LEFT JOIN search_titles t ON t.session_id = e.session_id AND t.change = -e.number",
)
TEXTS = ENTRIES.format(
    column="coalesce(m.content, s.title, '')",
    joined="LEFT JOIN messages m ON m.session_id = e.session_id AND m.seq = e.number "
    "LEFT JOIN sessions s ON s.id = e.session_id AND e.number < 0",
)


class _Change(NamedTuple):
    """A row of ``search_pending``, and what its session has, if that exists; both seqs are 0 if it is of the title."""

    id: int
    session_id: str
    first_seq: int
    last_seq: int
    user_id: str | None
    title: str | None


def pending_batches(min_rows: int, user_id: str | None) -> list[Callable[[float], None]]:
    """Return functions that each index a batch; see ``index.SearchIndex``."""
    sql = PENDING if user_id is None else PENDING_OF_USER
    (is_due,) = db.execute_sql(sql, (min_rows, min_rows) if user_id is None else (user_id,)).fetchone()
    return [partial(_index_batch, user_id)] if is_due else []


def find(user_id: str, wanted: Sequence[Phrase]) -> tuple[Iterator[tuple[str, int]], Iterator[tuple[str, int]]]:
    """Return the titles and the messages of a user that have all phrases, each newest first."""
    db.execute_sql(SEARCH_INDEX_ONLY)
    titles = _find("search_titles", "change", user_id, wanted)
    return ((session_id, -number) for session_id, number in titles), _find("search_messages", "seq", user_id, wanted)


def _find(table: str, column: str, user_id: str, wanted: Sequence[Phrase]) -> Iterator[tuple[str, int]]:
    names = {"table": table, "column": column}
    values: dict[str, Any] = {"user_id": user_id, "before": MAX_NUMBER}
    words, prefixes = [owner_term(user_id)], list[str]()
    conditions = []
    for phrase in wanted:
        closed = phrase.terms[:-1] if phrase.open else phrase.terms
        words += closed
        prefixes += phrase.terms[len(closed) :]
        if len(phrase.terms) > 1 or phrase.open:
            name = f"phrase{len(values)}"
            values[name] = f" {' '.join(phrase.terms)}{'' if phrase.open else ' '}"
            conditions.append(f"strpos(t.terms || ' ', %({name})s) > 0")
    phrases = AND_HAS_PHRASES.format(conditions=" AND ".join(conditions), **names) if conditions else ""
    sql = FIND.format(and_has_phrases=phrases, **names)
    if prefixes:
        is_short = min(map(len, prefixes)) <= SHORT_PREFIX_LENGTH
        limit = MAX_SCANNED_FOR_SHORT if is_short else MAX_SCANNED
        scanned = 0
        for session_id, number, is_found in _rows(
            sql, values | {"words": _tsquery(words), "limit": limit, "all": True}
        ):
            scanned += 1
            values["before"] = number
            if is_found:
                yield session_id, number
        if scanned < limit:
            return
    for session_id, number, _ in _rows(sql, values | {"words": _tsquery(words, prefixes), "limit": None, "all": False}):
        yield session_id, number


def _tsquery(words: Iterable[str], prefixes: Iterable[str] = ()) -> str:
    return " & ".join([*map(_quoted, words), *(f"{_quoted(prefix)}:*" for prefix in prefixes)])


def _quoted(word: str) -> str:
    return "'{}'".format(word.replace("\\", r"\\").replace("'", "''"))


def _rows(sql: str, values: dict[str, Any]) -> Iterator[Any]:
    """Yield the rows of a query, fetched as they are needed, in the transaction that is open."""
    with db.connection().cursor(name=uuid4().hex) as cursor:
        cursor.itersize = FETCH_SIZE
        cursor.execute(sql, values)
        yield from cursor


def entry_terms(entries: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Return the terms of each entry, with a space before and after each."""
    return map(padded_terms, _values(TERMS, entries))


def entry_texts(entries: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Return the message or the title of each entry."""
    return _values(TEXTS, entries)


def _values(sql: str, entries: Sequence[tuple[str, int]]) -> Iterator[str]:
    for start in range(0, len(entries), PAGE_SIZE):
        columns = zip(*entries[start : start + PAGE_SIZE], strict=True)
        for (value,) in db.execute_sql(sql, list(map(list, columns))).fetchall():
            yield value


def _index_batch(user_id: str | None, timeout: float) -> None:
    """Index the oldest changes, those that no other process is indexing; or a user's, and wait for the others."""
    with db.write_transaction(durable=False):
        if user_id is None:
            rows = db.execute_sql(TAKE, (INDEX_BATCH_SIZE,)).fetchall()
        else:
            db.execute_sql("SELECT set_config('lock_timeout', %s, true)", (f"{int(timeout * 1_000) + 1}ms",))
            rows = db.execute_sql(TAKE_OF_USER, (user_id, INDEX_BATCH_SIZE)).fetchall()
        changes = [_Change(*row) for row in rows]
        of_titles = {change.session_id: change for change in changes if not change.last_seq}  # the last one of each
        _store(
            STORE_TITLES, [((each.session_id, each.id), each.user_id, each.title or "") for each in of_titles.values()]
        )
        of_messages = [change for change in changes if change.last_seq and change.user_id is not None]
        others = [change for change in changes if not change.last_seq or change.user_id is None]
        finished = [*others, *_index_messages(of_messages)]
        db.execute_sql(FINISH, ([change.id for change in finished],))


def _index_messages(changes: Sequence[_Change]) -> Sequence[_Change]:
    """Index a batch of the messages of some changes, and return those that have no more of them."""
    before = accumulate((change.last_seq - change.first_seq + 1 for change in changes), initial=0)
    changes = [change for change, rows in zip(changes, before, strict=False) if rows < INDEX_BATCH_SIZE]
    if not changes:
        return changes
    columns = zip(*((change.session_id, change.first_seq, change.last_seq) for change in changes), strict=True)
    values = (*map(list, columns), INDEX_BATCH_SIZE, INDEX_BATCH_CHARACTERS, INDEX_BATCH_SIZE)
    rows = db.execute_sql(READ_MESSAGES, values).fetchall()
    if not rows:
        return changes
    texts = {}
    for position, seq, content in rows:
        change = changes[position - 1]
        texts[change.session_id, seq] = ((change.session_id, seq, change.id), change.user_id, content)
    _store(STORE_MESSAGES, list(texts.values()))
    if seq < change.last_seq:
        db.execute_sql(CONTINUE, (seq + 1, change.id))
        position -= 1
    return changes[:position]


def _store(sql: str, texts: Sequence[tuple[tuple[Any, ...], str | None, str]]) -> None:
    """Store the terms of texts: ``(key, user_id, text)``."""
    _, batch = read_batch((position, user_id, text) for position, (_, user_id, text) in enumerate(texts))
    if batch:
        columns = zip(*((*texts[position][0], terms) for position, terms in batch), strict=True)
        db.execute_sql(sql, list(map(list, columns)))
