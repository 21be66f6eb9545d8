"""Requests whose order is driven: the first stops in its transaction, the others come, then the first goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from database import db
from tests.helpers.clock import wait_until

SQLITE_WAIT = 0.2
"""Seconds that each of the others is given on SQLite, where nothing says that it waits for its turn to write."""


def interleave(owner_of_step: Any, step: str, first: Callable[[], Any], *others: Callable[[], Any]) -> list[Any]:
    """Stop ``first`` after it has called this step, run the others as far as they get, and return what all return.

    The step is an attribute of a module or an object. Each of the others gets to its end, or waits for a lock, before
    the next one comes.
    """
    real = getattr(owner_of_step, step)
    stopped, resumed = Event(), Event()

    def stop_once(*arguments: Any, **named: Any) -> Any:
        result = real(*arguments, **named)
        if not stopped.is_set():
            stopped.set()
            assert resumed.wait(30)
        return result

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1 + len(others)) as pool:
        patch.setattr(owner_of_step, step, stop_once)
        running = [pool.submit(run_and_close, first)]
        try:
            wait_until(lambda: stopped.is_set() or running[0].done())
            assert not running[0].done(), f"the first has not called {step}: {running[0].result()}"
            for other in others:
                running.append(pool.submit(run_and_close, other))
                started_at = time.monotonic()
                wait_until(lambda: _do_all_wait(running[1:], started_at))  # noqa: B023 (called at once)
        finally:
            resumed.set()
        return [each.result(30) for each in running]


def run_and_close(request: Callable[[], Any]) -> Any:
    """Return what a request returns, and close the connection of this thread."""
    try:
        db.ensure_connection()
        return request()
    finally:
        if not db.is_closed():
            db.close()


def _do_all_wait(others: list[Future[Any]], since: float) -> bool:
    """Return whether each of the others has ended or waits for a lock."""
    count = sum(not each.done() for each in others)
    if db.dialect == "sqlite":
        return not count or time.monotonic() > since + SQLITE_WAIT
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    (waiting,) = db.execute_sql(sql).fetchone()
    return bool(waiting >= count)
