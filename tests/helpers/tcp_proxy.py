"""A TCP proxy on loopback that delays, stalls and cuts connections."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

CHUNK_SIZE = 2**18


class TcpProxy:
    """A proxy on a port of its own: it listens once constructed, and cuts all connections at the end of the block.

    What a client sends after a response is the beginning of a round trip: it is counted in ``round_trips``, and kept
    for ``latency`` seconds, which can be changed at any time, as can the ``target_port`` of new connections.
    """

    def __init__(self, target_port: int, latency: float = 0):
        self.latency = latency
        self.round_trips = 0
        self.target_port = target_port
        self._links: set[_Link] = set()
        self._trap: _Trap | None = None
        self._flows = threading.Event()
        self._flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Cut all connections, on both sides; new ones are accepted."""
        for link in self._links.copy():
            link.cut()

    def cut_at(self, text: bytes, delivered: bool = True) -> threading.Event:
        """Cut the connection of the client that sends this text next, and return an event that is set once it is cut.

        If the text is ``delivered``, it is cut when the server has responded: the server has done what it was told,
        and its client cannot know. Otherwise the server has not heard of it.
        """
        self._trap = _Trap(text, delivered)
        return self._trap.is_sprung

    def stall(self) -> None:
        """Keep what is sent, in both directions, until ``resume``; new connections are accepted and stall too."""
        self._flows.clear()

    def resume(self) -> None:
        self._flows.set()

    def close(self) -> None:
        """Stop listening, and cut all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts from it
        self._listener.close()
        self.cut()
        self.resume()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self.target_port)) as server:
            link = _Link(client, server)
            self._links.add(link)
            responses = threading.Thread(target=self._forward_responses, args=(link,), daemon=True)
            responses.start()
            with suppress(OSError):
                self._forward_requests(link)
            link.cut()
            responses.join()
            self._links.remove(link)

    def _forward_requests(self, link: _Link) -> None:
        while chunk := link.client.recv(CHUNK_SIZE):
            if not link.awaits_response:
                link.awaits_response = True
                self.round_trips += 1
                if self.latency:
                    time.sleep(self.latency)
            self._flows.wait()
            trap = self._trap
            if trap and trap.text in chunk:
                self._trap = None
                if not trap.delivered:
                    link.cut()
                    trap.is_sprung.set()
                    return
                link.trap = trap
            link.server.sendall(chunk)

    def _forward_responses(self, link: _Link) -> None:
        with suppress(OSError):
            while chunk := link.server.recv(CHUNK_SIZE):
                link.awaits_response = False
                self._flows.wait()
                if link.trap:
                    break
                link.client.sendall(chunk)
        link.cut()
        if link.trap:
            link.trap.is_sprung.set()


@dataclass
class _Trap:
    text: bytes
    delivered: bool
    is_sprung: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class _Link:
    """A connection of a client, and the one to the server that belongs to it."""

    client: socket.socket
    server: socket.socket
    awaits_response: bool = False
    trap: _Trap | None = None

    def __post_init__(self) -> None:
        for end in (self.client, self.server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def cut(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
