"""Searches and the search index."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import quote

import search
from database import db
from search.batch import index_terms
from search.index import current_index
from tests.helpers.client import ApiClient
from tests.helpers.database import query_db


def find_sessions(caller: ApiClient, query: str, parameters: str = "") -> list[dict[str, Any]]:
    response = caller.get(f"/api/sessions?q={quote(query)}{parameters}")
    assert response.status_code == 200, response.data
    items: list[dict[str, Any]] = response.get_json()["items"]
    assert set(response.get_json()) == {"items"}
    return items


def find_titles(caller: ApiClient, query: str) -> list[str]:
    """Return the titles of the sessions found."""
    return [item["title"] for item in find_sessions(caller, query)]


def index_batches() -> None:
    """Index a batch of each kind of change."""
    for index_batch in current_index().pending_batches(1, None):
        index_batch(10)


ENTRIES = {
    "sqlite": """
        SELECT session_id, seq, terms FROM search LEFT JOIN messages ON seq = search.rowid WHERE search.rowid > 0
        UNION ALL SELECT session_id, NULL, terms FROM search LEFT JOIN titles t ON t.seq = -search.rowid
            WHERE search.rowid < 0
    """,
    "postgresql": """
        SELECT session_id, seq, terms FROM search_messages
        UNION ALL SELECT session_id, NULL, terms FROM search_titles JOIN sessions ON id = session_id
            WHERE title > '' OR terms LIKE '% %'
    """,
}


def stored_entries() -> list[tuple[Any, ...]]:
    """Return the session, the seq if it is a message's, and the terms of each entry."""
    return query_db(ENTRIES[db.dialect])


def entry_tables() -> tuple[str, ...]:
    """Return the tables with a row for each entry."""
    return ("titles", "search") if db.dialect == "sqlite" else ("search_titles", "search_messages")


def indexed_terms() -> set[str]:
    """Return the terms in the index of all users."""
    if db.dialect == "sqlite":
        query_db("CREATE VIRTUAL TABLE IF NOT EXISTS temp.words USING fts5vocab(main, search, row)")
        return {term for (term,) in query_db("SELECT term FROM temp.words")}
    rows = query_db("SELECT terms FROM search_titles UNION ALL SELECT terms FROM search_messages")
    return {term for (terms,) in rows for term in terms.split()}


def assert_index_complete() -> None:
    """Bring the index up to date, and check that it has every text once, and nothing else."""
    search.update_index(60)
    texts = query_db("""
        SELECT session_id, seq, user_id, content FROM messages JOIN sessions s ON s.id = session_id WHERE user_id > ''
        UNION ALL SELECT id, NULL, user_id, title FROM sessions WHERE user_id > '' AND title > ''
    """)
    expected = Counter((*key, index_terms(owner, text)) for *key, owner, text in texts)
    assert Counter(stored_entries()) == expected
    if db.dialect == "sqlite":
        query_db("INSERT INTO search (search) VALUES ('integrity-check')")
