"""PostgreSQL: a pool of connections, as many writers as there are, and as many processes.

https://www.postgresql.org/docs/current/ and https://www.psycopg.org/psycopg3/docs/ have the names used here.
"""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import peewee
import psycopg
from peewee import SQL, fn
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from config import StartupError
from database import sqlstates
from database.libpq import Connection, Cursor
from database.pool import POOL_TIMEOUT, ConnectionPool
from database.requirement import JOINED_COLUMNS, Requirement

MIN_VERSION = 15
# libpq takes what is behind an @ or a / in a password for the name of the host or of the database, which are logged.
URL = re.compile("[a-z]+://([^@/?]*@)?[^@?]*([?].*)?")
# Set on every connection, and not as its options, which a pooler may refuse. Who waits for a row that others have
# locked gets 503 database_busy, sooner than a proxy loses its patience; no statement takes as long as RESPONSE_TIMEOUT;
# and a transaction that is left idle, by a process that hangs, must not keep its locks.
SESSION_SETTINGS = """
SET lock_timeout = '5s'; SET statement_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s';
SET TimeZone = 'UTC'; SET client_min_messages = 'warning'
"""
# One plan for each statement, by its index, whatever the statistics were when it was made. Plans for the values of the
# parameters are made anew each time, and take a session that was imported just now for an empty one.
PLANNER_SETTINGS = """
SET plan_cache_mode = force_generic_plan; SET jit = off;
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off
"""
# Of libpq, which waits for a peer that has vanished for ever otherwise. What the URL has takes precedence.
CONNECTION_PARAMETERS: dict[str, str | int] = {
    "application_name": "parley",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# Connections beside those of the threads that serve: for logins, transfers, the housekeeping and what is stored later.
OTHER_CONNECTIONS = 12
TIMESTAMP_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
# Of the advisory lock that a process holds while it migrates; any number that nobody else uses.
MIGRATION_LOCK = 7_305_841_276

# Who else is connected to the database by the same name, in words for the operator.
OTHER_CLIENTS = """
SELECT coalesce(nullif(application_name, ''), 'a client'), coalesce(host(client_addr), 'its own host'), count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND backend_type = 'client backend'
AND pid <> pg_backend_pid()
GROUP BY 1, 2 ORDER BY 1, 2
"""
POLL_INTERVAL = 0.1
# Seconds between two looks for connections on which no response comes.
CUT_INTERVAL = 1.0


class _ThreadState(threading.local):
    """What each thread has of its own, besides its connection."""

    required: Requirement | None = None
    writes_once = False


class PostgresqlEngine(peewee.PostgresqlDatabase):
    """PostgreSQL with a pool of connections; a thread has one while it serves a request."""

    dialect = "postgresql"
    is_shared = True
    is_near = False
    errors: tuple[type[Exception], ...] = (peewee.PeeweeException, psycopg.Error)
    lock_path: Path | None = None
    files: list[Path] = []

    def __init__(self, url: str, max_connections: int):
        given = conninfo_to_dict(url)
        self.location = make_conninfo("", **{name: value for name, value in given.items() if "password" not in name})
        defaults = {name: value for name, value in CONNECTION_PARAMETERS.items() if name not in given}
        self._pool = ConnectionPool(self._open_connection, max_connections)
        self._local = _ThreadState()
        super().__init__(make_conninfo("", **given, **defaults), prefer_psycopg3=True, autoconnect=False)

    # Connections ----------------------------------------------------------------------------

    def _open_connection(self) -> Connection:
        """Return a new connection with the settings that all have."""
        connection = Connection.connect(self.database, autocommit=True)
        try:
            connection.run(f"{SESSION_SETTINGS};{PLANNER_SETTINGS}")
        except BaseException:
            connection.close()
            raise
        return connection

    def connect(self, reuse_if_open: bool = False) -> bool:
        """Take a connection out of the pool; unlike Peewee's own, without holding up the other threads meanwhile."""
        if not self.is_closed():
            if reuse_if_open:
                return False
            raise peewee.OperationalError("Connection already opened.")
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]  # as of all that goes through Peewee
            connection = self._pool.take()
        state = self._state  # type: ignore[attr-defined]  # of this thread
        state.reset()
        state.set_connection(connection)
        return True

    def _close(self, connection: Connection) -> None:
        self._pool.give_back(connection)

    def ensure_connection(self) -> None:
        """Take a connection out of the pool if this thread has none, and replace one that is lost."""
        if not self.is_closed() and not self.in_transaction() and self.connection().is_lost:
            self.close()
        if self.is_closed():
            self.connect()

    def release_connection(self) -> None:
        """Give this thread's connection back to the pool, unless a transaction is open."""
        if not self.is_closed() and not self.in_transaction():
            self.close()

    def is_healthy(self) -> bool:
        """Return whether the database can be read."""
        try:
            self.ensure_connection()
            self.execute_sql("SELECT 1").fetchone()
        except self.errors:
            return False
        return True

    def close_connections(self) -> None:
        """Close this thread's connection and those that are not in use."""
        self.close()
        self._pool.close_idle()

    def close_cleanly(self) -> None:
        """Close the connections; nothing else is left to be done."""
        self.close_connections()

    def cursor(self, named_cursor: bool | None = None) -> Cursor:
        """Return a cursor, through which Peewee executes everything."""
        return Cursor(self.connection())

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Execute a statement and return its cursor; if something is required, it is a query, and checks that, too.

        It does not write: beginning a transaction or a ``single_write`` has checked it.
        """
        required = self._local.required
        if required is None:
            return self._execute(sql, params)
        cursor = self._execute(required.join(sql), [*required.params, *(params or ())])
        is_met, has_rows = cursor.detach_columns(JOINED_COLUMNS)
        if not is_met:
            raise required.error
        self._local.required = None  # not before: the caller may ignore this error, or one of the database
        if not has_rows:
            cursor.close()
        return cursor

    def _execute(self, sql: str, params: Any) -> Any:
        """Execute a statement and return its cursor.

        A read outside a transaction is repeated once if the connection turns out to be lost, since the server
        may have been restarted.
        """
        try:
            return super().execute_sql(sql, params)
        except peewee.PeeweeException as error:
            if not self._close_if_unfit(error) or self.in_transaction() or not sql.startswith("SELECT"):
                raise
        self.ensure_connection()
        return super().execute_sql(sql, params)

    def _close_if_unfit(self, error: Exception) -> bool:
        """Close this thread's connection, if it is lost, or is to a server that only reads; return whether that is so.

        Another server may write now. In a transaction, the thread keeps the closed connection until that has ended.
        """
        if self.is_closed():
            return False
        connection = self.connection()
        if sqlstates.is_unfit(error):
            connection.close()
        return bool(connection.is_lost) and not connection.has_timed_out

    # Transactions ---------------------------------------------------------------------------

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """Run the block in a read transaction: all reads see one snapshot."""
        if self.in_transaction():
            yield
            return
        with self.atomic("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            yield

    @contextmanager
    def write_transaction(self, durable: bool = True, frees_space: bool = False) -> Iterator[None]:
        """Run the block in a write transaction: all of it, or nothing; within another one, in a savepoint.

        Others write at the same time: what is read to decide on a write is read with ``locking``. READ COMMITTED,
        so that a statement that has waited for a lock sees what was committed meanwhile.
        """
        with self.atomic("BEGIN" if durable else "BEGIN; SET LOCAL synchronous_commit = off"):
            yield

    def begin(self, statement: str | None = None) -> None:
        """Begin a transaction with these statements, on a new connection if this thread's turns out to be lost."""
        self._check_required()
        statement = statement or "BEGIN"
        try:
            self._run(statement)
        except peewee.PeeweeException as error:
            if not self._close_if_unfit(error):
                raise
            self.ensure_connection()
            self._run(statement)

    def commit(self) -> None:
        """Commit the transaction; if that fails because the connection is lost, it is unknown whether it was committed.

        Raises:
            peewee.InternalError: one of its statements has failed, so the server has undone it.

        """
        if self._run("COMMIT").command_status != b"COMMIT":
            raise peewee.InternalError("a statement had failed, and the transaction was undone")

    def rollback(self) -> None:
        """Undo the transaction; if the connection is lost, the server does so."""
        connection = self.connection()
        if not connection.closed:
            try:
                self._run("ROLLBACK")
            except peewee.PeeweeException:
                connection.close()

    def _run(self, statements: str) -> Any:
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]  # as of all that goes through Peewee
            return self.connection().run(statements)

    @contextmanager
    def single_write(self) -> Iterator[None]:
        """Run the block, whose one statement the server commits by itself: no BEGIN, no COMMIT."""
        self._check_required()
        outer = self._local.writes_once
        self._local.writes_once = True
        try:
            yield
        finally:
            self._local.writes_once = outer

    def may_write(self) -> bool:
        """Return whether a transaction is open, or this is the one statement of a ``single_write``, used up by this."""
        if self.in_transaction():
            return True
        allowed, self._local.writes_once = self._local.writes_once, False
        return allowed

    def has_open_transaction(self) -> bool:
        """Return whether this thread's transaction can still be committed."""
        return bool(self.connection().pgconn.transaction_status == TransactionStatus.INTRANS)

    @contextmanager
    def migration_lock(self) -> Iterator[None]:
        """Keep other processes from migrating at the same time; the server frees the lock if this one dies."""
        self.connection().response_timeout = None
        self._run("SET lock_timeout = 0; SET statement_timeout = 0")
        self.connection().execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))  # a signal can interrupt it
        try:
            yield
        finally:
            self.connection().close()  # and with it the lock and the settings
            self.ensure_connection()

    # Copying a database ---------------------------------------------------------------------

    def identity(self) -> tuple[Any, ...]:
        """Return the number of the database, and when its server was started, to the microsecond."""
        sql = "SELECT oid, pg_postmaster_start_time()::text FROM pg_database WHERE datname = current_database()"
        return (self.dialect, *self.execute_sql(sql).fetchone())

    @contextmanager
    def exclude_servers(self, tables: Sequence[str]) -> Iterator[None]:
        """Lock tables against writers until the transaction ends, and make sure that nobody else is connected.

        A server that is stopping has POOL_TIMEOUT seconds to disconnect.

        Raises:
            StartupError: other clients are connected, by the same name.

        """
        names = ", ".join(f'"{table}"' for table in tables)
        self.connection().response_timeout = None  # it is not given back to the pool in a process that serves
        self._run(
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
            f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"
        )
        deadline = time.monotonic() + POOL_TIMEOUT
        while others := self.execute_sql(OTHER_CLIENTS).fetchall():
            if time.monotonic() > deadline:
                listed = ", ".join(f"{name} on {host} ({count})" for name, host, count in others)
                raise StartupError(
                    f"Others are connected to the database {self.location}: {listed}. Stop the servers first."
                )
            time.sleep(POLL_INTERVAL)
            self.execute_sql("SELECT pg_stat_clear_snapshot()")
        yield

    def stream(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Run a query and yield its rows, fetched a hundred at a time; psycopg fetches all rows of others at once."""
        with (
            peewee.__exception_wrapper__,  # type: ignore[attr-defined]  # as of all that goes through Peewee
            self.connection().cursor(name="stream") as cursor,
        ):
            cursor.execute(sql)
            yield from cursor

    def finish_bulk_load(self, tables: Sequence[str]) -> None:
        """Let ``seq`` continue after the highest one, and count what there is, for the planner."""
        sql = """
            SELECT table_name, column_name FROM information_schema.columns
            WHERE table_schema = current_schema() AND is_identity = 'YES'
        """
        for table, column in self.execute_sql(sql).fetchall():
            if table in tables:
                sequence = f"pg_get_serial_sequence('{table}', '{column}')"
                self.execute_sql(f'SELECT setval({sequence}, max("{column}")) FROM "{table}"')  # noqa: S608  # our own
        self.execute_sql(f"ANALYZE {', '.join(tables)}")

    # Statements -----------------------------------------------------------------------------

    def require(self, sql: str, params: Any, error: Exception) -> None:
        """Raise an error with the next query, or in ``check_requirement``, unless this one returns a row."""
        self._local.required = Requirement(sql, params, error)

    def check_requirement(self) -> None:
        """Raise the error of what was required, if it is not met and no query has checked it, and forget it."""
        try:
            self._check_required()
        finally:
            self.drop_requirement()

    def drop_requirement(self) -> None:
        """Forget what was required."""
        self._local.required = None

    def _check_required(self) -> None:
        required, self._local.required = self._local.required, None
        if required is None:
            return
        try:
            if self.execute_sql(required.sql, required.params).fetchone() is None:
                raise required.error
        except BaseException:
            self._local.required = required  # still, if the caller ignores this
            raise

    def bulk_insert(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert validated rows with COPY: 10,000 in 150 ms; with VALUES of 50 it takes twice as long."""
        names = ", ".join(f'"{column}"' for column in columns)
        with (
            peewee.__exception_wrapper__,  # type: ignore[attr-defined]  # as of all that goes through Peewee
            self.connection().cursor() as cursor,
            cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def combine_writes(self, update: Any, insert: Any) -> Any:
        """Return an update and an insertion of what it returns as one query, which returns the same."""
        names = [field.column_name for field in update._returning]
        updated = update.cte("updated", columns=names)
        values, returned = [], []
        for field, value in insert._insert.items():
            name = value.value.name if isinstance(value, peewee.Value) else ""
            if name in names:
                returned.append(field)
                values.append(updated.c[name])
            else:
                is_json = field.name in insert.model.JSON_FIELDS  # the type of a SELECT's parameter is text
                values.append(value.cast("json") if is_json else value)
        rows = peewee.Select([updated], values)
        return insert.model.insert_from(rows, list(insert._insert)).with_cte(updated).returning(*returned)

    def locking(self, query: Any, shared: bool = False, skip_locked: bool = False) -> Any:
        """Return a query that locks its rows until the transaction ends.

        Not FOR UPDATE: that would make others wait who only insert rows that refer to them.
        """
        return query.for_update("FOR SHARE" if shared else "FOR NO KEY UPDATE", skip_locked=skip_locked)

    def timestamp(self, seconds: float = 0) -> Any:
        """Return the expression of the time by the database's clock, plus some seconds."""
        return fn.to_char(SQL("clock_timestamp() + make_interval(secs => %s)", (float(seconds),)), TIMESTAMP_FORMAT)

    def next_timestamp(self, column: Any, now: Any) -> Any:
        """Return the expression of ``now``, or of a millisecond after the time in a column if that is later."""
        later = fn.to_char(column.cast("timestamptz") + SQL("interval '1 millisecond'"), TIMESTAMP_FORMAT)
        return fn.greatest(now, later)

    def to_json(self, values: Mapping[str, Any], json_fields: Sequence[str]) -> Any:
        """Return the expression of a JSON object, as text; the values of ``json_fields`` are JSON themselves."""
        columns = [value.alias(name) for name, value in values.items()]
        row = peewee.Select(columns=columns).alias("object")
        return peewee.Select([row], [fn.row_to_json(SQL('"object"')).cast("text")])

    def join_json(self, objects: Any) -> Any:
        """Return the expression of all rows' JSON objects, separated by commas."""
        return fn.string_agg(objects, ",")

    def no_nul_condition(self, column: str) -> str:
        """Return no condition: the type ``text`` holds no U+0000."""
        return ""

    def error_code(self, error: BaseException) -> str:
        """Return the API's code for an error of the database, ``internal_error`` for an unexpected one."""
        return sqlstates.error_code(error)

    # Operation ------------------------------------------------------------------------------

    def run_maintenance(self) -> None:
        """Cut off the connections of threads that wait for a server that does not respond, forever."""
        while True:
            time.sleep(CUT_INTERVAL)
            self._pool.cut_silent()

    def reserve_space(self) -> None:
        """Do nothing: the server's disk is its operator's."""

    def backup_command(self) -> str | None:
        """Return a command line of pg_dump with the URL's parameters, but for passwords."""
        return f"pg_dump -Fc -d {shlex.quote(self.location)}"

    def backup(self, target: Path) -> None:
        """Refuse: a copy of the database is pg_dump's work."""
        raise NotImplementedError

    def check(self) -> None:
        """Check the server and the tables.

        Raises:
            StartupError: the server is too old, or its text is not UTF-8 or, in our tables, not compared by its bytes.

        """
        connection = self.connection()
        if connection.info.server_version < MIN_VERSION * 10_000:
            raise StartupError(f"PostgreSQL {MIN_VERSION} or newer is needed.")
        encoding = connection.info.parameter_status("server_encoding")  # as text, whatever it is
        if encoding != "UTF8":
            raise StartupError(f"The database {self.location} has the encoding {encoding}: create it with UTF8.")
        sql = """
            SELECT table_name || '.' || column_name FROM information_schema.columns
            WHERE table_schema = current_schema() AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'
            ORDER BY 1
        """
        wrong = ", ".join(name for (name,) in self.execute_sql(sql).fetchall())
        if wrong:
            raise StartupError(f'These columns of {self.location} must be COLLATE "C", as Parley makes them: {wrong}.')


def open_engine(url: str, settings: Mapping[str, Any]) -> PostgresqlEngine:
    """Return the engine of a database on a server.

    Raises:
        StartupError: the URL is not one.

    """
    with suppress(psycopg.Error):
        if URL.fullmatch(url):
            return PostgresqlEngine(url, 2 * settings.get("PARLEY_THREADS", 8) + OTHER_CONNECTIONS)
    raise StartupError(
        "PARLEY_DATABASE_URL: not of the form postgresql://USER:PASSWORD@HOST/NAME. "
        "In a password, @ is written %40, / %2F and % %25."
    )
