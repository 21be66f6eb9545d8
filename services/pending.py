"""Writes that must not be lost: how a chat or a webhook run has ended."""

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

# What passes: another process holds the database, the disk is full.
TRANSIENT = frozenset(("database_busy", "database_unavailable", "disk_full"))
RETRY_SECONDS = (0.1, 2.0)  # the pause between two tries: at first, and at most
FLUSH_SECONDS = 10.0  # how long the end of the process waits for the database

log = logging.getLogger("parley")


class PendingWrite(Future[Any]):
    """A write that has been made, has failed, or waits until the database takes it."""

    def __init__(self, write: Callable[[], Any]):
        super().__init__()
        self.write = write
        self.waits_for: str | None = None  # the code of why it was not taken

    def attempt(self) -> bool:
        """Try to make the write. Return whether that is over, in success or in a failure that stays."""
        try:
            db.ensure_connection()
            result = self.write()
        except Exception as error:
            code = database.error_code(error)
            if code in TRANSIENT:
                self.waits_for = code
                return False
            if not isinstance(error, ApiError):  # a bug, or an owner that is gone; whoever waits may have left
                log.error("the end of a chat or a webhook run cannot be written", exc_info=error)
            self.set_exception(error)
        else:
            self.set_result(result)
        return True


class PendingWrites:
    """Makes writes as soon as the database takes them, and at the latest when the process ends.

    They are in memory meanwhile, not more than there are chats and calls under way: where the
    database takes no writes, no others begin.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0
        self._waiting: deque[PendingWrite] = deque()
        self._closing = threading.Event()

    def run(self, write: Callable[[], Any]) -> PendingWrite:
        """Make a write, now if the database takes it and else when it does; return what tells of it."""
        pending = PendingWrite(write)
        with self._changed:
            self._under_way += 1
        pending.add_done_callback(self._end)
        if not pending.attempt():
            log.warning("%s: the end of a chat or a webhook run is kept until it can be written", pending.waits_for)
            with self._changed:
                self._waiting.append(pending)
                if len(self._waiting) == 1:
                    threading.Thread(target=self._retry, name="pending writes", daemon=True).start()
        return pending

    def close(self) -> None:
        """Wait until all is written, for a while at most."""
        self._closing.set()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._under_way, FLUSH_SECONDS):
                log.error("the ends of %d chats and webhook runs are lost", self._under_way)

    def _end(self, _: Future[Any]) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def _retry(self) -> None:
        first, most = RETRY_SECONDS
        pause = first
        while True:
            if self._closing.wait(pause):
                time.sleep(first)
            if not self._waiting[0].attempt():
                pause = min(2 * pause, most)
                continue
            log.info("what was kept for the database is written")
            pause = 0.0
            with self._changed:
                self._waiting.popleft()
                if not self._waiting:
                    break
        if not db.is_closed():
            db.close()
