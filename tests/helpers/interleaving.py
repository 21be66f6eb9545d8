"""Two requests whose order is driven: the first stops in its transaction, the second comes, then the first goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, TypeVar

import pytest

from database import db
from tests.helpers.clock import wait_until

First = TypeVar("First")
Second = TypeVar("Second")

SQLITE_WAIT = 0.2
"""Seconds that the second one is given on SQLite, where nothing says that it waits for its turn to write."""


def interleave(
    owner_of_step: Any, step: str, first: Callable[[], First], second: Callable[[], Second]
) -> tuple[First, Second]:
    """Stop ``first`` after it has called this step, run ``second`` as far as it gets, and return what both return.

    The step is an attribute of a module or an object. ``second`` gets to its end, or waits for a lock of the first.
    """
    real = getattr(owner_of_step, step)
    stopped, resumed = Event(), Event()

    def stop_once(*arguments: Any, **named: Any) -> Any:
        result = real(*arguments, **named)
        if not stopped.is_set():
            stopped.set()
            assert resumed.wait(30)
        return result

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(owner_of_step, step, stop_once)
        one = pool.submit(_run, first)
        try:
            wait_until(lambda: stopped.is_set() or one.done())
            assert not one.done(), f"the first has not called {step}: {one.result()}"
            two = pool.submit(_run, second)
            started_at = time.monotonic()
            wait_until(lambda: two.done() or _is_anyone_waiting(started_at))
        finally:
            resumed.set()
        return one.result(30), two.result(30)


def _run(request: Callable[[], First]) -> First:
    """Return what a request returns, and close the connection of this thread."""
    try:
        db.ensure_connection()
        return request()
    finally:
        if not db.is_closed():
            db.close()


def _is_anyone_waiting(since: float) -> bool:
    """Return whether a client waits for a lock of another one."""
    if db.dialect == "sqlite":
        return time.monotonic() > since + SQLITE_WAIT
    sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return db.execute_sql(sql).fetchone() is not None
