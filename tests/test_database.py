"""What the database itself promises, whatever the code above it does."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest
from flask import Flask

import database
import models
import store
from config import StartupError
from database import Statement, db, sqlite
from database.sqlite import SqliteEngine, sqlite_url
from errors import ApiError
from models import Message, WebhookRun
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db


def schema(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    found = connection.execute("SELECT name, sql, tbl_name FROM sqlite_master WHERE sql IS NOT NULL")
    return {row for row in found if row[2] not in ("schema_migration", "sqlite_sequence")}


def test_the_migrations_make_what_the_models_say(app: Flask, tmp_path: Path) -> None:
    """But for the search index, which no model stands for."""
    migrated = {row for row in schema(db.connection()) if not re.match("search|titles|session_", row[0])}
    fresh = peewee.SqliteDatabase(str(tmp_path / "fresh.db"))
    with fresh.bind_ctx(models.TABLES), fresh.connection_context():
        fresh.create_tables(models.TABLES)
        assert schema(fresh.connection()) == migrated


def test_each_connection_has_its_settings(app: Flask) -> None:
    found: list[Any] = []

    def look() -> None:
        db.ensure_connection()
        found.extend(db.pragma(name) for name in ("foreign_keys", "journal_mode", "synchronous"))
        db.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [1, "wal", 2]


def test_a_connection_without_foreign_keys_is_refused(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    broken: Any = SqliteEngine(path)
    broken._pragmas = [(name, value) for name, value in broken._pragmas if name != "foreign_keys"]
    with pytest.raises(peewee.OperationalError, match="did not take"):
        broken.connect()


TIME = "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("messages", {"role": "tool"}),
        ("messages", {"content": ""}),
        ("messages", {"content": "x" * 50_001}),
        ("messages", {"content": "a\0b"}),
        ("messages", {"content": None}),
        ("messages", {"metadata": "[]"}),
        ("messages", {"metadata": None}),
        ("messages", {"created_at": "2026-01-01"}),
        ("messages", {"session_id": "missing"}),
        ("messages", {"session_id": None}),
        ("sessions", {"title": "x" * 121}),
        ("sessions", {"title": "\0"}),
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
def test_what_must_never_be_in_it_is_refused_by_it(
    owner: ApiClient, other: ApiClient, table: str, change: dict[str, Any]
) -> None:
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


def test_every_arrow_cascades(app: Flask) -> None:
    arrows = {
        (table, target, action)
        for table in ("users", "logins", "sessions", "messages", "webhook_runs")
        for _, _, target, _, _, _, action, _ in query_db(f"PRAGMA foreign_key_list({table})")
    }
    assert arrows == {
        ("logins", "users", "CASCADE"),
        ("sessions", "users", "CASCADE"),
        ("messages", "sessions", "CASCADE"),
        ("webhook_runs", "sessions", "CASCADE"),
    }


def statements(module: Any) -> Iterator[tuple[str, Statement]]:
    """Yield all statements of a module, also those in its tables."""
    for name, value in vars(module).items():
        for each in value.values() if isinstance(value, dict) else (value,):
            if isinstance(each, Statement):
                yield name, each
    for model in (Message, WebhookRun) if module.__name__ == "store.entries" else ():
        yield from ((model.__name__, each) for each in module._statements(model))


# At a start, from the command line or in the background: they read a whole table, of what there is little.
RARE = {
    ("users", "LIST"),
    ("users", "ANY"),
    ("webhook_runs", "INTERRUPT"),
    ("drafts", "LIST"),
    ("deletion", "OWNERS_OF_DELETED"),
    ("deletion", "DELETE_DRAFTS"),
    ("imports", "DELETE_ORPHANS"),
}


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(statement, id=f"{module}.{name}")
        for module in (each.name for each in pkgutil.iter_modules(store.__path__))
        for name, statement in statements(importlib.import_module(f"store.{module}"))
        if (module, name) not in RARE
    ],
)
def test_every_named_query_runs_on_an_index(owner: ApiClient, query: Statement) -> None:
    owner.imported(message())
    plan = [row[3] for row in query_db(f"EXPLAIN QUERY PLAN {query.sql}", *["x"] * query.sql.count("?"))]
    queried = {f"SCAN {step.split()[-1]}" for step in plan if step.startswith("CO-ROUTINE")}  # a subquery's few rows
    slow = [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step]
    assert set(slow) <= queried, plan


def test_a_write_waits_in_line_and_then_gives_up(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WRITE_LOCK_TIMEOUT", 0.05)
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        db.ensure_connection()
        with db.write_transaction():
            inside.set()
            done.wait(10)
        db.close()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    with pytest.raises(ApiError, match="database_busy"), db.write_transaction():
        pass
    done.set()
    thread.join()
    with db.write_transaction():
        pass


def test_a_write_that_fails_leaves_nothing_and_frees_the_line(owner: ApiClient) -> None:
    def fail() -> None:
        with db.write_transaction():
            query_db("UPDATE users SET username = 'changed'")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert query_db("SELECT username FROM users") == [("owner",)]
    assert owner.post("/api/sessions").status_code == 201


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///a.db", "a.db"),
        ("sqlite:////var/lib/a.db", "/var/lib/a.db"),
        ("sqlite:///with%20space/%C3%A9.db", "with space/é.db"),
    ],
)
def test_the_url_names_a_file(url: str, path: str) -> None:
    assert sqlite.sqlite_path(url) == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/a.db",
        "mysql:///a",
        "sqlite:///a?b=c",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(StartupError, match="PARLEY_DATABASE_URL"):
        sqlite.sqlite_path(url)


def test_a_newer_database_is_refused(app: Flask) -> None:
    query_db("INSERT INTO schema_migration (name, applied) VALUES ('9999_future', ?)", TIME)
    with pytest.raises(StartupError, match="newer"):
        database.migrate(db.obj)


def test_odd_file_names_work(tmp_path: Path) -> None:
    opened = database.open_database(sqlite_url(tmp_path / "a b?c#d%e é.db"))
    assert opened.is_healthy()
    opened.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a b?c#d%e é.db"]


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(StartupError, match="cannot be used"):
        database.open_database(sqlite_url(path))
    db.close()


def test_a_write_on_a_lost_connection_frees_the_line(app: Flask) -> None:
    db.close()
    for _ in range(2):
        with pytest.raises(peewee.InterfaceError), db.write_transaction(durable=False):
            pass
    freed: list[bool] = []
    other = threading.Thread(target=lambda: freed.append(db._write_lock.acquire(timeout=1)))
    other.start()
    other.join()
    assert freed == [True]
