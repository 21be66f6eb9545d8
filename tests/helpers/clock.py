"""Time in tests: a frozen clock, and waiting for something to happen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

import timestamps

T = TypeVar("T")


@contextmanager
def frozen_time(timestamp: str) -> Iterator[None]:
    """Stop the service's clock at a timestamp during the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timestamps, "now", lambda: timestamp)
        yield


def later(seconds: float) -> AbstractContextManager[None]:
    """Stop the service's clock so many seconds from now during the block."""
    return frozen_time(timestamps.timestamp(datetime.now(UTC) + timedelta(seconds=seconds)))


def wait_until(condition: Callable[[], T], what: str = "", timeout: float = 60) -> T:
    """Return what ``condition`` returns as soon as that is true.

    Raises:
        AssertionError: ``timeout`` seconds passed.

    """
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited in vain until {what or condition}"
        time.sleep(0.01)
    return result
