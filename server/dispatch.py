"""Runs each request where its view belongs: on the loop, in the write batcher, or in a thread pool."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Flask

from server import loop_guard
from server.backpressure import Backpressure
from server.batching import WriteBatcher
from server.channel import Channel
from server.connections import ConnectionLimit, TooManyConnections
from server.fair_queue import FairQueue
from server.pool import ThreadPool
from server.routing import HEALTH_PATHS, Routing
from web.spec import BACKGROUND, LOOP, WRITER

# Requests that the shutdown cut off have this long to save what there is of them.
POOL_SHUTDOWN_TIMEOUT = 2.0
# The loop parses for this long, and serves for this long, before it polls again.
PARSE_SLICE_SECONDS = 0.005
SERVE_SLICE_SECONDS = 0.010
# For this long a loop that never idles leaves the interpreter lock to the write batcher, which requests it again
# after each of SQLite's calls: beside one pipeline an append took 16 ms without.
YIELD_SECONDS = 0.0001
# A larger body takes too long to parse for the write batcher, where others would wait for it.
MAX_BATCHED_BODY_BYTES = 65_536


class Dispatcher:
    """Runs each request where its view belongs.

    - ``inline`` views run on the loop itself, one after the other. They take some hundred
      microseconds, less than handing them to a thread costs; and threads would fight for the
      interpreter lock. A write in progress blocks no reader of SQLite.
    - ``batched`` views wait for the disk, on the write batcher's thread, so that the loop doesn't.
    - If the database is not near, but behind a network, both run in a thread pool: they would wait
      longer than handing them over takes, and the database commits concurrent writes together itself.
    - All others run in a thread pool, and so do large bodies and deferred responses. Each pool
      has its own threads, so that none starves another.

    Everywhere each user has a queue of their own, and the queues take turns.
    """

    def __init__(self, app: Flask, threads: dict[str, tuple[int, int]], max_connections: int):
        self._routing = Routing(app)
        self._inline: FairQueue[Channel] = FairQueue()
        self._unparsed: FairQueue[Channel] = FairQueue()
        self._pools = {
            name: ThreadPool(name, count, per_user, self.serve) for name, (count, per_user) in threads.items()
        }
        self._batcher = WriteBatcher(app, self.serve)
        self._backpressure = Backpressure()
        # All clients of a proxy have the proxy's address.
        per_network = max_connections if app.config["PARLEY_TRUSTED_PROXIES"] else max_connections // 2
        self.connections = ConnectionLimit(max_connections, per_network)

    def is_blocking(self, channel: Channel) -> bool:
        """Return whether requests wait until a channel's client has read more."""
        return self._backpressure.is_blocking(channel)

    def update_backpressure(self, channel: Channel) -> None:
        """Record how much is buffered for a channel's client, and queue the requests that no longer wait."""
        for released in self._backpressure.update(channel):
            self.add_task(released)

    # Requests -------------------------------------------------------------------------------

    def parse_later(self, channel: Channel) -> None:
        """Queue a channel for the loop to parse what it has received."""
        self._unparsed.put(channel.network, channel)

    def check_body(self, channel: Channel, request: Any) -> None:
        """Have a request served without its body if that is not wanted."""
        if not self._routing.accepts_body(request) or (channel.over_limit and request.path not in HEALTH_PATHS):
            request.skip_body()

    def add_task(self, channel: Channel) -> None:
        """Queue the first request of a channel; from any thread."""
        request: Any = channel.requests[0]
        channel.on_worker, channel.pool = False, None
        if channel.over_limit and not request.error and request.path not in HEALTH_PATHS:
            request.error = TooManyConnections("")
        if request.error:
            channel.client_key = channel.network
            self._inline.put(channel.client_key, channel)
            return
        channel.client_key = self._routing.client_key(request, channel.network)
        if channel.pause(None):
            return
        runs_in = self._routing.runs_in(request)
        if runs_in == WRITER and int(request.headers.get("CONTENT_LENGTH", 0)) > MAX_BATCHED_BODY_BYTES:
            runs_in = BACKGROUND
        if runs_in == LOOP:
            self._inline.put(channel.client_key, channel)
        elif runs_in == WRITER:
            self._batcher.put(channel)
        else:
            self._submit(channel, runs_in)

    def resume(self, channel: Channel) -> None:
        """Continue a channel's deferred response, or queue its first request; from any thread."""
        if channel.deferred is None:
            self.add_task(channel)
        else:
            self._submit(channel, channel.pool or BACKGROUND)

    def serve(self, channel: Channel) -> None:
        """Serve the first request of a channel, or continue its deferred response.

        A read waits while too much is buffered for its user's clients.
        """
        if channel.deferred is None and channel.requests:
            request = channel.requests[0]
            if request.command == "GET" and request.path not in HEALTH_PATHS and self._backpressure.hold(channel):
                return
        channel.service()

    def _submit(self, channel: Channel, pool: str) -> None:
        channel.on_worker, channel.pool = True, pool
        self._pools[pool].put(channel)

    # The loop's part ------------------------------------------------------------------------

    @property
    def has_pending(self) -> bool:
        """Whether the loop has something to parse or to serve."""
        return bool(len(self._unparsed) or len(self._inline))

    def run_pending(self) -> None:
        """Parse what was received and serve the inline requests: each channel once, and for a bounded time."""
        self._run_queue(self._unparsed, Channel.parse, PARSE_SLICE_SECONDS)
        self._run_queue(self._inline, self.run_inline, SERVE_SLICE_SECONDS)
        if self.has_pending and self._batcher.is_busy:
            time.sleep(YIELD_SECONDS)

    def run_inline(self, channel: Channel) -> None:
        """Serve the first request of a channel on the loop."""
        request, started_at = channel.requests[0], time.perf_counter()
        self.serve(channel)
        loop_guard.check(request, started_at)

    def _run_queue(self, queue: FairQueue[Channel], act: Callable[[Channel], None], seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        for _ in range(len(queue)):
            item = queue.get_nowait()
            if item is None:
                break
            try:
                act(item[1])
            except Exception:
                item[1].handle_error()
            if time.perf_counter() > deadline:
                break

    def shutdown(self) -> None:
        """End the threads, after what is queued for them."""
        self._batcher.close()
        deadline = time.monotonic() + POOL_SHUTDOWN_TIMEOUT
        for pool in self._pools.values():
            pool.close()
        for pool in self._pools.values():
            pool.join(deadline)
