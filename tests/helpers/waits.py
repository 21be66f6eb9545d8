"""How much others wait for one user's requests: counted in the server's own CPU time.

A machine that stalls, or that is busy with something else, adds to the time on the clock, not to this one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.helpers.clock import wait_until
from tests.helpers.http_client import HttpClient
from tests.helpers.process import ServerProcess

Request = tuple[str, str, Any]
LIST: Request = ("GET", "/api/sessions?limit=1", None)
ROUNDS = 3


def cpu_seconds(server: ServerProcess) -> float:
    """Return the CPU time that a server has taken so far; it is counted in steps of 10 ms."""
    times = psutil.Process(server.process.pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def measured_waits(server: ServerProcess, token: str, *requests: Request) -> Iterator[list[float]]:
    """Send small requests in turn as another user, one after the other, until the block ends.

    Yields a list of the CPU seconds that the server took, for whomever, while each of them waited.
    """
    waits: list[float] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def send() -> None:
        try:
            with HttpClient(server, token) as client:
                while not done.is_set():
                    for request in requests or (LIST,):
                        before = cpu_seconds(server)
                        assert client(*request)[0] in (200, 201), request
                        waits.append(cpu_seconds(server) - before)
                    time.sleep(0.002)
        except BaseException as error:  # raised below
            failures.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        wait_until(lambda: len(waits) > 20 or failures, "others are being served")
        waits.clear()
        yield waits
    finally:
        done.set()
        thread.join()
    if failures:
        raise failures[0]


def assert_hardly_noticed(waits: Sequence[float]) -> None:
    """Assert that requests that were sent beside something large, 20 at least, were served between its parts."""
    assert len(waits) >= 20, waits
    longest = sorted(waits)
    assert longest[len(longest) // 2] < 0.05, longest[-20:]
    assert longest[-3] < 0.5, longest[-20:]  # while the one that sends them stalls, the server goes on


def assert_below(limit: float, measure: Callable[[], float]) -> None:
    """Assert that one of some measurements is below a limit: whatever else goes on can only add to them."""
    measured: list[float] = []
    while not measured or measured[-1] >= limit:
        assert len(measured) < ROUNDS, f"none is below {limit}: {measured}"
        measured.append(measure())
