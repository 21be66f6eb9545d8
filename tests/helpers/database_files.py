"""What is in the database of a data folder, beside a server or after it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from tests.helpers import engine


def query_file(data: Path, sql: str) -> list[Any]:
    """Return the rows of a query."""
    with closing(engine.connect(data)) as connection:
        rows: list[Any] = connection.execute(sql).fetchall()
        return rows


def query_returns(data: Path, sql: str, expected: list[Any]) -> bool:
    """Return whether a query has these rows."""
    return query_file(data, sql) == expected


def expire_leases(data: Path) -> None:
    """Let what a killed process has left be so old that others finish it; one that is alone does so at any age.

    A statement that it had sent before it was killed has ended afterwards.
    """
    if engine.server is None:
        return
    with closing(engine.connect(data)) as connection:
        others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM ({others}) AS others")
        for change in (
            "drafts SET saved_at = ?",
            "webhook_runs SET started_at = ?",
            "sessions SET updated_at = ? WHERE user_id IS NULL AND generation = 0",  # not imported to the end
        ):
            connection.execute(engine.translate(f"UPDATE {change}"), ("2026-01-01T00:00:00.000Z",))


def assert_integrity(data: Path) -> None:
    """Check the file and its foreign keys; a server has checked them all along."""
    if engine.server:
        return
    assert query_file(data, "PRAGMA integrity_check") == [("ok",)]
    assert query_file(data, "PRAGMA foreign_key_check") == []
