"""The listening sockets, the event loop, and its shutdown."""

from __future__ import annotations

import resource
import signal
import threading
import time
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from config import StartupError
from database import db
from server.channel import Channel
from server.dispatch import Dispatcher
from server.memory import trim_if_requested
from services import chats, webhooks
from store import drafts
from web.spec import BACKGROUND, DATABASE

# After a signal, requests that were accepted have this long to finish.
GRACEFUL_SHUTDOWN_TIMEOUT = 15.0
# For each chat that may be active, one reads it for the client that has started it; as many read chats for
# clients that are attached.
THREADS_PER_CHAT = 2
# Besides, to reject more chats.
CHAT_REJECTION_THREADS = 4
# One user's chats and readers, and some more to reject or to stop others.
CHAT_THREADS_PER_USER = drafts.MAX_PER_USER + chats.MAX_ATTACHED_PER_USER + CHAT_REJECTION_THREADS
# Each waits for a webhook, for at most ten seconds; one user's calls take at most half of them.
WEBHOOK_THREADS = 2 * webhooks.MAX_CALLS_PER_USER
# Each hashes a password; more at once than there are processors is no gain.
LOGIN_THREADS = 2
# Each exports or imports all of a user's sessions.
TRANSFER_THREADS = 4
# How often stalled connections are closed, in seconds.
SWEEP_INTERVAL = 5.0
# Each may have another file open, with what is sent or received.
MAX_CONNECTIONS = 1_000
FILES_PER_CONNECTION = 2
# For the database, its readers, the log, models and webhooks.
OTHER_FILES = 256


class Listener(TcpWSGIServer):
    """One listening socket."""

    channel_class = Channel
    accepting: bool
    loop_thread = threading.get_ident()
    is_stopping = False
    is_woken = False

    def pull_trigger(self) -> None:
        """Wake the loop, which need not wake itself, nor be woken twice."""
        if threading.get_ident() != self.loop_thread and not Listener.is_woken:
            Listener.is_woken = True
            super().pull_trigger()

    def close_stalled(self) -> None:
        """Close the connections of clients that have timed out."""
        for channel in list(self.active_channels.values()):
            if channel.has_timed_out(self.task_dispatcher.is_blocking(channel)):
                channel.handle_close()

    def stop_accepting(self) -> None:
        """Accept the connections in the kernel's queue, and close the socket."""
        if self.accepting:
            accepted = -1
            while accepted != len(self.active_channels):
                accepted = len(self.active_channels)
                self.handle_accept()
            self.accepting = False
            self.del_channel()
            self.socket.close()


