"""A retry queue for writes that must not be lost: the ends of chats and of webhook runs."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import database
from database import db
from errors import ApiError

# Errors that pass: another process has locked the database, the disk is full.
TRANSIENT_ERRORS = frozenset(("database_busy", "database_unavailable", "disk_full"))
MIN_RETRY_INTERVAL, MAX_RETRY_INTERVAL = 0.1, 2.0  # seconds; each failed attempt doubles the interval
FLUSH_TIMEOUT = 10.0  # seconds that the end of the process waits for the queue to become empty

log = logging.getLogger("parley")


class PendingWrite(Future[Any]):
    """The future result of a write."""

    def __init__(self, write: Callable[[], Any]):
        super().__init__()
        self._write = write
        self.last_error: str | None = None  # the code of the transient error of the last attempt

    def attempt(self) -> bool:
        """Execute the write; return whether it is done: has succeeded, or failed with an error that does not pass."""
        try:
            db.ensure_connection()
            result = self._write()
        except Exception as error:
            code = database.error_code(error)
            if code in TRANSIENT_ERRORS:
                self.last_error = code
                return False
            if not isinstance(error, ApiError):  # a bug, or an owner that is deleted; nobody may read the exception
                log.error("the end of a chat or a webhook run cannot be stored", exc_info=error)
            self.set_exception(error)
        else:
            self.set_result(result)
        return True


class RetryQueue:
    """Executes writes, and repeats those that fail with a transient error, in turn, until they succeed.

    The queue is in memory. It is no longer than there are chats and webhook calls in progress: none
    starts while the database accepts no writes. Its thread runs while there are writes in it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._unfinished = 0
        self._queue: deque[PendingWrite] = deque()
        self._closing = threading.Event()

    def __len__(self) -> int:
        """Return the number of writes in the queue."""
        return len(self._queue)

    def run(self, write: Callable[[], Any]) -> PendingWrite:
        """Execute a write in this thread, and queue it if that fails with a transient error; return its future."""
        pending = self._count(write)
        if not self._attempt(pending):
            self._append(pending)
        return pending

    def submit(self, write: Callable[[], Any]) -> PendingWrite:
        """Queue a write, for a caller that must not wait for the database, and return its future."""
        pending = self._count(write)
        self._append(pending)
        return pending

    def close(self) -> None:
        """Wait until all writes are done, for ``FLUSH_TIMEOUT`` at most."""
        self._closing.set()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._unfinished, FLUSH_TIMEOUT):
                log.error("the ends of %d chats and webhook runs are lost", self._unfinished)

    def _count(self, write: Callable[[], Any]) -> PendingWrite:
        """Return the future of a write, which is counted until it is done."""
        with self._changed:
            self._unfinished += 1
        pending = PendingWrite(write)
        pending.add_done_callback(self._count_finished)
        return pending

    def _append(self, pending: PendingWrite) -> None:
        with self._changed:
            self._queue.append(pending)
            if len(self._queue) == 1:
                threading.Thread(target=self._run, name="retry queue", daemon=True).start()

    @staticmethod
    def _attempt(pending: PendingWrite) -> bool:
        """Attempt a write, and log its first failure and its later success; return whether it is done."""
        failed_before = pending.last_error is not None
        done = pending.attempt()
        if done and failed_before:
            log.info("the end of a chat or a webhook run is stored")
        elif not (done or failed_before):
            log.warning("%s: the end of a chat or a webhook run will be stored later", pending.last_error)
        return done

    def _count_finished(self, _: Future[Any]) -> None:
        with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()

    def _run(self) -> None:
        """Attempt the writes of the queue in turn, until all are done.

        What one fails for may be its own, such as a row that another process has locked: the others need not wait.
        """
        interval = MIN_RETRY_INTERVAL if self._queue[0].last_error else 0.0
        while True:
            if interval:
                db.release_connection()
                if self._closing.wait(interval):
                    time.sleep(MIN_RETRY_INTERVAL)
            if not self._attempt(self._queue[0]):
                interval = min(max(2 * interval, MIN_RETRY_INTERVAL), MAX_RETRY_INTERVAL)
                self._queue.rotate(-1)
                continue
            interval = 0.0
            with self._changed:
                self._queue.popleft()
                if not self._queue:
                    break
        if not db.is_closed():
            db.close()
