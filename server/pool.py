"""Thread pools, for the views that wait or compute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import errors
from server.channel import Channel
from server.fair_queue import FairQueue


class ThreadPool:
    """Threads of one kind; one user's requests run on at most ``per_user`` of them."""

    def __init__(self, name: str, threads: int, per_user: int, serve: Callable[[Channel], None]):
        self._serve = serve
        self._queue: FairQueue[Channel] = FairQueue(per_user)
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, channel: Channel) -> None:
        """Queue a channel: its first request is to be served, or its deferred response continued."""
        self._queue.put(channel.client_key, channel)

    def _run(self) -> None:
        while item := self._queue.get():
            key, channel = item
            try:
                self._serve(channel)
            except Exception:
                errors.log.exception("a request could not be served")
            finally:
                self._queue.task_done(key)

    def close(self) -> None:
        """End the threads when the queue is empty."""
        self._queue.close()

    def join(self, deadline: float) -> None:
        """Wait for the threads' end, until the deadline (``time.monotonic()``) at most."""
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
