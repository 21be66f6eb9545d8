"""Connections to PostgreSQL that do not wait for ever, and a pool of those that are open."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

# Seconds that a thread waits for a connection that others use, and then for the server's response to a statement.
POOL_TIMEOUT = 5.0
RESPONSE_TIMEOUT = 25.0


class PoolExhausted(psycopg.OperationalError):
    """All connections were in use for too long: as if the server had no more of them."""

    sqlstate = "53300"


class Connection(psycopg.Connection[Any]):
    """A connection that is closed if the server does not respond: one that hangs still acknowledges what it is sent.

    What its errors say has no values of rows, which PostgreSQL adds as details, since it is logged.
    """

    response_timeout: float | None = RESPONSE_TIMEOUT
    has_timed_out = False

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Consume one of psycopg's generators, each of which is a conversation with the server."""
        try:
            return super().wait(gen, interval, self.response_timeout if timeout is None else timeout)
        except psycopg.Error as error:
            if error.sqlstate is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.has_timed_out = True
                self.close()
            elif error.diag.message_primary:
                error.args = (error.diag.message_primary,)
            raise

    @property
    def is_lost(self) -> bool:
        """Whether it cannot be used: it is closed, or the server has said something though it was asked nothing."""
        if self.closed or self.pgconn.transaction_status == TransactionStatus.UNKNOWN:
            return True
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        readable, _, _ = select.select([self.fileno()], (), (), 0)
        return bool(readable)


class ConnectionPool:
    """Connections of which a thread has one while it needs one; they are opened when they are needed."""

    def __init__(self, connect: Callable[[], Connection], size: int):
        self._connect, self.size = connect, size
        self._free = threading.Semaphore(size)
        self._idle: list[Connection] = []  # the one that was used last comes last, and is the next to be used

    def take(self) -> Connection:
        """Return a connection that is not lost, for this thread alone.

        Raises:
            PoolExhausted: the others use all of them.
            psycopg.Error: none can be opened.

        """
        if not self._free.acquire(timeout=POOL_TIMEOUT):
            raise PoolExhausted(f"all {self.size} connections are in use")
        try:
            with suppress(IndexError):
                while (connection := self._idle.pop()).is_lost:
                    connection.close()
                return connection
            return self._connect()
        except BaseException:
            self._free.release()
            raise

    def give_back(self, connection: Connection) -> None:
        """Take a connection back, and keep it if it can be used again."""
        if connection.has_timed_out:
            self.close_idle()  # the server would not respond to them either, each for RESPONSE_TIMEOUT
        if connection.is_lost or connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        self._free.release()

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
