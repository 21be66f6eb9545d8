"""SQLite: one file, one connection per thread, one writer at a time.

Longer than 300 lines so that all that only SQLite has (pragmas, the write-ahead log, the names of
its errors, its JSON functions) is in one place.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import peewee
from peewee import Case, fn

from config import StartupError
from database.lock import locked
from database.reserve import Reserve
from errors import ApiError

# Seconds that a write waits for its turn, in this process and for another one: then 503 database_busy.
WRITE_LOCK_TIMEOUT = 5.0
# Rows per statement. More are no faster, and other threads wait for the whole statement.
INSERT_BATCH_SIZE = 50
# On a full disk, the bytes left for the write-ahead log once this many pages of the file are free.
WAL_BYTES, FREE_PAGES = 1_048_576, 256
# Milliseconds are how SQLite stores times within a statement, so that adding one is exact.
TIMESTAMP_FORMAT = "%Y-%m-%dT%H:%M:%fZ"
# Seconds between two checkpoints.
CHECKPOINT_INTERVAL = 0.1
# Seconds that a writer waits for readers that keep the write-ahead log from being truncated.
TRUNCATE_TIMEOUT = 0.1

# SQLite's own names (https://www.sqlite.org/rescode.html), the extended ones by their beginning.
CODE_BY_SQLITE_ERROR = {
    "SQLITE_FULL": "disk_full",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "token_revoked",  # only an owner can be missing: removed since
    "SQLITE_CONSTRAINT_NOTNULL": "token_revoked",  # a user who is being removed has no generation
    "SQLITE_CONSTRAINT_PRIMARYKEY": "conflict",  # only an Idempotency-Key is the client's own choice
    "SQLITE_BUSY": "database_busy",
    "SQLITE_LOCKED": "database_busy",
    "SQLITE_IOERR": "database_unavailable",
    "SQLITE_CANTOPEN": "database_unavailable",
    "SQLITE_READONLY": "database_unavailable",
    "SQLITE_CORRUPT": "database_unavailable",
    "SQLITE_NOTADB": "database_unavailable",
    "SQLITE_PERM": "database_unavailable",
    "SQLITE_PROTOCOL": "database_unavailable",
}

log = logging.getLogger("parley")


class SqliteEngine(peewee.SqliteDatabase):
    """SQLite with one connection per thread, checked when it is opened and before each request."""

    dialect = "sqlite"
    is_shared = False
    is_near = True
    errors: tuple[type[Exception], ...] = (peewee.PeeweeException, sqlite3.Error)

    def __init__(self, path: Path, synchronous: str = "FULL"):
        self.path = path
        self.lock_path: Path | None = path
        self.location = str(path.absolute())
        self.files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
        self._inode = _inode(path)
        self._synchronous = synchronous
        self.reserve = Reserve(path)
        self._write_lock = threading.RLock()  # reentrant: the server commits several writes as one
        self._wal_has_grown = threading.Event()
        super().__init__(
            # rw, not rwc: a file that was deleted must not be created again, empty, unnoticed.
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=WRITE_LOCK_TIMEOUT,
            autoconnect=False,
            # A transaction that reads first and then writes fails with "database is locked" if
            # another has written since; one that takes the write lock at once waits instead.
            lock_type="IMMEDIATE",
            pragmas={
                "journal_mode": "wal",  # readers go on while one writes
                "synchronous": synchronous,  # FULL: a commit is on the disk before it is acknowledged
                "foreign_keys": 1,  # off by default on every connection, and the cascades with it
                "cache_size": -8_192,  # KiB a connection; a long export fills that of its thread
                "wal_autocheckpoint": 4_000,  # pages: a checkpoint costs less if it is rare
                "journal_size_limit": 67_108_864,
            },
        )

    # Connections ----------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._connect()  # type: ignore[misc]  # its stubs leave it out
        wanted = {"foreign_keys": 1, "journal_mode": "wal"}
        got = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
        if got != wanted:
            connection.close()
            raise peewee.OperationalError(f"SQLite did not take the settings asked for: {got}")
        return connection

    def ensure_connection(self) -> None:
        """Open this thread's connection if it has none, and check that it is to the file now at the path.

        A deleted file stays writable for those who have it open, so writes would be acknowledged
        and lost. Comparing inodes takes 2 µs.

        Raises:
            ApiError: ``database_unavailable``.

        """
        if _inode(self.path) != self._inode:
            if not self.in_transaction():
                self.close()
            raise ApiError("database_unavailable")
        if self.is_closed():
            self.connect()

    def release_connection(self) -> None:
        """Do nothing: a connection costs nobody else anything."""

    def is_healthy(self) -> bool:
        """Return whether the file is in its place and can be read."""
        try:
            self.ensure_connection()
            self.execute_sql("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except (ApiError, peewee.PeeweeException):
            return False
        return True

    # Transactions ---------------------------------------------------------------------------

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """Run the block in a read transaction: all reads see one snapshot."""
        if self.in_transaction():
            yield
            return
        with self.atomic("DEFERRED"):
            yield

    @contextmanager
    def write_transaction(self, durable: bool = True, frees_space: bool = False) -> Iterator[None]:
        """Run the block in a write transaction: all of it, or nothing; within another one, in a savepoint.

        SQLite's own waiting is unfair (a sleep and another try), so the writers of this process
        queue for a lock first: at 64 writers the p99 fell from 2.3 s to 0.25 s.

        One that is not ``durable`` is on the disk for certain only with the next one that is: the
        write-ahead log keeps them in their order. And its rows have been validated one by one
        already, so that SQLite need not check them again: a sixth of an import's time.

        One that ``frees_space``, or is small and must get through, has the reserve if the disk is
        full. It is allocated again before another may write.

        Raises:
            ApiError: ``database_busy`` after WRITE_LOCK_TIMEOUT seconds in the queue.

        """
        if self.in_transaction():
            with self.savepoint():
                yield
            return
        started_at = time.monotonic()
        if not self._write_lock.acquire(timeout=WRITE_LOCK_TIMEOUT):
            raise ApiError("database_busy")
        waited = time.monotonic() - started_at
        is_full = self.reserve.is_needed()
        try:
            if is_full and frees_space:
                self.reserve.release()
            elif is_full:
                self._truncate_wal()  # its room is all that there may be
            with self._transaction_pragmas(waited, durable), self.atomic():
                yield
        finally:
            if is_full and frees_space:
                self._truncate_wal()
                self.reserve.allocate(leave=WAL_BYTES if self._has_free_pages() else 0)
            self._write_lock.release()

    @contextmanager
    def _transaction_pragmas(self, waited: float, durable: bool) -> Iterator[None]:
        """Set the connection's pragmas for one write transaction, and back."""
        try:
            if waited > 0.1:  # then another process gets only the rest of the timeout
                self.pragma("busy_timeout", max(int((WRITE_LOCK_TIMEOUT - waited) * 1_000), 1))
            if not durable:
                self.pragma("synchronous", "NORMAL")
                self.pragma("ignore_check_constraints", 1)
            yield
        finally:
            if waited > 0.1:
                self.pragma("busy_timeout", int(WRITE_LOCK_TIMEOUT * 1_000))
            if not durable:
                self.pragma("ignore_check_constraints", 0)
                self.pragma("synchronous", self._synchronous)
                self._wal_has_grown.set()

    def single_write(self) -> AbstractContextManager[None]:
        """Run the block in a write transaction, whose commits are counted in fsyncs and not in statements."""
        return self.write_transaction()

    def may_write(self) -> bool:
        """Return whether a transaction is open."""
        return bool(self.in_transaction())

    def has_open_transaction(self) -> bool:
        """Return whether SQLite still has this thread's transaction: it undoes all of it if the disk is full."""
        return bool(self.connection().in_transaction)

    @contextmanager
    def migration_lock(self) -> Iterator[None]:
        """Run the block: a migration is a write transaction, and whoever comes second notices."""
        yield

    # Copying a database ---------------------------------------------------------------------

    def identity(self) -> tuple[Any, ...]:
        """Return the file's number, which all of its names share."""
        return (self.dialect, self._inode)

    @contextmanager
    def exclude_servers(self, tables: Sequence[str]) -> Iterator[None]:
        """Take the lock of a server for the block.

        Raises:
            StartupError: a server is running.

        """
        with locked(self.path):
            yield

    def stream(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Run a query and yield its rows as SQLite finds them."""
        yield from self.execute_sql(sql)

    def finish_bulk_load(self, tables: Sequence[str]) -> None:
        """Do nothing: the next ``seq`` follows the highest one by itself."""

    # Statements -----------------------------------------------------------------------------

    def require(self, sql: str, params: Any, error: Exception) -> None:
        """Raise an error unless a query returns a row."""
        if self.execute_sql(sql, params).fetchone() is None:
            raise error

    def check_requirement(self) -> None:
        """Do nothing: it was checked at once."""

    def drop_requirement(self) -> None:
        """Do nothing: nothing is left."""

    def bulk_insert(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert validated rows, many per statement: 10,000 in 40 ms; one by one 53, in a loop of models 700."""
        connection = self.connection()
        names = ", ".join(f'"{column}"' for column in columns)
        row = f"({', '.join('?' * len(columns))})"
        for start in range(0, len(rows), INSERT_BATCH_SIZE):
            batch = rows[start : start + INSERT_BATCH_SIZE]
            sql = f'INSERT INTO "{table}" ({names}) VALUES {", ".join([row] * len(batch))}'  # noqa: S608  # our own names
            with peewee.__exception_wrapper__:  # type: ignore[attr-defined]  # as of all that goes through Peewee
                connection.execute(sql, list(chain.from_iterable(batch)))

    def combine_writes(self, update: Any, insert: Any) -> Any:
        """Return None: an update's result can be inserted by a second statement alone, which costs nothing here."""
        return None

    def locking(self, query: Any, shared: bool = False, skip_locked: bool = False) -> Any:
        """Return the query as it is: a write transaction has no other beside it."""
        return query

    def timestamp(self, seconds: float = 0) -> Any:
        """Return the expression of the time by the database's clock, plus some seconds."""
        return fn.strftime(TIMESTAMP_FORMAT, "now", f"{seconds:+} seconds")

    def next_timestamp(self, column: Any, now: Any) -> Any:
        """Return the expression of ``now``, or of a millisecond after the time in a column if that is later.

        A comparison first: SQLite's computing with times takes 7 µs, a fifth of an append's statements.
        """
        return Case(None, [(column < now, now)], fn.strftime(TIMESTAMP_FORMAT, column, "+0.001 seconds"))

    def to_json(self, values: Mapping[str, Any], json_fields: Sequence[str]) -> Any:
        """Return the expression of a JSON object, as text; the values of ``json_fields`` are JSON themselves.

        SQLite writes the JSON: without a Python object per value, and without the interpreter lock.
        """
        values = {name: fn.json(value) if name in json_fields else value for name, value in values.items()}
        return fn.json_object(*chain.from_iterable(values.items()))

    def join_json(self, objects: Any) -> Any:
        """Return the expression of all rows' JSON objects, separated by commas, as bytes."""
        return fn.group_concat(objects).cast("BLOB")

    def no_nul_condition(self, column: str) -> str:
        """Return the SQL condition that a text holds no U+0000, at which ``length()`` stops."""
        return f"instr({column}, char(0)) = 0"

    def error_code(self, error: BaseException) -> str:
        """Return the API's code for an error of the database, ``internal_error`` for an unexpected one.

        A full disk may come as "cannot rollback", with SQLITE_FULL further down the chain of causes,
        so the whole chain is searched.
        """
        names = {getattr(link, "sqlite_errorname", "") for link in _exception_chain(error)}
        codes = (
            code for prefix, code in CODE_BY_SQLITE_ERROR.items() if any(name.startswith(prefix) for name in names)
        )
        return next(codes, "internal_error")

    # The write-ahead log and the file -------------------------------------------------------

    def check(self) -> None:
        """Do nothing: a connection is checked when it is opened."""

    def run_maintenance(self) -> None:
        """Checkpoint the write-ahead log after imports, forever, beside the writers.

        SQLite does so by itself, in whichever commit finds the log long: an eighth of an import's
        time. That remains, for all other writes and for a log that grows faster than this.
        """
        while self._wal_has_grown.wait():
            self._wal_has_grown.clear()
            try:
                self.ensure_connection()
                self.execute_sql("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except (ApiError, peewee.PeeweeException) as error:
                log.warning("the write-ahead log stays as it is: %s", error)
            time.sleep(CHECKPOINT_INTERVAL)

    def _truncate_wal(self) -> None:
        """Checkpoint the write-ahead log and free its room on the disk, unless a reader still needs it."""
        try:
            self.pragma("busy_timeout", int(TRUNCATE_TIMEOUT * 1_000))
            try:
                self.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self.pragma("busy_timeout", int(WRITE_LOCK_TIMEOUT * 1_000))
        except peewee.PeeweeException as error:
            log.warning("the write-ahead log stays as it is: %s", error)

    def _has_free_pages(self) -> bool:
        """Return whether the file itself has room, so that a write needs some in the write-ahead log alone."""
        try:
            (count,) = self.execute_sql("PRAGMA freelist_count").fetchone()
        except peewee.PeeweeException:
            return False
        return int(count) > FREE_PAGES

    def reserve_space(self) -> None:
        """Create the reserve for a full disk, if there is room for it."""
        self.reserve.allocate(leave=self.reserve.LOW)

    def close_connections(self) -> None:
        """Close this thread's connection; the other threads' are theirs."""
        if not self.is_closed():
            self.close()

    def close_cleanly(self) -> None:
        """Checkpoint the write-ahead log into the file itself, and close this thread's connection.

        If that fails (a full disk) nothing is lost: the log is read at the next start.
        """
        try:
            self.ensure_connection()
            self.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.close()
        except (ApiError, peewee.PeeweeException) as error:
            log.warning("the write-ahead log stays as it is: %s", error)

    def backup_command(self) -> str | None:
        """Return None: ``backup`` writes one."""
        return None

    def backup(self, target: Path) -> None:
        """Write a copy of the database, as it is at this moment, to an empty file, and check it.

        Raises:
            ValueError: the copy is not sound; its file remains.

        """
        self.execute_sql("VACUUM INTO ?", (str(target),))  # the file keeps its mode
        with closing(sqlite3.connect(target)) as copy:
            (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
            broken = copy.execute("PRAGMA foreign_key_check").fetchone()
        if verdict != "ok" or broken:
            raise ValueError(f"The copy is not sound: {broken or verdict}.")


def open_engine(url: str, settings: Mapping[str, Any]) -> SqliteEngine:
    """Return the engine of a database file, which is created if there is none.

    Raises:
        StartupError: the URL names no file, or the file cannot be created.

    """
    path = sqlite_path(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as error:
        raise StartupError(f"The database {path} cannot be opened: {error.strerror}.") from None
    return SqliteEngine(path, settings.get("PARLEY_SQLITE_SYNCHRONOUS", "FULL"))


def sqlite_url(path: Path) -> str:
    """Return the ``sqlite:///`` URL of a file."""
    return f"sqlite:///{quote(os.fsencode(path))}"


def sqlite_path(url: str) -> Path:
    """Return the file that a ``sqlite:///`` URL names.

    Raises:
        StartupError: the URL is of another kind of database, or names no file.

    """
    parts = urlsplit(url)
    path = unquote(parts.path, errors="surrogateescape")[1:]
    if parts.scheme != "sqlite" or parts.netloc or parts.query or path in ("", ":memory:"):
        raise StartupError("PARLEY_DATABASE_URL: not of the form sqlite:///FILE.")
    return Path(path)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _exception_chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__, getattr(link, "orig", None)]
