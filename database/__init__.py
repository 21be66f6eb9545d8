"""The database: opening it, migrating its tables, statements whose SQL is built once.

What one engine alone does is in a module of its own, such as ``sqlite``; all other code uses ``db``,
which is an ``engine.Engine``.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import peewee
from flask import Flask, Response
from playhouse.migrations import Runner

from config import StartupError
from database import sqlite
from database.engine import Engine
from database.proxy import db
from database.statements import Statement, UpdateThenInsert, param
from errors import ApiError, error_response, handle_unexpected_error

__all__ = [
    "Statement",
    "UpdateThenInsert",
    "create_engine",
    "db",
    "default_url",
    "error_code",
    "handle_database_error",
    "init_app",
    "migrate",
    "open_database",
    "param",
    "prepare",
]


def _open_postgresql(url: str, settings: Mapping[str, Any]) -> Engine:
    try:
        from database import postgresql
    except ImportError as error:
        raise StartupError(
            f"PARLEY_DATABASE_URL: PostgreSQL needs its driver ({error}). To install it: "
            f"{sys.executable} -m pip install -r requirements-postgresql.txt"
        ) from None
    return postgresql.open_engine(url, settings)


# By the scheme of the URL: what opens the engine, with the app's settings.
OPENERS: dict[str, Callable[[str, Mapping[str, Any]], Engine]] = {
    "sqlite": sqlite.open_engine,
    "postgresql": _open_postgresql,
    "postgres": _open_postgresql,  # as other programs write it
}
# Of a new database, processes that start at once get "database is locked" without SQLite having waited.
OPEN_TIMEOUT, OPEN_PAUSE = 5.0, 0.05
MIGRATIONS = Path(__file__).parent.parent / "migrations"
"""Has a folder for each engine, named for its dialect. From 0011 on, each number is in all of them."""

log = logging.getLogger("parley")


def default_url(data_dir: Path) -> str:
    """Return the URL of the database in a data folder, used if no setting names another one."""
    return sqlite.sqlite_url(data_dir / "parley.db")


def open_database(url: str, settings: Mapping[str, Any] | None = None) -> Engine:
    """Open the database, create it if there is none, migrate its tables and bind the models.

    Raises:
        StartupError: the database cannot be used, or is newer than this code.

    """
    if db.obj is not None:
        db.close_connections()
    engine = create_engine(url, settings)
    db.initialize(engine)
    prepare(engine)
    return engine


def create_engine(url: str, settings: Mapping[str, Any] | None = None) -> Engine:
    """Return the engine of the database at a URL, without connecting to it.

    Raises:
        StartupError: the URL is wrong; the message does not have it, since it may have a password.

    """
    opener = OPENERS.get(url.partition(":")[0])
    if opener is None:
        raise StartupError("PARLEY_DATABASE_URL: neither sqlite:///FILE nor postgresql://USER:PASSWORD@HOST/NAME.")
    return opener(url, settings or {})


def prepare(engine: Engine) -> None:
    """Connect to the database, migrate its tables and check it.

    Raises:
        StartupError: the database cannot be used, or is newer than this code.

    """
    deadline = time.monotonic() + OPEN_TIMEOUT
    while True:
        try:
            engine.connect(reuse_if_open=True)
            with engine.migration_lock():
                migrate(engine)
            engine.check()
            return
        except engine.errors as error:
            if engine.error_code(error) != "database_busy" or time.monotonic() > deadline:
                raise StartupError(f"The database {engine.location} cannot be used: {error}.") from None
            time.sleep(OPEN_PAUSE)


def migrate(engine: Engine, directory: Path | None = None) -> None:
    """Apply the new migrations of a folder, by default the engine's, each in a transaction of its own.

    Raises:
        StartupError: the database has been through migrations that this code does not know.

    """
    runner = Runner(cast(peewee.Database, engine), directory=str(directory or MIGRATIONS / engine.dialect))
    unknown = [migration.name for migration in runner.status() if migration.path is None]
    if unknown:
        raise StartupError(
            f"The database {engine.location} is newer than this version of Parley (it has {', '.join(unknown)}). "
            "Run the newer version, or restore a backup."
        )
    applied = -1
    while True:
        try:
            runner.up()
            return
        except peewee.DatabaseError:
            if len(runner.applied()) <= applied:
                raise
            applied = len(runner.applied())  # another process that starts now has applied one first: compare again


def error_code(error: BaseException) -> str:
    """Return the API's code for any exception, ``internal_error`` for an unexpected one."""
    return error.code if isinstance(error, ApiError) else str(db.error_code(error))


def handle_database_error(error: Exception) -> Response:
    """Return the response to an error of the database: full disk, busy, unavailable, or else a bug."""
    code = error_code(error)
    if code == "internal_error":
        return handle_unexpected_error(error)
    log.error("%s: %s", code, error)
    return error_response(ApiError(code))


def init_app(app: Flask) -> None:
    """Open the database that the settings name, and register the handler of its errors."""
    url = app.config["PARLEY_DATABASE_URL"] or default_url(Path(app.config["PARLEY_DATA_DIR"]))
    engine = open_database(url, app.config)
    for driver_error in engine.errors:
        app.register_error_handler(driver_error, handle_database_error)
