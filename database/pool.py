"""A pool of connections to PostgreSQL: no thread waits for ever, for one of them or for the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg.pq import TransactionStatus

from database.libpq import Connection

# Seconds that a thread waits for a connection that others use.
POOL_TIMEOUT = 5.0


class PoolExhausted(psycopg.OperationalError):
    """All connections were in use for too long: as if the server had no more of them."""

    sqlstate = "53300"


class ConnectionPool:
    """Connections of which a thread has one while it needs one; they are opened when they are needed."""

    def __init__(self, connect: Callable[[], Connection], size: int):
        self._connect, self.size = connect, size
        self._free = threading.Semaphore(size)
        self._idle: list[Connection] = []  # the one that was used last comes last, and is the next to be used
        self._in_use: set[Connection] = set()

    def take(self) -> Connection:
        """Return a connection that is not lost, for this thread alone.

        Raises:
            PoolExhausted: the others use all of them.
            psycopg.Error: none can be opened.

        """
        if not self._free.acquire(timeout=POOL_TIMEOUT):
            raise PoolExhausted(f"all {self.size} connections are in use")
        try:
            connection = self._take_idle() or self._connect()
        except BaseException:
            self._free.release()
            raise
        self._in_use.add(connection)
        return connection

    def _take_idle(self) -> Connection | None:
        with suppress(IndexError):
            while (connection := self._idle.pop()).is_lost:
                connection.close()
            return connection
        return None

    def give_back(self, connection: Connection) -> None:
        """Take a connection back, and keep it if it can be used again."""
        self._in_use.discard(connection)
        if connection.has_timed_out:
            self.close_idle()  # the server would not respond to them either, each for RESPONSE_TIMEOUT
        if connection.pgconn.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        self._free.release()

    def cut_silent(self) -> None:
        """Cut the connections off on which the server has not responded for their ``response_timeout``."""
        now = time.monotonic()
        for connection in self._in_use.copy():
            sent_at, timeout = connection.sent_at, connection.response_timeout
            if sent_at is not None and timeout is not None and now - sent_at > timeout:
                connection.cut()

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
