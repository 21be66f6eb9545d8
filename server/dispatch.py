"""Where a request is served: by the loop, by the writer, or by a thread of a pool."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from flask import Flask
from waitress.utilities import Error

import errors
from server.batching import Writer
from server.channel import Channel
from server.fair import FairQueue
from server.routing import HEALTH, Routing
from server.unread import Unread
from web.spec import BACKGROUND, LOOP, WRITER

# What was cut off at the end has this long to keep what there is of it.
GOODBYE_SECONDS = 2.0
# The loop parses for this long, and serves for this long, before it looks what else has come.
PARSE_SECONDS = 0.005
SERVE_SECONDS = 0.010
# So long the loop, where it never comes to its end, lets the writer have the interpreter, which that
# asks for anew after each of SQLite's calls: beside one pipeline an append took 16 ms without.
YIELD_SECONDS = 0.0001
# A larger body is not parsed where it keeps others waiting.
LARGE_BODY_BYTES = 65_536
# Connections beyond the limit that may ask whether the service is well.
MOST_SPARE = 32


class TooManyConnections(Error):
    """A connection beyond the limit."""

    code = 503
    reason = "Service Unavailable"
    error_code = "too_many_connections"


class Pool:
    """Threads of one kind; a user's requests have a share of them at most."""

    def __init__(self, name: str, threads: int, share: int, serve: Callable[[Channel], None]):
        self._serve = serve
        self._queue: FairQueue[Channel] = FairQueue(share)
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, channel: Channel) -> None:
        """Have a channel served."""
        self._queue.put(channel.key, channel)

    def _run(self) -> None:
        while found := self._queue.get():
            key, channel = found
            try:
                self._serve(channel)
            except Exception:
                errors.log.exception("a request could not be served")
            finally:
                self._queue.done(key)

    def close(self) -> None:
        """Let the threads end when they have done what is left."""
        self._queue.close()

    def join(self, deadline: float) -> None:
        """Wait until they have, or until the deadline."""
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))


class Dispatcher:
    """Decides where a request is served.

    - What reads is served by the loop itself, one after the other. It takes some hundred
      microseconds, less than handing it to a thread costs; and threads would fight for the
      interpreter lock. A write in progress keeps no reader of SQLite waiting.
    - What writes waits for the disk, on the Writer's thread, so that the loop doesn't.
    - What takes its time is served by a pool of threads: views that are marked so, what turns out
      to (HandOver), large bodies, and answers that come in parts. Each kind has a pool of its own,
      and starves no other.

    Everywhere each user has a line of their own, and the lines take turns.
    """

    def __init__(self, app: Flask, threads: dict[str, tuple[int, int]], most_connections: int):
        self._routing = Routing(app)
        self._ready: FairQueue[Channel] = FairQueue()
        self._unparsed: FairQueue[Channel] = FairQueue()
        self._pools = {name: Pool(name, count, share, self.serve) for name, (count, share) in threads.items()}
        self._writer = Writer(app, self.serve)
        self._unread = Unread()
        self._most = most_connections
        # Behind a proxy all have the proxy's address.
        self._most_of_one = most_connections if app.config["PARLEY_TRUSTED_PROXIES"] else most_connections // 2
        self._count = 0
        self._of_network: Counter[str] = Counter()
        self._spare: list[Channel] = []

    # Connections ----------------------------------------------------------------------------

    def arrived(self, channel: Channel) -> None:
        """Count a new connection. One too many is a spare one, which can ask how the service is, and nothing else."""
        if self._count < self._most and self._of_network[channel.network] < self._most_of_one:
            self._count += 1
            self._of_network[channel.network] += 1
            channel.counted = True
        else:
            channel.spare = True
            self._spare.append(channel)
            for oldest in self._spare[:-MOST_SPARE]:
                oldest.will_close = True

    def left(self, channel: Channel) -> None:
        """Count a connection no longer."""
        if channel.counted:
            channel.counted = False
            self._count -= 1
            self._of_network[channel.network] -= 1
            if not self._of_network[channel.network]:
                del self._of_network[channel.network]
        elif channel in self._spare:
            self._spare.remove(channel)

    def is_pressed(self, channel: Channel) -> bool:
        """Return whether others wait for a channel's client to read."""
        return self._unread.is_pressed(channel)

    def account(self, channel: Channel) -> None:
        """Note how much a channel's client has yet to read."""
        for released in self._unread.account(channel):
            self.add_task(released)

    # Requests -------------------------------------------------------------------------------

    def parse_later(self, channel: Channel) -> None:
        """Have the loop parse what a channel has received."""
        self._unparsed.put(channel.network, channel)

    def admit(self, channel: Channel, request: Any) -> None:
        """Take a request's body, or have it answered without."""
        if not self._routing.admits(request) or (channel.spare and request.path not in HEALTH):
            request.leave_body()

    def add_task(self, channel: Channel) -> None:
        """Take the first request of a channel; from any thread."""
        request: Any = channel.requests[0]
        channel.may_wait, channel.pool = False, None
        if channel.spare and not request.error and request.path not in HEALTH:
            request.error = TooManyConnections("")
        if request.error:
            channel.key = channel.network
            self._ready.put(channel.key, channel)
            return
        channel.key = self._routing.caller(request, channel.network)
        if channel.park(None):
            return
        runs_in = self._routing.runs_in(request)
        if runs_in == WRITER and int(request.headers.get("CONTENT_LENGTH", 0)) > LARGE_BODY_BYTES:
            runs_in = BACKGROUND
        if runs_in == LOOP:
            self._ready.put(channel.key, channel)
        elif runs_in == WRITER:
            self._writer.put(channel)
        else:
            self._submit(channel, runs_in)

    def resume(self, channel: Channel) -> None:
        """Go on with a channel that has been parked; from any thread."""
        if channel.task is None:
            self.add_task(channel)
        else:
            self._submit(channel, channel.pool or BACKGROUND)

    def serve(self, channel: Channel) -> None:
        """Serve the first request of a channel, or have it served where it may wait.

        Not yet, if it reads and its user's clients leave too much unread.
        """
        if channel.task is None and channel.requests:
            request = channel.requests[0]
            if request.command == "GET" and request.path not in HEALTH and self._unread.wait(channel):
                return
        channel.service()

    def _submit(self, channel: Channel, pool: str) -> None:
        channel.may_wait, channel.pool = True, pool
        self._pools[pool].put(channel)

    # The loop's part ------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether the loop has something to do without anything new."""
        return bool(len(self._unparsed) or len(self._ready))

    def work(self) -> None:
        """Parse what has come and serve what the loop itself serves: each once, and for a bounded time."""
        self._work_off(self._unparsed, Channel.parse, PARSE_SECONDS)
        self._work_off(self._ready, self.serve, SERVE_SECONDS)
        if self.has_work and self._writer.is_busy:
            time.sleep(YIELD_SECONDS)

    def _work_off(self, queue: FairQueue[Channel], act: Callable[[Channel], None], seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        for _ in range(len(queue)):
            found = queue.get_nowait()
            if found is None:
                break
            try:
                act(found[1])
            except Exception:
                found[1].handle_error()
            if time.perf_counter() > deadline:
                break

    def shutdown(self) -> None:
        """Let the threads end."""
        self._writer.close()
        deadline = time.monotonic() + GOODBYE_SECONDS
        for pool in self._pools.values():
            pool.close()
        for pool in self._pools.values():
            pool.join(deadline)
