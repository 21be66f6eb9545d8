"""The database as an engine: URLs, connections, transactions."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import peewee
import pytest
from flask import Flask

import database
from config import StartupError
from database import db, sqlite
from database.sqlite import SqliteEngine, sqlite_url
from errors import ApiError
from tests.helpers.client import ApiClient
from tests.helpers.database import query_db

pytestmark = pytest.mark.sqlite


def test_every_connection_has_the_pragmas(app: Flask) -> None:
    found: list[Any] = []

    def read_pragmas() -> None:
        db.ensure_connection()
        found.extend(db.pragma(name) for name in ("foreign_keys", "journal_mode", "synchronous"))
        db.close()

    thread = threading.Thread(target=read_pragmas)
    thread.start()
    thread.join()
    assert found == [1, "wal", 2]


def test_connection_without_foreign_keys_is_rejected(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    broken: Any = SqliteEngine(path)
    broken._pragmas = [(name, value) for name, value in broken._pragmas if name != "foreign_keys"]
    with pytest.raises(peewee.OperationalError, match="did not take"):
        broken.connect()


def test_write_that_waits_too_long_raises_database_busy(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_failed_write_is_rolled_back_and_releases_the_lock(owner: ApiClient) -> None:
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
def test_url_names_a_file(url: str, path: str) -> None:
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
def test_rejects_other_urls(url: str) -> None:
    with pytest.raises(StartupError, match="PARLEY_DATABASE_URL"):
        database.open_database(url)


def test_odd_file_names(tmp_path: Path) -> None:
    database.open_database(sqlite_url(tmp_path / "a b?c#d%e é.db"))
    assert db.is_healthy()
    db.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a b?c#d%e é.db"]


def test_rejects_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(StartupError, match="cannot be used"):
        database.open_database(sqlite_url(path))
    db.close()


def test_write_without_connection_releases_the_lock(app: Flask) -> None:
    db.close()
    for _ in range(2):
        with pytest.raises(peewee.InterfaceError), db.write_transaction(durable=False):
            pass
    acquired: list[bool] = []
    other = threading.Thread(target=lambda: acquired.append(db._write_lock.acquire(timeout=1)))
    other.start()
    other.join()
    assert acquired == [True]
