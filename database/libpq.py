"""The way of a statement to PostgreSQL and back, by libpq itself.

psycopg's own cursors look up the types of all parameters, poll the socket and consist of several objects: 70 µs of CPU
a statement, and several turns at the interpreter lock, which other threads want too. This takes 20 µs and one turn.
psycopg still connects, converts the rows, names the errors and copies.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import count
from types import NoneType
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.types.string import TextLoader

# Seconds that a thread waits for the server's response to a statement.
RESPONSE_TIMEOUT = 25.0
# Those that are executed again and again are fewer; of others, such as some with lists, no two are the same.
MAX_PREPARED = 500

_PLACEHOLDER = re.compile("%[s%]")
_SUCCESS = frozenset((ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY))


class Connection(psycopg.Connection[Any]):
    """A connection that prepares a statement when it is executed for the second time.

    It does not wait for ever for a server that does not respond: one that hangs still acknowledges what it is sent.
    What its errors say has no values of rows, which PostgreSQL adds as details, since it is logged.
    """

    response_timeout: float | None = RESPONSE_TIMEOUT
    has_timed_out = False
    sent_at: float | None = None
    """When the statement was sent that has no response yet."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.adapters.register_loader("json", TextLoader)  # it stays text, byte for byte
        self._transformer = Transformer(self)
        self._names: dict[str, bytes | None] = {}  # of statements that were executed; None if not prepared yet
        self._numbers = count()

    def run(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Execute a statement and return libpq's result; without parameters it may be several, with semicolons.

        Raises:
            psycopg.Error: it failed. Its ``sqlstate`` is None if the connection is lost, or a value is impossible.

        """
        values: list[Any] = [_DUMPERS.get(type(value), _dump_text)(value) for value in params]
        self.sent_at = time.monotonic()
        try:
            return self._check(self._send(sql, values))
        finally:
            self.sent_at = None

    def _send(self, sql: str, values: list[Any]) -> Any:
        """Send a statement and return libpq's result of it; other threads run meanwhile."""
        if not values:
            return self.pgconn.exec_(sql.replace("%%", "%").encode())
        if sql in self._names:
            return self.pgconn.exec_prepared(self._names[sql] or self._prepare(sql), values)
        if len(self._names) < MAX_PREPARED:
            self._names[sql] = None
        return self.pgconn.exec_params(_number_placeholders(sql), values)

    def cut(self) -> None:
        """Have the thread that waits for a response fail now; from another thread."""
        self.has_timed_out = True
        with suppress(OSError, psycopg.OperationalError), socket.socket(fileno=os.dup(self.fileno())) as cut_off:
            cut_off.shutdown(socket.SHUT_RDWR)  # unless it was closed just now

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Consume one of psycopg's generators, which has its own conversations with the server: COPY, streams."""
        try:
            return super().wait(gen, interval, self.response_timeout if timeout is None else timeout)
        except psycopg.Error as error:
            if error.sqlstate is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.has_timed_out = True
                self.close()
            raise _without_details(error) from None

    @property
    def is_lost(self) -> bool:
        """Whether it cannot be used: it is closed, here or by the server.

        Not by a poll, in which the thread would leave the interpreter lock to others.
        """
        if self.closed or self.pgconn.transaction_status == TransactionStatus.UNKNOWN:
            return True
        if self.pgconn.transaction_status == TransactionStatus.IDLE:
            try:
                self.pgconn.consume_input()
                self.pgconn.consume_input()  # the end, behind what the server said last
            except psycopg.OperationalError:
                return True
        return False

    def load_rows(self, result: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a result."""
        self._transformer.set_pgresult(result)
        rows: list[tuple[Any, ...]] = self._transformer.load_rows(0, result.ntuples, tuple)
        self._transformer.set_pgresult(None)
        return rows

    def _prepare(self, sql: str) -> bytes:
        name = b"statement_%d" % next(self._numbers)
        self._check(self.pgconn.prepare(name, _number_placeholders(sql)))
        self._names[sql] = name
        return name

    def _check(self, result: Any) -> Any:
        if result.status in _SUCCESS:
            return result
        if self.pgconn.status == ConnStatus.BAD:
            raise psycopg.OperationalError(result.get_error_message("utf-8"))
        raise _without_details(error_from_result(result))


class Cursor:
    """Executes a statement, and has its rows; what there is of it is as in PEP 249."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._result: Any = None
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self._detached = 0

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Cursor:
        """Execute a statement."""
        self._result = self._connection.run(sql, params)
        if self._result.status == ExecStatus.TUPLES_OK:
            self._rows = iter(self._connection.load_rows(self._result))
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, None after the last one."""
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the other rows."""
        return list(self._rows)

    def detach_columns(self, count: int) -> tuple[Any, ...]:
        """Drop the first columns, and return their values in the first row, which there is."""
        self._detached = count
        rows = list(self._rows)
        self._rows = (row[count:] for row in rows)
        return rows[0][:count]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    @property
    def rowcount(self) -> int:
        """How many rows were returned, inserted, updated or deleted; -1 if that makes no sense."""
        count = self._result.command_tuples
        return -1 if count is None else int(count)

    @property
    def description(self) -> list[tuple[str]]:
        """The names of the columns."""
        return [(self._result.fname(number).decode(),) for number in range(self._detached, self._result.nfields)]

    def close(self) -> None:
        """Forget the other rows."""
        self._rows = iter(())


def _without_details(error: psycopg.Error) -> psycopg.Error:
    if error.diag.message_primary:
        error.args = (error.diag.message_primary,)
    return error


@lru_cache(1_000)
def _number_placeholders(sql: str) -> bytes:
    """Return a statement with the server's placeholders: ``$1`` for the first ``%s``."""
    numbers = count(1)
    return _PLACEHOLDER.sub(lambda found: f"${next(numbers)}" if found[0] == "%s" else "%", sql).encode()


def _dump_text(value: Any) -> bytes:
    text = str(value)
    if "\0" in text:
        raise psycopg.DataError("PostgreSQL's text has no U+0000")
    return text.encode()


def _dump_array(values: list[Any]) -> bytes:
    quoted = (_dump_text(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"') for value in values)
    return b"{%s}" % b",".join(b'"%s"' % value for value in quoted)


# As text, of which the server takes each for the type that it expects there.
_DUMPERS: dict[type, Callable[[Any], bytes | None]] = {
    bool: lambda value: b"t" if value else b"f",
    bytes: lambda value: b"\\x" + value.hex().encode(),
    list: _dump_array,
    NoneType: lambda value: None,
}
