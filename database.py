"""Opening the database, the two kinds of transaction, and queries compiled once."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import peewee
from flask import Flask
from playhouse.migrations import Runner

from config import StartError
from errors import ApiError
from reserve import Reserve

MIGRATIONS = Path(__file__).parent / "migrations"

# How long a write waits for its turn, in this process and for another one: then 503 database_busy.
PATIENCE_SECONDS = 5.0
# A statement of more rows than this is no faster, and others wait for it.
ROWS_A_STATEMENT = 50
# On a full disk, what is left for the write-ahead log once this many pages of the file are free.
LOG_BYTES, FREE_PAGES = 1_048_576, 256
# The pause of keep_log_short.
CHECKPOINT_SECONDS = 0.1
# How long readers may keep the write-ahead log from being cut, while a writer waits for that.
TRUNCATE_SECONDS = 0.1

log = logging.getLogger("parley")

db: Any = peewee.DatabaseProxy()
"""The database of the running app; the models are bound to it."""


class Database(peewee.SqliteDatabase):
    """SQLite with one connection a thread, checked when it is opened and before each request."""

    def __init__(self, path: Path, synchronous: str = "FULL"):
        self.path = path
        self._identity = _identity(path)
        self._synchronous = synchronous
        self.reserve = Reserve(path)
        self._turn = threading.RLock()  # the server puts several writes into one
        self._log_grown = threading.Event()
        super().__init__(
            # rw, not rwc: a file that is gone must not be made anew, empty, behind our back.
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=PATIENCE_SECONDS,
            autoconnect=False,
            # A transaction that reads first and then writes dies with "database is locked" when
            # another has written meanwhile; one that takes the write lock at once waits instead.
            lock_type="IMMEDIATE",
            pragmas={
                "journal_mode": "wal",  # readers go on while one writes
                "synchronous": synchronous,  # FULL: a commit is on the disk before it is acknowledged
                "foreign_keys": 1,  # off by default on every connection, and the cascades with it
                "cache_size": -8_192,  # KiB a connection; a long export fills that of its thread
                "wal_autocheckpoint": 4_000,  # pages: bringing the log into the file costs less when seldom
                "journal_size_limit": 67_108_864,
            },
        )

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._connect()  # type: ignore[misc]  # its stubs leave it out
        asked = {"foreign_keys": 1, "journal_mode": "wal"}
        got = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in asked}
        if got != asked:
            connection.close()
            raise peewee.OperationalError(f"SQLite did not take the settings asked for: {got}")
        return connection

    def prepare(self) -> None:
        """Give this thread its connection, made sure to be to the file that is at the path now.

        A deleted file stays writable for who holds it open, so writes would be acknowledged and
        lost. Looking costs 2 µs.

        Raises:
            ApiError: ``database_unavailable``.

        """
        if _identity(self.path) != self._identity:
            if not self.in_transaction():
                self.close()
            raise ApiError("database_unavailable")
        if self.is_closed():
            self.connect()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let all reads of the block see one moment of the database."""
        with self.atomic("DEFERRED"):
            yield

    @contextmanager
    def writing(self, lasting: bool = True, frees: bool = False) -> Iterator[None]:
        """Run the block as one write transaction, all of it or nothing.

        SQLite's own waiting is unfair (a sleep and another try), so the writers of this process
        stand in line for a lock first: at 64 writers the p99 fell from 2.3 s to 0.25 s.

        One that is not ``lasting`` is on the disk for certain only with the next one that is: the
        write-ahead log keeps them in their order. And its rows have been looked at one by one
        already, so that SQLite need not check them again: a sixth of an import's time.

        One that ``frees`` room, or is small and must get through, has the reserve where the disk is
        full. It is set aside again before another may write.

        Raises:
            ApiError: ``database_busy`` after PATIENCE_SECONDS in line.

        """
        began = time.monotonic()
        if not self._turn.acquire(timeout=PATIENCE_SECONDS):
            raise ApiError("database_busy")
        waited = time.monotonic() - began
        full = not self.in_transaction() and self.reserve.is_needed()
        try:
            if full and frees:
                self.reserve.give_up()
            elif full:
                self._cut_log()  # its room is all that there may be
            with self._adjusted(waited, lasting), self.atomic():
                yield
        finally:
            if full and frees:
                self._cut_log()
                self.reserve.set_aside(leave=LOG_BYTES if self._has_free_pages() else 0)
            self._turn.release()

    @contextmanager
    def _adjusted(self, waited: float, lasting: bool) -> Iterator[None]:
        """Set the connection's pragmas for one write transaction, and back."""
        try:
            if waited > 0.1:  # then another process gets only the rest of the patience
                self.pragma("busy_timeout", max(int((PATIENCE_SECONDS - waited) * 1_000), 1))
            if not lasting:
                self.pragma("synchronous", "NORMAL")
                self.pragma("ignore_check_constraints", 1)
            yield
        finally:
            if waited > 0.1:
                self.pragma("busy_timeout", int(PATIENCE_SECONDS * 1_000))
            if not lasting:
                self.pragma("ignore_check_constraints", 0)
                self.pragma("synchronous", self._synchronous)
                self._log_grown.set()

    def insert_many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, many a statement: 10,000 in 40 ms, one by one 53, in a loop of models 700."""
        connection = self.connection()
        more = "," + sql[sql.rindex("(") :]
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            some = rows[start : start + ROWS_A_STATEMENT]
            with peewee.__exception_wrapper__:  # type: ignore[attr-defined]  # as of all that goes through Peewee
                connection.execute(sql + more * (len(some) - 1), list(chain.from_iterable(some)))

    def keep_log_short(self) -> None:
        """Bring what imports leave in the write-ahead log into the file, for ever, beside the writers.

        SQLite does so by itself, in whichever commit finds the log long: an eighth of an import's
        time. That stays, for all other writing and for where this does not get to it.
        """
        while self._log_grown.wait():
            self._log_grown.clear()
            try:
                self.prepare()
                self.execute_sql("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except (ApiError, peewee.PeeweeException) as error:
                log.warning("the write-ahead log stays as it is: %s", error)
            time.sleep(CHECKPOINT_SECONDS)

    def _cut_log(self) -> None:
        """Bring the write-ahead log into the file and give its room back, if no reader is in the way."""
        try:
            self.pragma("busy_timeout", int(TRUNCATE_SECONDS * 1_000))
            try:
                self.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self.pragma("busy_timeout", int(PATIENCE_SECONDS * 1_000))
        except peewee.PeeweeException as error:
            log.warning("the write-ahead log stays as it is: %s", error)

    def _has_free_pages(self) -> bool:
        """Return whether the file itself has room, so that a write needs some in the write-ahead log alone."""
        try:
            (count,) = self.execute_sql("PRAGMA freelist_count").fetchone()
        except peewee.PeeweeException:
            return False
        return int(count) > FREE_PAGES

    def answers(self) -> bool:
        """Tell whether the file is in its place and can be read."""
        try:
            self.prepare()
            self.execute_sql("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except (ApiError, peewee.PeeweeException):
            return False
        return True

    def tidy_up(self) -> None:
        """Bring what is in the write-ahead log into the file itself, and close this thread's connection.

        Where that fails (a full disk) nothing is lost: the log is read at the next start.
        """
        try:
            self.prepare()
            self.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.close()
        except (ApiError, peewee.PeeweeException) as error:
            log.warning("the write-ahead log stays as it is: %s", error)


class Param(NamedTuple):
    """A value that a compiled query is given at each call, by name."""

    name: str


def param(name: str) -> peewee.Value:
    """Stand in a query for the value that the caller will pass under this name."""
    return peewee.Value(Param(name), converter=False, unpack=False)


class Compiled:
    """A Peewee query whose SQL is made once; called with its values, it returns the cursor.

    Peewee builds the text anew at every execution, which takes about 200 µs; running the text
    takes 5.
    """

    def __init__(self, build: Callable[[], Any]):
        self._build = build
        self._sql: str | None = None
        self._params: list[Any] = []

    @property
    def sql(self) -> str:
        """The text of the query, with the driver's placeholders."""
        if self._sql is None:
            sql, self._params = self._build().sql()
            self._sql = sql
        return self._sql

    def __call__(self, **values: Any) -> Any:
        """Run the query with its values, by name, and return the driver's cursor."""
        sql = self.sql
        return db.execute_sql(sql, [values[p.name] if type(p) is Param else p for p in self._params])

    def many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run the query once a row; the row's values stand in the order of the query's own."""
        db.insert_many(self.sql, rows)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def sqlite_path(url: str) -> Path:
    """Return the file that a ``sqlite:///`` URL names.

    Raises:
        StartError: for another kind of database, or none in a file.

    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.scheme != "sqlite" or parts.netloc or parts.query or path in ("", ":memory:"):
        raise StartError("PARLEY_DATABASE_URL: not of the form sqlite:///FILE.")
    return Path(path)


