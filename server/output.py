"""What a connection sends: now what its client takes, and the rest when it has read."""

from __future__ import annotations

import socket
import time
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import ClientDisconnected, HTTPChannel

from server.task import Task

# A client that was refused has this long to stop sending and read why.
LINGER_SECONDS = 15.0
# An answer in parts is ahead of its client by at most the first, and gone on with below the second.
HIGH_WATERMARK = 262_144
LOW_WATERMARK = 65_536


class Output(HTTPChannel):
    """The outgoing half of a connection.

    If a request was refused unread, it lingers until the client has had its answer: closing with
    unread bytes would reset the connection, and the answer could be lost.
    """

    close_when_flushed: bool
    connected: bool
    current_outbuf_count: int

    dispatcher: Any
    refused = False
    lingers_until = 0.0
    task: Task | None = None  # an answer that is to be gone on with
    parked = False

    def park(self, task: Task | None) -> bool:
        """Keep an answer until the client has read more, if it is far behind; return whether that is so."""
        if self.total_outbufs_len <= HIGH_WATERMARK:
            return False
        with self.outbuf_lock:
            if not self.connected or self.total_outbufs_len <= HIGH_WATERMARK:
                return False
            self.task, self.parked = task, True
        self.dispatcher.account(self)
        self.server.pull_trigger()
        return True

    def _unpark(self) -> None:
        with self.outbuf_lock:
            ready, self.parked = self.parked, False
        if ready:
            self.dispatcher.resume(self)

    def write_soon(self, data: bytes) -> int:
        """Send what the client takes now, and keep the rest for later."""
        with self.outbuf_lock:
            if not self.connected:
                raise ClientDisconnected
            sent = 0
            if not self.total_outbufs_len:
                try:
                    sent = self.send(data, do_close=False)
                except OSError:
                    self.will_close = True
                    raise ClientDisconnected from None
                self.last_activity = time.time()
            rest = len(data) - sent
            if rest:
                if self.current_outbuf_count >= HIGH_WATERMARK:  # a buffer is freed as a whole
                    self.outbufs.append(OverflowableBuffer(self.adj.outbuf_overflow))
                    self.current_outbuf_count = 0
                self.outbufs[-1].append(data[sent:] if sent else data)
                self.current_outbuf_count += rest
                self.total_outbufs_len += rest
                self.server.pull_trigger()
        return len(data)

    def _flush_some(self, do_close: bool = True) -> bool:
        flushed = bool(super()._flush_some(do_close))
        if not self.total_outbufs_len and self.current_outbuf_count and self.connected:
            self.outbufs[-1].close()
            self.outbufs[-1] = OverflowableBuffer(self.adj.outbuf_overflow)  # without the memory of what it held
            self.current_outbuf_count = 0
        return flushed

    def handle_write(self) -> None:
        """Send more of what the client has not taken yet."""
        if self.refused and self.close_when_flushed:
            self._linger()
        else:
            super().handle_write()
        if self.parked and self.total_outbufs_len <= LOW_WATERMARK:
            self._unpark()
        self.dispatcher.account(self)

    def _linger(self) -> None:
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len:
            self.close_when_flushed = False
            self.lingers_until = time.monotonic() + LINGER_SECONDS
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.will_close = True
