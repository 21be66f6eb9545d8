"""The listening sockets, the event loop, and its end."""

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
from server.channel import Channel
from server.dispatch import Dispatcher
from server.memory import give_back_later
from services import webhooks

# What was accepted has this long to finish when the process is told to stop.
DRAIN_SECONDS = 15.0
# Beside those of all chats that may be under way, for refusing more.
SPARE_THREADS = 4
# Each waits for a webhook, ten seconds at most; one user takes half of them at most.
WEBHOOK_THREADS = 2 * webhooks.MAX_CALLS_PER_USER
# Each hashes a password; more at once than there are processors is no gain.
LOGIN_THREADS = 2
# Each sends or takes in all of a user's sessions.
TRANSFER_THREADS = 4
# How often connections are looked through for stalled ones.
LOOK_SECONDS = 5.0
# Each may have a file open besides, with what is sent or received.
MOST_CONNECTIONS = 1_000
FILES_A_CONNECTION = 2
# For the database, its readers, the log, models and webhooks.
OTHER_FILES = 256


class Server(TcpWSGIServer):
    """One listening socket."""

    channel_class = Channel
    accepting: bool
    loop_thread = threading.get_ident()
    stopping = False

    def pull_trigger(self) -> None:
        if threading.get_ident() != self.loop_thread:  # the loop need not wake itself
            super().pull_trigger()

    def close_stalled(self) -> None:
        """Close the connections of clients that keep them waiting, and let go who writes to them."""
        for channel in list(self.active_channels.values()):
            if channel.stalled(self.task_dispatcher.is_pressed(channel)):
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
            connection_limit=2**31,  # the dispatcher counts them, and answers those that are too many
            asyncore_use_poll=True,
            inbuf_overflow=131_072,  # more of a body is kept in a file
            # Reads on while a request is served, which is how a client's leaving is noticed.
            channel_request_lookahead=1,
            clear_untrusted_proxy_headers=False,  # ProxyFix decides, from PARLEY_TRUSTED_PROXIES
        )
        self._sockets: dict[int, Any] = {}
        chats = config["PARLEY_MAX_STREAMS"] + SPARE_THREADS if config["PARLEY_LLM_BASE_URL"] else 1
        calls = WEBHOOK_THREADS if config["PARLEY_ACTIONS_FILE"] else 1
        background = config["PARLEY_THREADS"]
        # How many threads, and how many of them for one user at once. Chats and webhooks are counted
        # by themselves: there it is those that are refused which must not be all.
        threads = {
            "background": (background, max(background // 2, 1)),
            "chat": (chats, max(chats - 1, 1)),
            "webhook": (calls, max(calls - 1, 1)),
            "login": (LOGIN_THREADS, max(LOGIN_THREADS // 2, 1)),
            "transfer": (TRANSFER_THREADS, max(TRANSFER_THREADS // 2, 1)),
        }
        files = raise_file_limit(MOST_CONNECTIONS * FILES_A_CONNECTION + OTHER_FILES)
        most = min(MOST_CONNECTIONS, max((files - OTHER_FILES) // FILES_A_CONNECTION, 16))
        self._dispatcher = Dispatcher(app, threads, most)
        try:
            self._servers = [
                Server(app, self._sockets, dispatcher=self._dispatcher, adj=adjustments, sockinfo=sockinfo)
                for sockinfo in adjustments.listen
            ]
        except OSError as error:
            raise StartupError(f"Cannot listen on {config['PARLEY_HOST']}:{config['PARLEY_PORT']}: {error}.") from None
        self._stopping = False

    @property
    def address(self) -> str:
        """The URL that it listens at."""
        host, port = self._servers[0].effective_host, self._servers[0].effective_port
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def install_signal_handlers(self) -> None:
        """Have SIGTERM and SIGINT end ``run``: to be called before anybody is told that this process serves."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def run(self) -> None:
        """Serve until a signal says to stop, then finish what was accepted."""
        next_look = 0.0
        while not self._stopping:
            self._turn(LOOK_SECONDS)
            if time.monotonic() > next_look:
                next_look = time.monotonic() + LOOK_SECONDS
                for server in self._servers:
                    server.close_stalled()
                give_back_later()
        self._drain()
        self._dispatcher.shutdown()
        wasyncore.close_all(self._sockets)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = Server.stopping = True
        self._servers[0].trigger.pull_trigger()
        signal.signal(number, signal.SIG_DFL)  # told twice, it ends at once

    def _turn(self, timeout: float) -> None:
        timeout = 0 if self._dispatcher.has_work else timeout
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._sockets, count=1)
        self._dispatcher.work()

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


def raise_file_limit(wanted: int) -> int:
    """Let the process have as many files open as it may need, as far as it is allowed; return how many it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return wanted if soft == unlimited else soft
