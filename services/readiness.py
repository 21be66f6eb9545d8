"""Whether a load balancer should send requests to this process, as ``/readyz`` says."""

from __future__ import annotations

import time

from database import db
from errors import ApiError

# A load balancer that checks every two seconds, and believes the second failure, has noticed by then.
NOTICE_SECONDS = 5.0
# Who has not asked for this long does not watch.
WATCH_SECONDS = 60.0


class Readiness:
    """Fails before the process stops, so that whoever watches it sends requests elsewhere in time."""

    def __init__(self) -> None:
        self._checked_at: float | None = None
        self._is_withdrawn = False

    def check(self) -> None:
        """Check that requests can be served.

        Raises:
            ApiError: ``shutting_down`` or ``database_unavailable``.

        """
        self._checked_at = time.monotonic()
        if self._is_withdrawn:
            raise ApiError("shutting_down")
        if not db.is_healthy():
            raise ApiError("database_unavailable")

    def withdraw(self) -> float:
        """Fail from now on, and return for how many seconds requests will still come.

        There are none to wait for if no other process may serve them, or nobody watches.
        """
        self._is_withdrawn = True
        is_watched = self._checked_at is not None and time.monotonic() - self._checked_at < WATCH_SECONDS
        return NOTICE_SECONDS if db.is_shared and is_watched else 0.0
