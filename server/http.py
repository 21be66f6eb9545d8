"""One connection and its requests: waitress's parser, task and channel, and what they lack for us."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import RequestEntityTooLarge
from werkzeug.test import run_wsgi_app

import errors
from database import db
from values import new_id

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# A client that was refused has this long to stop sending and read why.
LINGER_SECONDS = 15.0
# Longest wait for the rest of a request's head, and for a client to read any more of its answer.
STALL_SECONDS = 60.0


class RequestParser(HTTPRequestParser):
    """A parser that hands over a request with too large a body without its body.

    waitress would answer in plain text and close; the app knows better what to say, and in which
    order (a missing token first).
    """

    oversized = False
    answer: Answer | None = None
    refusal: errors.ApiError | None = None
    begun: tuple[Iterator[bytes], Mapping[str, str]] | None = None
    error: Any
    body_rcv: Any

    def received(self, data: bytes) -> int:
        consumed = int(super().received(data))
        if isinstance(self.error, RequestEntityTooLarge) and getattr(self.body_rcv, "error", None):
            self.error = self.body_rcv.error  # not too large: no chunks at all
        elif isinstance(self.error, RequestEntityTooLarge):
            self.error = None
            self.oversized = True
            self.expect_continue = False
            self.headers["CONTENT_LENGTH"] = str(max(self.content_length, self.body_bytes_received))
            self.headers["CONNECTION"] = "close"
            if self.body_rcv is not None:
                self.body_rcv.getbuf().close()
                self.body_rcv = None
            return len(data)
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # an address or a length that Python's own parsers choke on
            raise ParsingError(str(error)) from None


class OneSend:
    """Sends the head and the whole body of an answer at once: a system call and a packet less."""

    def write(self: Any, data: bytes) -> None:
        if self.wrote_header or self.content_length != len(data) or not self.has_body:
            super().write(data)  # type: ignore[misc]  # waitress.task.Task's
            return
        head = self.build_response_header()
        self.wrote_header = True
        self.content_bytes_written = len(data)
        self.channel.write_soon(head + data)


class Answer(NamedTuple):
    """What the app has answered, kept to be sent later."""

    status: str
    headers: list[tuple[str, str]]
    body: list[bytes]

    @classmethod
    def of(cls, app: WSGIApplication, environ: dict[str, Any]) -> Answer:
        body, status, headers = run_wsgi_app(app, environ, buffered=True)
        return cls(status, list(headers), list(body))


class Task(OneSend, WSGITask):
    """A request on its way through the app."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["parley.may_wait"] = self.channel.may_wait
        environ["parley.answer"] = self.request.answer
        environ["parley.refusal"] = self.request.refusal
        environ["parley.begun"] = self.request.begun
        return environ


class JsonErrorTask(OneSend, ErrorTask):
    """waitress's own refusals, of what is not even HTTP, in the one shape of all errors."""

    def execute(self) -> None:
        error = self.request.error
        body = errors.payload(errors.CODE_OF_STATUS.get(error.code, "bad_request"))
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Content-Type", "application/json"), ("X-Request-Id", new_id())]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):
    """One connection. Where a request was refused unread, it lingers until the client has had its
    answer: closing with unread bytes would reset the connection, and the answer could be lost."""

    parser_class = RequestParser
    task_class = Task
    error_task_class = JsonErrorTask

    close_when_flushed: bool
    may_wait = False
    refused = False
    lingers_until = 0.0
    head_since: float | None = None

    def received(self, data: bytes) -> bool:
        if self.refused:  # what still comes of the refused request
            self.will_close = bool(self.lingers_until) and time.monotonic() > self.lingers_until
            return False
        received = bool(super().received(data))
        self.refused = any(request.error or request.oversized for request in self.requests)
        if self.request is None or self.request.headers_finished:
            self.head_since = None
        return received

    def check_client_disconnected(self) -> bool:
        """Tell whether the client has left, also one whose next requests are yet to be read."""
        return not self.connected or _has_left(self.socket)

    def handle_write(self) -> None:
        if not (self.refused and self.close_when_flushed):
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len:
            self.close_when_flushed = False
            self.lingers_until = time.monotonic() + LINGER_SECONDS
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.will_close = True

    def _flush_outbufs_below_high_watermark(self) -> None:
        if self.may_wait:  # for the client: the loop and the writer must not
            super()._flush_outbufs_below_high_watermark()

    def service(self) -> None:
        in_pool = self.may_wait
        super().service()
        if in_pool and not db.is_closed():
            db.close()  # one of many threads: each with a connection would be a lot of memory

    def stalled(self) -> bool:
        """Tell whether the client has kept this connection waiting for too long."""
        monotonic = time.monotonic()
        if self.requests:  # it is the client that waits
            self.head_since = None
        elif self.request is not None and not self.request.headers_finished:
            self.head_since = self.head_since or monotonic
        slow_head = self.head_since is not None and monotonic - self.head_since > STALL_SECONDS
        lingering = bool(self.lingers_until) and monotonic > self.lingers_until
        not_reading = bool(self.total_outbufs_len) and time.time() - self.last_activity > STALL_SECONDS
        return slow_head or lingering or not_reading

    @property
    def busy(self) -> bool:
        """Whether a request is being received, served or answered."""
        # In this order: an answer is in the buffer before its request leaves the list.
        return bool(self.requests) or self.request is not None or bool(self.total_outbufs_len)


def _has_left(connection: socket.socket) -> bool:
    poll = select.poll()
    try:
        # Linux alone tells of a client that has left while there is something of it to be read.
        poll.register(connection, getattr(select, "POLLRDHUP", 0))
    except ValueError:  # closed meanwhile
        return True
    return bool(poll.poll(0))


def replaying(app: WSGIApplication) -> WSGIApplication:
    """Return the app, but for requests that have their answer already."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        answer = environ["parley.answer"]
        if answer is None:
            return app(environ, start_response)
        start_response(answer.status, answer.headers)
        return answer.body

    return application
