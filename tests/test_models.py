"""Constraints of the tables: they hold whatever the code does."""

from __future__ import annotations

from typing import Any

import peewee
import pytest
from flask import Flask

from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db

TIME = "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("messages", {"role": "tool"}),
        ("messages", {"content": ""}),
        ("messages", {"content": "x" * 50_001}),
        pytest.param("messages", {"content": "a\0b"}, marks=pytest.mark.sqlite),  # other types cannot hold it
        ("messages", {"content": None}),
        ("messages", {"metadata": "[]"}),
        ("messages", {"metadata": None}),
        ("messages", {"created_at": "2026-01-01"}),
        ("messages", {"session_id": "missing"}),
        ("messages", {"session_id": None}),
        ("sessions", {"title": "x" * 121}),
        pytest.param("sessions", {"title": "\0"}, marks=pytest.mark.sqlite),
        ("sessions", {"system_prompt": ""}),
        ("sessions", {"system_prompt": "x" * 8_001}),
        ("sessions", {"user_id": "missing"}),
        ("sessions", {"updated_at": "now"}),
        ("users", {"username": ""}),
        ("users", {"name_key": "other"}),
        ("logins", {"user_id": "missing"}),
        ("webhook_runs", {"status": "odd"}),
        ("webhook_runs", {"session_id": "missing"}),
    ],
)
def test_invalid_values_are_rejected(owner: ApiClient, other: ApiClient, table: str, change: dict[str, Any]) -> None:
    session = owner.imported(message())
    query_db(
        "INSERT INTO webhook_runs (id, session_id, action, status, request, started_at) "
        "VALUES ('r', ?, 'a', 'failed', '{}', ?)",
        session["id"],
        TIME,
    )
    (column, value), *_ = change.items()
    before = query_db(f"SELECT * FROM {table}")
    with pytest.raises(peewee.IntegrityError):
        query_db(f"UPDATE {table} SET {column} = ?", value)
    assert query_db(f"SELECT * FROM {table}") == before


@pytest.mark.sqlite
def test_foreign_keys_cascade(app: Flask) -> None:
    foreign_keys = {
        (table, target, action)
        for table in ("users", "logins", "sessions", "messages", "webhook_runs")
        for _, _, target, _, _, _, action, _ in query_db(f"PRAGMA foreign_key_list({table})")
    }
    assert foreign_keys == {
        ("logins", "users", "CASCADE"),
        ("sessions", "users", "CASCADE"),
        ("messages", "sessions", "CASCADE"),
        ("webhook_runs", "sessions", "CASCADE"),
    }