class Server:
    """The listening sockets, their connections, the loop and the dispatcher."""

    def __init__(self, app: Flask):
        config = app.config
        adjustments = Adjustments(
            host=config["PARLEY_HOST"],
            port=config["PARLEY_PORT"],
            ident="parley",
            # One byte over what the app itself rejects, so that it is the app that does.
            max_request_body_size=max(config["PARLEY_MAX_BODY_BYTES"], config["PARLEY_MAX_IMPORT_BYTES"]) + 1,
            connection_limit=2**31,  # ConnectionLimit counts them, and those over the limit get a response
            asyncore_use_poll=True,
            inbuf_overflow=131_072,  # more of a body is written to a temporary file
            # Continue to read while a request is served, to notice that its client disconnects.
            channel_request_lookahead=1,
            clear_untrusted_proxy_headers=False,  # ProxyFix decides, from PARLEY_TRUSTED_PROXIES
        )
        self._sockets: dict[int, Any] = {}
        chat_threads = 1
        if config["PARLEY_LLM_BASE_URL"]:
            chat_threads = THREADS_PER_CHAT * config["PARLEY_MAX_STREAMS"] + CHAT_REJECTION_THREADS
        calls = WEBHOOK_THREADS if config["PARLEY_ACTIONS_FILE"] else 1
        background = config["PARLEY_THREADS"]
        # How many threads, and how many of them for one user. Chats and webhook calls have limits of
        # their own: there, one thread remains to reject another user's requests.
        threads = {
            BACKGROUND: (background, max(background // 2, 1)),
            "chat": (chat_threads, max(min(chat_threads - 1, CHAT_THREADS_PER_USER), 1)),
            "webhook": (calls, max(calls - 1, 1)),
            "login": (LOGIN_THREADS, max(LOGIN_THREADS // 2, 1)),
            "transfer": (TRANSFER_THREADS, max(TRANSFER_THREADS // 2, 1)),
        }
        if not db.is_near:  # one user's locks must not hold up everybody
            threads[DATABASE] = (background, max(background * 3 // 4, 1))
        files = raise_file_limit(MAX_CONNECTIONS * FILES_PER_CONNECTION + OTHER_FILES)
        max_connections = min(MAX_CONNECTIONS, max((files - OTHER_FILES) // FILES_PER_CONNECTION, 16))
        self._dispatcher = Dispatcher(app, threads, max_connections)
        try:
            self._listeners = [
                Listener(app, self._sockets, dispatcher=self._dispatcher, adj=adjustments, sockinfo=sockinfo)
                for sockinfo in adjustments.listen
            ]
        except OSError as error:
            raise StartupError(f"Cannot listen on {config['PARLEY_HOST']}:{config['PARLEY_PORT']}: {error}.") from None
        services = app.extensions["services"]
        self._chats, self._readiness = services.chats, services.readiness
        self.should_exit = False
        self._is_interactive = False

    @property
    def address(self) -> str:
        """The URL of the first listening socket."""
        host, port = self._listeners[0].effective_host, self._listeners[0].effective_port
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def install_signal_handlers(self) -> None:
        """Make SIGTERM and SIGINT end ``run``; to be called before the address is announced."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)

    def run(self) -> None:
        """Serve until a signal arrives, then finish what was accepted."""
        next_sweep = 0.0
        while not self.should_exit:
            self._run_once(SWEEP_INTERVAL)
            if time.monotonic() > next_sweep:
                next_sweep = time.monotonic() + SWEEP_INTERVAL
                for listener in self._listeners:
                    listener.close_stalled()
                trim_if_requested()
        if not self._is_interactive:
            self._serve_until_noticed()
        self._drain()
        self._dispatcher.shutdown()
        wasyncore.close_all(self._sockets)

    def handle_exit(self, number: int, frame: object) -> None:
        """Start the shutdown; a second signal ends the process at once."""
        self.should_exit = Listener.is_stopping = True
        self._is_interactive = number == signal.SIGINT
        self._listeners[0].trigger.pull_trigger()
        signal.signal(number, signal.SIG_DFL)

    def _run_once(self, timeout: float) -> None:
        Listener.is_woken = False  # before it looks for what there is to do and to wait for
        timeout = 0 if self._dispatcher.has_pending else timeout
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._sockets, count=1)
        self._dispatcher.run_pending()

    def _serve_until_noticed(self) -> None:
        """Serve until load balancers send no more requests; each response closes its connection meanwhile.

        A connection that a load balancer has just sent a request on cannot be closed without losing that.
        """
        deadline = time.monotonic() + self._readiness.withdraw()
        while time.monotonic() < deadline:
            self._run_once(0.05)

    def _drain(self) -> None:
        for listener in self._listeners:
            listener.stop_accepting()
        self._run_once(0)  # what clients have sent by now was accepted
        deadline = time.monotonic() + GRACEFUL_SHUTDOWN_TIMEOUT
        while time.monotonic() < deadline:
            channels = [channel for listener in self._listeners for channel in list(listener.active_channels.values())]
            if not (self._chats.active or any(channel.is_busy for channel in channels)):
                return
            for channel in channels:
                if not channel.is_busy:
                    channel.will_close = True
            self._run_once(0.05)
        for listener in self._listeners:
            for channel in list(listener.active_channels.values()):
                channel.handle_close()


def raise_file_limit(wanted: int) -> int:
    """Raise the limit of open files to what is wanted, as far as that is allowed; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return wanted if soft == unlimited else soft
