"""What is in the database file of a data folder, beside a server or after it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def query_file(data: Path, sql: str) -> list[Any]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(data / "parley.db", timeout=30)) as connection:
        return connection.execute(sql).fetchall()


def query_returns(data: Path, sql: str, expected: list[Any]) -> bool:
    """Return whether a query has these rows."""
    return query_file(data, sql) == expected


def assert_integrity(data: Path) -> None:
    """Check the file and its foreign keys."""
    assert query_file(data, "PRAGMA integrity_check") == [("ok",)]
    assert query_file(data, "PRAGMA foreign_key_check") == []
