"""Protection of logins from brute force."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from errors import ApiError

Key = tuple[Any, ...]


class LoginThrottle:
    """Counts failed attempts by key over the last ``WINDOW_SECONDS``, in memory.

    An attempt in progress counts as failed, so that many concurrent ones gain nothing.
    """

    WINDOW_SECONDS = 300.0
    USERNAME_LIMIT = 10
    ADDRESS_LIMIT = 100
    SWEEP_SIZE = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[Key, deque[float]] = {}

    @contextmanager
    def attempt(self, username: Key, address: Key) -> Iterator[None]:
        """Run the block as an attempt to log in with a username from an address; an ApiError is a failure.

        Raises:
            ApiError: ``rate_limited``, with the seconds to wait in ``Retry-After``.

        """
        started_at = time.monotonic()
        with self._lock:
            self._check(username, self.USERNAME_LIMIT, started_at)
            self._check(address, self.ADDRESS_LIMIT, started_at)
            for key in (username, address):
                self._failures.setdefault(key, deque()).append(started_at)
            if len(self._failures) > self.SWEEP_SIZE:
                self._sweep(started_at)
        try:
            yield
        except ApiError:
            raise
        except BaseException:
            self._discard(username, address, started_at)  # e.g. the database failed: no wrong password
            raise
        self._discard(username, address, started_at)

    def _check(self, key: Key, limit: int, now: float) -> None:
        failures = self._failures.get(key, deque())
        while failures and failures[0] <= now - self.WINDOW_SECONDS:
            failures.popleft()
        if len(failures) >= limit:
            wait = math.ceil(failures[0] + self.WINDOW_SECONDS - now)
            raise ApiError("rate_limited", headers={"Retry-After": str(max(wait, 1))})

    def _discard(self, username: Key, address: Key, started_at: float) -> None:
        with self._lock:
            for key in (username, address):
                failures = self._failures.get(key)
                if failures and started_at in failures:
                    failures.remove(started_at)

    def _sweep(self, now: float) -> None:
        oldest = now - self.WINDOW_SECONDS
        self._failures = {key: times for key, times in self._failures.items() if times and times[-1] > oldest}
