"""Migrations: they create what models.py declares, and a newer database is rejected."""

from __future__ import annotations

import difflib
from pathlib import Path

import peewee
import pytest
from flask import Flask

import database
import models
from config import StartupError
from database import db
from tests.helpers.database import query_db
from tests.helpers.schema import describe


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
    query_db("INSERT INTO schema_migration (name, applied) VALUES ('9999_future', '2026-01-01T00:00:00.000Z')")
    with pytest.raises(StartupError, match=r"newer.*9999_future"):
        database.migrate(db.obj)
