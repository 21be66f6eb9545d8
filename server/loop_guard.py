"""A warning if one request holds the event loop: until it is done, no other is received, parsed or sent."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import errors

# The views that are marked ``inline`` take about a millisecond, parsing less.
MAX_HOLD_SECONDS = 0.05


def check(request: Any, started_at: float) -> None:
    """Log a warning if the loop was busy parsing or serving a request since ``started_at`` for too long.

    ``started_at`` is a time of ``time.perf_counter()``.
    """
    held = time.perf_counter() - started_at
    if held > MAX_HOLD_SECONDS:
        fields = {
            "method": request.command,
            "path": quote(request.path.encode("latin-1")),  # as in the access log; never the query
            "ms": round(held * 1000, 1),
        }
        errors.log.warning("a request held the event loop", extra={"fields": fields})
