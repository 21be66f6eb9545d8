"""Where a request is served: by the loop, by the writer, or by a thread of a pool."""

from __future__ import annotations

import logging
import re
from collections import deque

from flask import Flask
from waitress.task import ThreadedTaskDispatcher

import errors
from server.batching import Writer
from server.http import Channel

# What was cut off at the end has this long to keep what there is of it.
GOODBYE_SECONDS = 2.0


class Pool(ThreadedTaskDispatcher):
    """Threads of one kind."""

    queue_logger = logging.getLogger("parley.queue")

    def __init__(self, threads: int):
        super().__init__()
        self.queue_logger.disabled = True  # a line for each request that waits a moment
        self.set_thread_count(threads)


class Dispatcher:
    """Decides where a request is served.

    - What reads is served by the loop itself, one after the other. It takes some hundred
      microseconds, less than handing it to a thread costs; and threads would fight for the
      interpreter lock. A write in progress keeps no reader of SQLite waiting.
    - What writes waits for the disk, on the Writer's thread, so that the loop doesn't.
    - What takes its time is served by a pool of threads: views that are marked so, and answers
      that turn out to be long (HandOver). Each kind has a pool of its own, and starves no other.
    """

    def __init__(self, app: Flask, threads: dict[str, int]):
        self._ready: deque[Channel] = deque()
        self._pools = {name: Pool(count) for name, count in threads.items()}
        self._writer = Writer(app, self.serve)
        rules: dict[str, list[str]] = {}
        for rule in app.url_map.iter_rules():
            pool = getattr(app.view_functions[rule.endpoint], "pool", None)
            if pool:
                methods = "|".join(sorted(rule.methods or ()))
                rules.setdefault(pool, []).append(f"(?:{methods}) {re.sub('<[^>]+>', '[^/]+', rule.rule)}")
        self._waiting = re.compile("|".join(f"(?P<{pool}>{'|'.join(paths)})" for pool, paths in rules.items()))

    def add_task(self, channel: Channel) -> None:
        """Take the first request of a channel; waitress calls this, from any thread."""
        request = channel.requests[0]
        channel.may_wait = False
        if not request.error and (pool := self._pool(request.command, request.path)):
            self._hand_over(channel, pool)
        elif channel.total_outbufs_len:  # the client has yet to take an earlier answer: it may be slow
            self._hand_over(channel, "patient")
        elif request.error or request.command in ("GET", "HEAD"):
            self._ready.append(channel)
        else:
            self._writer.queue.put(channel)

    def _pool(self, method: str, path: str) -> str | None:
        """Return the name of the pool that the view of a request waits in, if it does."""
        found = self._waiting.fullmatch(f"{method} /{path.lstrip('/')}")  # as Werkzeug takes it
        return found.lastgroup if found else None

    def serve_ready(self) -> None:
        """Serve what the loop itself serves."""
        while self._ready:
            self.serve(self._ready.popleft())

    def serve(self, channel: Channel) -> None:
        """Serve the first request of a channel, or hand it to a patient thread."""
        try:
            channel.service()
        except errors.HandOver as handed_over:
            channel.requests[0].begun = handed_over.begun
            channel.requests[0].get_body_stream().seek(0)
            self._hand_over(channel, "patient")

    def _hand_over(self, channel: Channel, pool: str) -> None:
        channel.may_wait = True
        self._pools[pool].add_task(channel)

    def shutdown(self) -> None:
        """Let the threads end."""
        self._writer.queue.put(None)
        for pool in self._pools.values():
            pool.shutdown(timeout=GOODBYE_SECONDS)
