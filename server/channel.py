"""One connection: the requests that come in over it, and their responses, one after the other.

No thread waits for a client. A deferred response is paused with its connection while the client
does not read, and resumed, by any thread, when it has.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any

from waitress.channel import ClientDisconnected
from waitress.utilities import InternalServerError

from addresses import client_network
from database import db
from server import loop_guard, memory
from server.output import OutgoingChannel
from server.parser import RequestParser
from server.task import JsonErrorTask, Task

# Longest wait for the rest of a request's header, and for a client to read more of a response…
CLIENT_TIMEOUT = 60.0
# … and this long if others wait for what the client blocks.
BLOCKING_CLIENT_TIMEOUT = 5.0
# A body is received in large blocks, a header in smaller ones: a block may hold many requests.
BODY_READ_BYTES = 262_144
HEADER_READ_BYTES = 16_384
# After a request or a response above this, freed memory is returned to the system.
LARGE_BYTES = 1_048_576


class Channel(OutgoingChannel):
    """One connection."""

    parser_class = RequestParser
    task_class = Task
    error_task_class = JsonErrorTask

    request: Any
    requests: list[Any]

    on_worker = False  # the thread that serves it is one of a pool, and not the loop or the write batcher
    pool: str | None = None
    client_key = ""  # the fair queues' key: the user's id, or the client's network
    over_limit = False
    counted = False
    header_started_at: float | None = None
    buffered = ("", 0)  # for which key how many bytes are counted in Backpressure

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None):  # noqa: A002  # waitress's name
        self.unparsed = b""
        self.network = client_network(addr[0])
        self.dispatcher = server.task_dispatcher
        super().__init__(server, sock, addr, adj, map=map)
        self.dispatcher.connections.add(self)

    # Receiving ------------------------------------------------------------------------------

    def readable(self) -> bool:
        """Return whether to receive more: not before what was received is parsed, and its requests served."""
        return not self.unparsed and bool(super().readable())

    def recv(self, buffer_size: int) -> bytes:
        """Receive what there is, up to a size of ours."""
        in_body = self.request is not None and self.request.headers_finished
        return bytes(super().recv(BODY_READ_BYTES if in_body else HEADER_READ_BYTES))

    def received(self, data: bytes) -> bool:
        """Parse what was received, now if it is cheap, else when it is this channel's turn."""
        if self.rejected:  # the rest of the rejected request is discarded
            self.will_close = bool(self.linger_deadline) and time.monotonic() > self.linger_deadline
            return False
        self.unparsed += data
        if self.request is not None and self.request.body_rcv is not None and not self.request.chunked:
            self.parse()  # a plain body needs no parsing
        else:
            self.dispatcher.parse_later(self)
        return True

    def parse(self) -> None:
        """Parse up to the end of a request, and of a chunked body no more than a bounded number of chunks."""
        with self.requests_lock:
            while self._can_parse() and self._parse_step():
                pass
            if self.rejected or not self.connected:
                self.unparsed = b""
            elif self._can_parse():
                self.dispatcher.parse_later(self)
        if self.request is None or self.request.headers_finished:
            self.header_started_at = None

    def _can_parse(self) -> bool:
        waiting = len(self.requests) > self.adj.channel_request_lookahead
        return bool(self.unparsed) and not (waiting or self.rejected or self.will_close or self.close_when_flushed)

    def _parse_step(self) -> bool:
        """Parse a header, or a part of a body; return whether to continue with this connection now."""
        started_at = time.perf_counter()
        request = self.request
        if request is None:
            request = self.request = self.parser_class(self.adj)
        consumed = request.received(self.unparsed)
        self.unparsed = self.unparsed[consumed:]
        at_body = request.headers_finished and not request.body_checked
        if at_body:
            request.body_checked = True
            if not request.completed:
                self.dispatcher.check_body(self, request)
                if not (request.completed or self.requests) and request.expect_continue:
                    self.send_continue()
        if request.completed:
            self._enqueue(request)
        loop_guard.check(request, started_at)
        return bool(at_body and not request.completed)

    def _enqueue(self, request: Any) -> None:
        self.request = None
        self.sent_continue = False
        if not request.empty:
            self.requests.append(request)
            self.rejected = bool(request.error or request.body_skipped)
            if len(self.requests) == 1:
                self.server.add_task(self)

    # Responding -----------------------------------------------------------------------------

    def service(self) -> None:
        """Serve the first request, or continue its deferred response, as far as the client takes it."""
        in_pool = self.on_worker
        task = self.deferred or self._new_task(self.requests[0])
        self.deferred = None
        try:
            finished = self._run(task)
        finally:
            if in_pool and not db.is_closed():
                db.close()  # a connection for each of many threads would be a lot of memory
        if finished:
            task.close()
            self._finish(task)

    def _new_task(self, request: Any) -> Task:
        return (self.error_task_class if request.error else self.task_class)(self, request)

    def _run(self, task: Task) -> bool:
        """Run a task; return whether its response is complete, or has failed."""
        try:
            if self.connected:
                return task.run()
        except ClientDisconnected:
            pass
        except Exception:
            self.logger.exception("Exception while serving %s", task.request.path)
            if not task.wrote_header and not task.request.error:
                task.request.error = InternalServerError("")
                self._run(self._new_task(task.request))
        task.close_on_finish = True
        return True

    def defer(self, task: Task) -> None:
        """Have a response sent by a pool's thread, which pauses when the client is slow."""
        self.deferred = task
        self.dispatcher.update_backpressure(self)
        self.dispatcher.resume(self)

    def _finish(self, task: Task) -> None:
        """Continue with the next request, or close the connection."""
        with self.requests_lock:
            if task.close_on_finish:
                self.close_when_flushed = True
                for request in self.requests:
                    request.close()
                self.requests, self.unparsed = [], b""
            else:
                self.requests.pop(0).close()
                if self.connected and self.requests:
                    self.server.add_task(self)
                elif self.connected and self._awaits_continue:
                    self.send_continue()
                if self.unparsed:
                    self.dispatcher.parse_later(self)
        self.last_activity = time.time()
        self.dispatcher.update_backpressure(self)
        if task.request.body_bytes_received > LARGE_BYTES or self.total_outbufs_len > LARGE_BYTES:
            memory.request_trim()
        if self.connected:
            self.server.pull_trigger()

    @property
    def _awaits_continue(self) -> bool:
        request = self.request
        return request is not None and request.expect_continue and request.body_checked and not self.sent_continue

    @property
    def closes_after_response(self) -> bool:
        """Whether the connection is to be closed after the current response."""
        return self.over_limit or (self.server.is_stopping and len(self.requests) < 2 and not self.unparsed)

    # Closing --------------------------------------------------------------------------------

    def handle_close(self) -> None:
        """Close the connection, and release what it holds."""
        with self.outbuf_lock:
            super().handle_close()
        self._resume()
        self.unparsed = b""
        self.dispatcher.update_backpressure(self)
        if self.buffered[1]:
            memory.request_trim()

    def del_channel(self, map: Any = None) -> None:  # noqa: A002  # waitress's name
        """Remove the connection from the loop, and from the count of connections."""
        super().del_channel(map)
        self.dispatcher.connections.remove(self)

    def check_client_disconnected(self) -> bool:
        """Return whether the client has disconnected, even if some of what it sent is unread."""
        return not self.connected or _peer_closed(self.socket)

    def has_timed_out(self, blocking: bool) -> bool:
        """Return whether the client has stalled for too long; for a ``blocking`` one, that is sooner."""
        now = time.monotonic()
        if self.requests:  # it is the client that waits
            self.header_started_at = None
        elif self.over_limit or (self.request is not None and not self.request.headers_finished):
            self.header_started_at = self.header_started_at or now
        slow_header = self.header_started_at is not None and now - self.header_started_at > (
            BLOCKING_CLIENT_TIMEOUT if self.over_limit else CLIENT_TIMEOUT
        )
        lingered = bool(self.linger_deadline) and now > self.linger_deadline
        timeout = BLOCKING_CLIENT_TIMEOUT if blocking else CLIENT_TIMEOUT
        not_reading = bool(self.total_outbufs_len) and time.time() - self.last_activity > timeout
        return slow_header or lingered or not_reading

    @property
    def is_busy(self) -> bool:
        """Whether a request is being received or served, or a response sent."""
        # In this order: a response is in the buffer before its request is removed from the list.
        return bool(self.requests) or bool(self.unparsed) or self.request is not None or bool(self.total_outbufs_len)


def _peer_closed(connection: socket.socket) -> bool:
    poll = select.poll()
    try:
        # Linux alone reports a client that has disconnected while some of what it sent is unread.
        poll.register(connection, getattr(select, "POLLRDHUP", 0))
    except ValueError:  # closed by another thread
        return True
    return bool(poll.poll(0))
