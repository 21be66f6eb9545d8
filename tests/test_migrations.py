"""Migrations: they create what models.py declares, and a newer database is rejected."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
import pytest
from flask import Flask
from playhouse.migrations import Runner

import database
import models
from config import StartupError
from database import db
from database.sqlite import SqliteEngine, sqlite_url
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.schema import describe


@pytest.mark.sqlite
def test_migrations_create_what_models_declare(app: Flask, tmp_path: Path) -> None:
    fresh = peewee.SqliteDatabase(str(tmp_path / "fresh.db"))
    with fresh.bind_ctx(models.TABLES), fresh.connection_context():
        fresh.create_tables(models.TABLES)
        declared = describe(fresh.connection())
    migrated = describe(db.connection())
    difference = difflib.unified_diff(declared, migrated, "models.py declares", "the migrations create", "", "", 0, "")
    lines = [line for line in difference if not line.startswith("@@")]
    if lines:
        pytest.fail("\n".join(("The tables differ: change models.py, or add a migration.", *lines)), pytrace=False)


def test_rejects_a_database_with_unknown_migrations(app: Flask) -> None:
    def migrate_once_more() -> None:
        query_db("INSERT INTO schema_migration (name, applied) VALUES ('9999_future', '2026-01-01T00:00:00.000Z')")
        database.migrate(db.obj)

    with pytest.raises(StartupError, match=r"newer.*9999_future"):
        run_in_transaction(migrate_once_more)  # which undoes it


def racing_up(directory: Path, other: peewee.SqliteDatabase, raced: int) -> Callable[[Runner], list[str]]:
    """Return a ``Runner.up`` that another process beats to the next migration ``raced`` times."""
    real_up = Runner.up
    beaten = iter(range(raced))

    def up(runner: Runner) -> list[str]:
        if next(beaten, None) is None:
            return list(real_up(runner))
        with other.connection_context():
            pending = [each for each in Runner(other, directory=str(directory)).status() if not each.applied]
            if pending:
                real_up(Runner(other, directory=str(directory)), pending[0].name)
        raise peewee.IntegrityError("UNIQUE constraint failed: schema_migration.name")

    return up


def test_two_processes_may_migrate_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "migrations"
    directory.mkdir()
    for number in range(1, 5):
        text = f"def up(migrator, db):\n    db.execute_sql('CREATE TABLE t{number} (id INTEGER)')\n"
        (directory / f"000{number}_t{number}.py").write_text(text)
    path = tmp_path / "parley.db"
    path.touch()
    engine, other = SqliteEngine(path), peewee.SqliteDatabase(str(path))
    with engine.connection_context():
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "up", racing_up(directory, other, raced=4))
            database.migrate(engine, directory)
        assert {f"t{number}" for number in range(1, 5)} <= set(engine.get_tables())
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "up", racing_up(directory, other, raced=9))
            with pytest.raises(peewee.IntegrityError):  # nobody else applies anything: the error is our own
                database.migrate(engine, directory)


def test_opening_waits_for_a_process_that_sets_the_database_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite reports a lock at once if the journal mode is being changed: so the first tries fail."""
    busy = iter(range(3))
    real_migrate = database.migrate

    def migrate(engine: Any, *arguments: Any) -> None:
        if next(busy, None) is not None:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorname = "SQLITE_BUSY"
            raise peewee.OperationalError("database is locked") from error
        real_migrate(engine, *arguments)

    monkeypatch.setattr(database, "migrate", migrate)
    opened = database.open_database(sqlite_url(tmp_path / "parley.db"))
    assert opened.is_healthy()
    opened.close_cleanly()
    monkeypatch.setattr(database, "OPEN_TIMEOUT", 0)
    busy = iter(range(1_000))
    with pytest.raises(StartupError, match="cannot be used: database is locked"):
        database.open_database(sqlite_url(tmp_path / "parley.db"))
    db.close()
