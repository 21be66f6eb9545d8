"""Searches and the search index."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import search
from search.index import current_index
from search.terms import terms
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
    for index_batch in current_index().pending_batches(1):
        index_batch()


def assert_index_complete() -> None:
    """Bring the index up to date, and check that it has every text once, and nothing else."""
    search.update_index(60)
    texts = query_db(
        "SELECT user_id, content, seq FROM messages JOIN sessions s ON s.id = session_id WHERE user_id > ''"
    )
    texts += query_db("SELECT user_id, s.title, -t.seq FROM titles t JOIN sessions s ON s.id = t.session_id")
    expected = {(seq, " ".join((f"={owner.replace('-', '')}", *terms(text)))) for owner, text, seq in texts}
    assert set(query_db("SELECT rowid, terms FROM search")) == expected
    query_db("INSERT INTO search (search) VALUES ('integrity-check')")
    assert query_db("SELECT session_id FROM titles ORDER BY 1") == query_db(
        "SELECT id FROM sessions WHERE title > '' AND user_id IS NOT NULL ORDER BY 1"
    )
