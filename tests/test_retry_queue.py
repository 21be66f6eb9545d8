"""The retry queue, with writes that fail as if the database did."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from flask import Flask

from errors import ApiError
from services import retry_queue
from services.retry_queue import RetryQueue
from tests.helpers.clock import wait_until


@pytest.fixture
def queue(app: Flask) -> RetryQueue:
    queue: RetryQueue = app.extensions["services"].retry_queue
    return queue


def failing(times: int, attempts: list[str], name: str = "") -> Callable[[], str]:
    """Return a write that fails some times before it succeeds, and records its attempts."""

    def write() -> str:
        attempts.append(name)
        if attempts.count(name) <= times:
            raise ApiError("disk_full")
        return name

    return write


def test_returns_the_result_of_a_write(queue: RetryQueue) -> None:
    assert queue.run(lambda: 5).result(0) == 5
    assert len(queue) == 0


def test_repeats_writes_in_turn_until_they_succeed(queue: RetryQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_queue, "MIN_RETRY_INTERVAL", 0.5)  # the second write is queued before
    attempts: list[str] = []
    first = queue.run(failing(2, attempts, "first"))
    second = queue.run(failing(1, attempts, "second"))
    assert (first.last_error, second.last_error, len(queue)) == ("disk_full", "disk_full", 2)
    assert (first.result(20), second.result(20)) == ("first", "second")
    assert attempts == ["first", "second", "first", "second", "first"]
    wait_until(lambda: len(queue) == 0)


def test_waits_between_attempts_also_after_a_success(queue: RetryQueue) -> None:
    attempts: list[str] = []
    times: list[float] = []
    write = failing(4, attempts, "second")

    def timed() -> str:
        times.append(time.monotonic())
        return write()

    first, second = queue.run(failing(1, attempts, "first")), queue.run(timed)
    assert (first.result(20), second.result(20)) == ("first", "second")
    assert attempts[-4:] == ["second"] * 4
    assert all(after - before >= retry_queue.MIN_RETRY_INTERVAL for before, after in pairwise(times[-4:]))


def test_raises_other_errors(queue: RetryQueue) -> None:
    def fail() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        queue.run(fail).result(0)
    queue.close()
