"""Serving with waitress: what it lacks for us is added here, and nothing else is in here.

- Its own refusals are JSON, like all others.
- A body over the limit gets its answer from the app, and the client gets to read it.
- Clients that stall are cut off.
- SIGTERM and Ctrl-C finish what was accepted and then end the process, with 0.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import peewee
from flask import Flask
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import RequestEntityTooLarge
from werkzeug.test import run_wsgi_app

import errors
from config import StartError
from database import db
from models import Draft, Session, User, WebhookRun
from services import search, webhooks
from values import new_id

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# What was accepted has this long to finish when the process is told to stop.
DRAIN_SECONDS = 15.0
# And what was cut off then, to keep what there is of it.
GOODBYE_SECONDS = 2.0
# A client that was refused has this long to stop sending and read why.
LINGER_SECONDS = 15.0
# Longest wait for the rest of a request's head, and for a client to read any more of its answer.
STALL_SECONDS = 60.0
# Beside those of all chats that may be under way, for refusing more.
SPARE_THREADS = 4
# Each waits for a webhook, ten seconds at most; one user takes half of them at most.
WEBHOOK_THREADS = 2 * webhooks.MOST_OF_ONE_USER
# Each hashes a password; more at once than there are processors is no gain.
LOGIN_THREADS = 2
# Each sends or takes in all of a user's sessions.
TRANSFER_THREADS = 4
# How often connections are looked through for stalled ones.
LOOK_SECONDS = 5.0


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


class Server(TcpWSGIServer):
    """One listening socket."""

    channel_class = Channel
    accepting: bool
    loop_thread = threading.get_ident()

    def pull_trigger(self) -> None:
        if threading.get_ident() != self.loop_thread:  # the loop need not wake itself
            super().pull_trigger()

    def close_stalled(self) -> None:
        """Close the connections of clients that keep them waiting, and let go who writes to them."""
        for channel in list(self.active_channels.values()):
            if channel.stalled():
                channel.handle_close()

    def stop_accepting(self) -> None:
        """Take in the connections that the kernel has accepted for us, and no more."""
        if self.accepting:
            taken = -1
            while taken != len(self.active_channels):
                taken = len(self.active_channels)
                self.handle_accept()
            self.accepting = False
            self.del_channel()
            self.socket.close()


def replaying(app: WSGIApplication) -> WSGIApplication:
    """Return the app, but for requests that have their answer already."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        answer = environ["parley.answer"]
        if answer is None:
            return app(environ, start_response)
        start_response(answer.status, answer.headers)
        return answer.body

    return application


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
            self._hand_over(channel, "patient")

    def _hand_over(self, channel: Channel, pool: str) -> None:
        channel.may_wait = True
        self._pools[pool].add_task(channel)

    def shutdown(self) -> None:
        """Let the threads end."""
        self._writer.queue.put(None)
        for pool in self._pools.values():
            pool.shutdown(timeout=GOODBYE_SECONDS)


class Writer:
    """A thread that serves what writes, all requests that are waiting in one transaction.

    A commit waits for the disk, 0.3 ms and more. With one for all, eight busy clients append
    twice as many messages a second. Each request has a savepoint of its own, so that one that is
    refused undoes nothing of the others; and none is answered before the commit.
    """

    MOST = 32  # requests in one transaction

    def __init__(self, app: WSGIApplication, serve: Callable[[Channel], None]):
        self.queue: SimpleQueue[Channel | None] = SimpleQueue()
        self._app, self._serve = app, serve
        threading.Thread(target=self._run, name="writer", daemon=True).start()

    def _run(self) -> None:
        while channel := self.queue.get():
            channels = [channel]
            while not self.queue.empty() and len(channels) < self.MOST and (more := self.queue.get()):
                channels.append(more)
            if len(channels) > 1:
                self._answer_together(channels)
            for each in channels:
                try:
                    self._serve(each)
                except Exception:
                    errors.log.exception("a request could not be served")

    def _answer_together(self, channels: list[Channel]) -> None:
        """Prepare the answers of all. Where it does not come to the commit there are none: the
        requests are refused for the same reason, or served each on its own to find its own."""
        tasks = [Task(channel, channel.requests[0]) for channel in channels if channel.connected]
        refusal = None
        try:
            db.prepare()
            with db.writing():
                answers = [self._answer(task) for task in tasks]
        except errors.ApiError as error:
            refusal = error
        except Exception as error:
            errors.log.warning("no commit for %d requests at once: %s", len(tasks), error)
            code = errors.database_code(error)
            # Busy, say: it would be again, after as long a wait for each.
            refusal = None if code == "internal_error" else errors.ApiError(code)
        else:
            for task, answer in zip(tasks, answers, strict=True):
                task.request.answer = answer
            return
        for task in tasks:
            task.request.refusal = refusal
            task.request.get_body_stream().seek(0)

    def _answer(self, task: Task) -> Answer:
        answer = Answer.of(self._app, task.get_environment())
        if not db.connection().in_transaction:  # SQLite undoes all of it where the disk is full
            raise peewee.OperationalError("the transaction is gone")
        return answer