def open_database(path: Path, synchronous: str = "FULL") -> Database:
    """Open the database, made where there is none, bring its tables up to date and bind the models.

    Raises:
        StartError: where the file cannot be used, or is newer than this code.

    """
    if db.obj is not None and not db.is_closed():
        db.close()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as error:
        raise StartError(f"The database {path} cannot be opened: {error.strerror}.") from None
    database = Database(path, synchronous)
    db.initialize(database)
    try:
        database.connect()
        migrate(database)
    except peewee.PeeweeException as error:
        raise StartError(f"The database {path} cannot be used: {error}.") from None
    return database


def migrate(database: Database, directory: Path = MIGRATIONS) -> None:
    """Apply what is new in the migrations folder, each migration in a transaction of its own.

    Raises:
        StartError: where the database has been through migrations that this code does not know.

    """
    runner = Runner(database, directory=str(directory))
    unknown = [migration.name for migration in runner.status() if migration.path is None]
    if unknown:
        raise StartError(
            f"The database {database.path} is newer than this version of Parley (it has {', '.join(unknown)}). "
            "Run the newer version, or restore a backup."
        )
    try:
        runner.up()
    except peewee.DatabaseError:
        runner.up()  # another process may have applied the same ones meanwhile: look once more


def init_app(app: Flask) -> None:
    """Open the database that the settings name."""
    url = app.config["PARLEY_DATABASE_URL"]
    path = sqlite_path(url) if url else Path(app.config["PARLEY_DATA_DIR"]) / "parley.db"
    open_database(path, app.config["PARLEY_SQLITE_SYNCHRONOUS"])
