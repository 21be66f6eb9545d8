"""One connection: what comes in over it, and its answers, one after the other, as fast as the client reads.

No thread waits for a client. An answer that comes in parts is parked with its connection while
the client does not read, and gone on with, by any thread, when it has.
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
from server import memory
from server.output import Output
from server.parser import RequestParser
from server.task import JsonErrorTask, Task

# Longest wait for the rest of a request's head, and for a client to read any more of its answer…
STALL_SECONDS = 60.0
# … and this long where others wait for what it holds.
SHORT_STALL_SECONDS = 5.0
# Much of a body is taken in at once, of a head less: it may be many requests.
BODY_READ_BYTES = 262_144
HEAD_READ_BYTES = 16_384
# The memory of requests and answers above this is given back when they are over.
LARGE_BYTES = 1_048_576


class Channel(Output):
    """One connection."""

    parser_class = RequestParser
    task_class = Task
    error_task_class = JsonErrorTask

    request: Any
    requests: list[Any]

    may_wait = False
    pool: str | None = None
    key = ""
    spare = False
    counted = False
    head_since: float | None = None
    owed = ("", 0)

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None):  # noqa: A002  # waitress's name
        self.pending = b""  # received, and yet to be parsed
        self.network = client_network(addr[0])
        self.dispatcher = server.task_dispatcher
        super().__init__(server, sock, addr, adj, map=map)
        self.dispatcher.arrived(self)

    # Coming in ------------------------------------------------------------------------------

    def readable(self) -> bool:
        """Return whether more is to be received: not before what has come is parsed and answered."""
        return not self.pending and bool(super().readable())

    def recv(self, buffer_size: int) -> bytes:
        """Receive what there is, up to a size."""
        in_body = self.request is not None and self.request.headers_finished
        return bytes(super().recv(BODY_READ_BYTES if in_body else HEAD_READ_BYTES))

    def received(self, data: bytes) -> bool:
        """Take in what has come."""
        if self.refused:  # what still comes of the refused request
            self.will_close = bool(self.lingers_until) and time.monotonic() > self.lingers_until
            return False
        self.pending += data
        if self.request is not None and self.request.body_rcv is not None and not self.request.chunked:
            self.parse()  # of a plain body there is nothing to parse
        else:
            self.dispatcher.parse_later(self)
        return True

    def parse(self) -> None:
        """Parse what has come, up to the end of a request and no more chunks than at once."""
        with self.requests_lock:
            while self._may_parse() and self._parse_some():
                pass
            if self.refused or not self.connected:
                self.pending = b""
            elif self._may_parse():
                self.dispatcher.parse_later(self)
        if self.request is None or self.request.headers_finished:
            self.head_since = None

    def _may_parse(self) -> bool:
        waiting = len(self.requests) > self.adj.channel_request_lookahead
        return bool(self.pending) and not (waiting or self.refused or self.will_close or self.close_when_flushed)

    def _parse_some(self) -> bool:
        """Parse a head, or some of a body; return whether to go on with this connection now."""
        request = self.request
        if request is None:
            request = self.request = self.parser_class(self.adj)
        consumed = request.received(self.pending)
        self.pending = self.pending[consumed:]
        begun = request.headers_finished and not request.admitted
        if begun:
            request.admitted = True
            if not request.completed:
                self.dispatcher.admit(self, request)
                if not (request.completed or self.requests) and request.expect_continue:
                    self.send_continue()
        if request.completed:
            self._complete(request)
        return bool(begun and not request.completed)

    def _complete(self, request: Any) -> None:
        self.request = None
        self.sent_continue = False
        if not request.empty:
            self.requests.append(request)
            self.refused = bool(request.error or request.unread)
            if len(self.requests) == 1:
                self.server.add_task(self)

    # Going out ------------------------------------------------------------------------------

    def service(self) -> None:
        """Answer the first request, or go on with its answer, as far as the client takes it."""
        in_pool = self.may_wait
        task = self.task or self._new_task(self.requests[0])
        self.task = None
        try:
            finished = self._proceed(task)
        finally:
            if in_pool and not db.is_closed():
                db.close()  # one of many threads: each with a connection would be a lot of memory
        if finished:
            task.close()
            self._finish(task)

    def _new_task(self, request: Any) -> Task:
        return (self.error_task_class if request.error else self.task_class)(self, request)

    def _proceed(self, task: Task) -> bool:
        """Go on with an answer; return whether it has come to its end, good or bad."""
        try:
            if self.connected:
                return task.proceed()
        except ClientDisconnected:
            pass
        except Exception:
            self.logger.exception("Exception while serving %s", task.request.path)
            if not task.wrote_header and not task.request.error:
                task.request.error = InternalServerError("")
                self._proceed(self._new_task(task.request))
        task.close_on_finish = True
        return True

    def defer(self, task: Task) -> None:
        """Have an answer gone on with by a thread that may wait for the client."""
        self.task = task
        self.dispatcher.account(self)
        self.dispatcher.resume(self)

    def _finish(self, task: Task) -> None:
        """Go on with the next request, or close the connection."""
        with self.requests_lock:
            if task.close_on_finish:
                self.close_when_flushed = True
                for request in self.requests:
                    request.close()
                self.requests, self.pending = [], b""
            else:
                self.requests.pop(0).close()
                if self.connected and self.requests:
                    self.server.add_task(self)
                elif self.connected and self._expects_continue:
                    self.send_continue()
                if self.pending:
                    self.dispatcher.parse_later(self)
        self.last_activity = time.time()
        self.dispatcher.account(self)
        if task.request.body_bytes_received > LARGE_BYTES or self.total_outbufs_len > LARGE_BYTES:
            memory.was_large()
        if self.connected:
            self.server.pull_trigger()

    @property
    def _expects_continue(self) -> bool:
        request = self.request
        return request is not None and request.expect_continue and request.admitted and not self.sent_continue

    @property
    def is_last(self) -> bool:
        """Whether the connection is to be closed behind the answer under way."""
        return self.spare or (self.server.stopping and len(self.requests) < 2 and not self.pending)

    # Its end --------------------------------------------------------------------------------

    def handle_close(self) -> None:
        """Close the connection, and let go of what it holds."""
        with self.outbuf_lock:
            super().handle_close()
        self._unpark()
        self.pending = b""
        self.dispatcher.account(self)
        if self.owed[1]:
            memory.was_large()

    def del_channel(self, map: Any = None) -> None:  # noqa: A002  # waitress's name
        """Be gone."""
        super().del_channel(map)
        self.dispatcher.left(self)

    def check_client_disconnected(self) -> bool:
        """Return whether the client has left, also one whose next requests are yet to be read."""
        return not self.connected or _has_left(self.socket)

    def stalled(self, pressed: bool) -> bool:
        """Return whether the client has kept this connection waiting for too long; less long if others wait for it."""
        monotonic = time.monotonic()
        if self.requests:  # it is the client that waits
            self.head_since = None
        elif self.spare or (self.request is not None and not self.request.headers_finished):
            self.head_since = self.head_since or monotonic
        slow_head = self.head_since is not None and monotonic - self.head_since > (
            SHORT_STALL_SECONDS if self.spare else STALL_SECONDS
        )
        lingering = bool(self.lingers_until) and monotonic > self.lingers_until
        longest = SHORT_STALL_SECONDS if pressed else STALL_SECONDS
        not_reading = bool(self.total_outbufs_len) and time.time() - self.last_activity > longest
        return slow_head or lingering or not_reading

    @property
    def busy(self) -> bool:
        """Whether a request is being received, served or answered."""
        # In this order: an answer is in the buffer before its request leaves the list.
        return bool(self.requests) or bool(self.pending) or self.request is not None or bool(self.total_outbufs_len)


def _has_left(connection: socket.socket) -> bool:
    poll = select.poll()
    try:
        # Linux alone tells of a client that has left while there is something of it to be read.
        poll.register(connection, getattr(select, "POLLRDHUP", 0))
    except ValueError:  # closed meanwhile
        return True
    return bool(poll.poll(0))
