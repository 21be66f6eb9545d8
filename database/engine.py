"""What an engine does for the rest, which knows nothing of the one that it runs on.

A further engine is a module beside ``sqlite``, an entry in ``database.OPENERS`` for the scheme of
its URLs, and its search index (see ``search.index``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol


class Engine(Protocol):
    """A Peewee database that has these in addition. Each thread has its own connection.

    Of Peewee's own, others use those below, ``close`` and ``in_transaction``.
    """

    dialect: str
    """The name of the SQL that it speaks, by which modules with SQL of their own are chosen."""
    errors: tuple[type[Exception], ...]
    """The base classes of all that its driver raises, directly or through Peewee."""
    location: str
    """Where the database is, for the operator; without secrets."""
    lock_path: Path | None
    """The file of the database that a server locks while it runs; the lock is on ``….lock`` beside it.

    None if several servers may share the database.
    """
    files: list[Path]
    """The database's own files, which nothing else may overwrite."""
    is_shared: bool
    """Whether several processes may serve from it at once."""
    is_near: bool
    """Whether a statement takes less time than handing a request to another thread."""

    # Peewee's own ---------------------------------------------------------------------------

    def connect(self, reuse_if_open: bool = False) -> bool:
        """Open this thread's connection."""

    def is_closed(self) -> bool:
        """Return whether this thread has no connection."""

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Execute a statement and return the driver's cursor."""

    def get_tables(self) -> list[str]:
        """Return the names of the tables."""

    # Connections ----------------------------------------------------------------------------

    def ensure_connection(self) -> None:
        """Open this thread's connection if it has none, and check that it can be used.

        Raises:
            ApiError: ``database_unavailable``.

        """

    def release_connection(self) -> None:
        """Give this thread's connection back, unless a transaction is open: the thread waits for something else now."""

    def is_healthy(self) -> bool:
        """Return whether the database is in its place and can be read."""

    def close_connections(self) -> None:
        """Close the connections that this process does not use any more: this thread's, and those of a pool."""

    def close_cleanly(self) -> None:
        """Finish what is left to be done before the process ends, and close this thread's connection."""

    # Transactions ---------------------------------------------------------------------------

    def read_transaction(self) -> AbstractContextManager[None]:
        """Run the block in a read transaction: all reads see one snapshot."""

    def write_transaction(self, durable: bool = True, frees_space: bool = False) -> AbstractContextManager[None]:
        """Run the block in a write transaction: all of it, or nothing; within another one, in a savepoint.

        A transaction that is not ``durable`` may be lost in a crash until the next durable one is
        committed, and its rows must have been validated. One that ``frees_space`` can be committed
        on a full disk.

        Raises:
            ApiError: ``database_busy`` if it waits too long for its turn.

        """

    def single_write(self) -> AbstractContextManager[None]:
        """Run the block, which writes with one statement and nothing else, as a transaction.

        An engine that commits each statement by itself needs no other, and saves the beginning and the end of one.
        """

    def may_write(self) -> bool:
        """Return whether a statement may write now: in a transaction, or as the one of a ``single_write``."""

    def has_open_transaction(self) -> bool:
        """Return whether the database itself still has this thread's transaction: an error may have ended it."""

    def migration_lock(self) -> AbstractContextManager[None]:
        """Keep other processes from migrating while the block runs, if the engine can."""

    # Copying a database ---------------------------------------------------------------------

    def identity(self) -> tuple[Any, ...]:
        """Return what is the same for all engines of this database, by whatever URL they were opened."""

    def exclude_servers(self, tables: Sequence[str]) -> AbstractContextManager[None]:
        """Keep servers from writing to tables for the block, however long that takes; within a transaction.

        Raises:
            StartupError: a server is running.

        """

    def stream(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Run a query and yield its rows, of which only some are in memory; within a transaction."""

    def finish_bulk_load(self, tables: Sequence[str]) -> None:
        """Do what is left to do for tables that were filled, ``seq`` included, by ``bulk_insert``."""

    # Statements -----------------------------------------------------------------------------

    def require(self, sql: str, params: Any, error: Exception) -> None:
        """Raise an error unless a query returns a row: now or, to wait for a distant database only once, with the next.

        Whatever writes raises it first, and ``check_requirement`` does if no query is executed.
        """

    def check_requirement(self) -> None:
        """Raise the error of what was required, if it is not met and no query has checked it, and forget it."""

    def drop_requirement(self) -> None:
        """Forget what was required, of a request that has failed."""

    def bulk_insert(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert validated rows, which have the values of these columns."""

    def combine_writes(self, update: Any, insert: Any) -> Any:
        """Return one query for an update and an insertion of what it returns, None if they are two statements.

        It returns what the update does. See ``UpdateThenInsert``.
        """

    def locking(self, query: Any, shared: bool = False, skip_locked: bool = False) -> Any:
        """Return a query whose rows nobody else changes before this write transaction ends.

        What is read to decide on a write must be read with it. Locks are taken in one order: a session, then its
        owner. If ``shared``, others may hold the same lock. With ``skip_locked``, rows that others have locked are left
        out instead of waited for.
        """

    def timestamp(self, seconds: float = 0) -> Any:
        """Return the expression of the time by the database's clock, which all processes share, plus some seconds."""

    def next_timestamp(self, column: Any, now: Any) -> Any:
        """Return the expression of ``now``, or of a millisecond after the time in a column if that is later."""

    def to_json(self, values: Mapping[str, Any], json_fields: Sequence[str]) -> Any:
        """Return the expression of a JSON object, as text; the values of ``json_fields`` are JSON themselves."""

    def join_json(self, objects: Any) -> Any:
        """Return the expression of all rows' JSON objects, separated by commas, as text or as UTF-8."""

    def no_nul_condition(self, column: str) -> str:
        """Return the SQL condition that a text holds no U+0000, "" if its type sees to that."""

    def error_code(self, error: BaseException) -> str:
        """Return the API's code for an error of the database, ``internal_error`` for an unexpected one."""

    # Operation ------------------------------------------------------------------------------

    def check(self) -> None:
        """Check, after the migrations, that the database is as the queries need it.

        Raises:
            StartupError: it is not.

        """

    def run_maintenance(self) -> None:
        """Do what the engine needs done beside the requests, forever, in a thread of its own."""

    def reserve_space(self) -> None:
        """Set room on the disk aside, if there is enough, for transactions that free space once it is full."""

    def backup_command(self) -> str | None:
        """Return the command line of the program that writes a backup to standard output, without secrets.

        None if ``backup`` is to be used instead.
        """

    def backup(self, target: Path) -> None:
        """Write a copy of the database, as it is at this moment, to an empty file, and check it.

        Raises:
            ValueError: the copy is not sound; its file remains.

        """