class Service:
    """The listening sockets, their connections and what serves them."""

    def __init__(self, app: Flask):
        config = app.config
        adjustments = Adjustments(
            host=config["PARLEY_HOST"],
            port=config["PARLEY_PORT"],
            ident="parley",
            # One byte over what the app itself refuses, so that it is the app that does.
            max_request_body_size=max(config["PARLEY_MAX_BODY_BYTES"], config["PARLEY_MAX_IMPORT_BYTES"]) + 1,
            connection_limit=1_000,
            asyncore_use_poll=True,
            recv_bytes=262_144,  # a large import in fewer pieces
            outbuf_high_watermark=1_048_576,  # what a stream may be ahead of its client
            # Reads on while a request is served, which is how a client's leaving is noticed.
            channel_request_lookahead=1,
            clear_untrusted_proxy_headers=False,  # ProxyFix decides, from PARLEY_TRUSTED_PROXIES
        )
        self._sockets: dict[int, Any] = {}
        chats = config["PARLEY_MAX_STREAMS"] + SPARE_THREADS if config["PARLEY_LLM_BASE_URL"] else 1
        calls = WEBHOOK_THREADS if config["PARLEY_ACTIONS_FILE"] else 1
        threads = {"patient": config["PARLEY_THREADS"], "streams": chats, "webhooks": calls}
        threads |= {"logins": LOGIN_THREADS, "transfers": TRANSFER_THREADS}
        self._dispatcher = Dispatcher(app, threads)
        try:
            self._servers = [
                Server(replaying(app), self._sockets, dispatcher=self._dispatcher, adj=adjustments, sockinfo=sockinfo)
                for sockinfo in adjustments.listen
            ]
        except OSError as error:
            raise StartError(f"Cannot listen on {config['PARLEY_HOST']}:{config['PARLEY_PORT']}: {error}.") from None
        self._stopping = False

    @property
    def address(self) -> str:
        """The URL that it listens at."""
        host, port = self._servers[0].effective_host, self._servers[0].effective_port
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish what was accepted."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        next_look = 0.0
        while not self._stopping:
            self._turn(LOOK_SECONDS)
            if time.monotonic() > next_look:
                next_look = time.monotonic() + LOOK_SECONDS
                for server in self._servers:
                    server.close_stalled()
        self._drain()
        self._dispatcher.shutdown()
        wasyncore.close_all(self._sockets)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True
        self._servers[0].trigger.pull_trigger()
        signal.signal(number, signal.SIG_DFL)  # told twice, it ends at once

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._sockets, count=1)
        self._dispatcher.serve_ready()

    def _drain(self) -> None:
        for server in self._servers:
            server.stop_accepting()
        self._turn(0)  # what has been sent by now was accepted
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            channels = [channel for server in self._servers for channel in list(server.active_channels.values())]
            if not any(channel.busy for channel in channels):
                return
            for channel in channels:
                if not channel.busy:
                    channel.will_close = True
            self._turn(0.05)
        for server in self._servers:
            for channel in list(server.active_channels.values()):
                channel.handle_close()


def serve(app: Flask) -> None:
    """Serve the app and print one line that says where."""
    db.prepare()
    for table in (Session, Draft, WebhookRun):
        table.recover()
    for name, work in (("checkpoint", db.keep_log_short), ("indexer", search.keep_up)):
        threading.Thread(target=work, name=name, daemon=True).start()
    app.extensions["services"].start()
    service = Service(app)
    beside = Path(sys.executable).with_name("flask")  # the one that has our packages
    flask = "flask" if shutil.which("flask") == str(beside) else os.path.relpath(beside)
    hint = "" if User.select().exists() else f"; no user yet, make one with: {flask} users add NAME"
    gc.freeze()  # what is there now stays: the collector need not look at it again and again
    gc.set_threshold(50_000, 20, 50)  # a large document is many objects, and none of them garbage
    click.echo(f"Parley listens on {service.address}, database {db.path}{hint}")
    service.run()
    app.extensions["services"].outgoing.close()
    db.tidy_up()
