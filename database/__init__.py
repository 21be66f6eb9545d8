"""The database: opening it, bringing its tables up to date, statements whose SQL is made once.

What one engine alone does is in a module of its own (``sqlite``); all else asks ``db``, which has
what ``engine.Engine`` says.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import peewee
from flask import Flask, Response
from playhouse.migrations import Runner

from config import StartupError
from database import sqlite
from database.proxy import db
from database.statements import Statement, param
from errors import ApiError, error_response, handle_unexpected_error

__all__ = ["Statement", "db", "error_code", "handle_database_error", "init_app", "migrate", "open_database", "param"]

MIGRATIONS = Path(__file__).parent.parent / "migrations"

log = logging.getLogger("parley")


def open_database(url: str, synchronous: str = "FULL") -> sqlite.SqliteEngine:
    """Open the database, create it if there is none, bring its tables up to date and bind the models.

    Raises:
        StartupError: the database cannot be used, or is newer than this code.

    """
    if db.obj is not None and not db.is_closed():
        db.close()
    engine = sqlite.open_engine(url, synchronous)
    db.initialize(engine)
    try:
        engine.connect()
        migrate(engine)
    except peewee.PeeweeException as error:
        raise StartupError(f"The database {engine.location} cannot be used: {error}.") from None
    return engine


def migrate(engine: sqlite.SqliteEngine, directory: Path = MIGRATIONS) -> None:
    """Apply what is new in the migrations folder, each migration in a transaction of its own.

    Raises:
        StartupError: the database has been through migrations that this code does not know.

    """
    runner = Runner(engine, directory=str(directory))
    unknown = [migration.name for migration in runner.status() if migration.path is None]
    if unknown:
        raise StartupError(
            f"The database {engine.location} is newer than this version of Parley (it has {', '.join(unknown)}). "
            "Run the newer version, or restore a backup."
        )
    try:
        runner.up()
    except peewee.DatabaseError:
        runner.up()  # another process may have applied the same ones since: compare once more


def error_code(error: BaseException) -> str:
    """Return the API's code for whatever was raised, ``internal_error`` if it is none that can be expected."""
    return error.code if isinstance(error, ApiError) else str(db.error_code(error))


def handle_database_error(error: Exception) -> Response:
    """Tell a full disk, a busy database and a missing one apart; anything else is our mistake."""
    code = error_code(error)
    if code == "internal_error":
        return handle_unexpected_error(error)
    log.error("%s: %s", code, error)
    return error_response(ApiError(code))


def init_app(app: Flask) -> None:
    """Open the database that the settings name, and turn its errors into ours."""
    url = app.config["PARLEY_DATABASE_URL"] or sqlite.sqlite_url(Path(app.config["PARLEY_DATA_DIR"]) / "parley.db")
    open_database(url, app.config["PARLEY_SQLITE_SYNCHRONOUS"])
    for driver_error in (peewee.PeeweeException, sqlite3.Error):
        app.register_error_handler(driver_error, handle_database_error)
