"""What a connection sends: now what its client takes, and the rest when the client has read."""

from __future__ import annotations

import socket
import time
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import ClientDisconnected, HTTPChannel

from server.task import Task

# After a rejected request, its client has this long to stop sending and read the response.
LINGER_TIMEOUT = 15.0
# A deferred response pauses with more than the first buffered, and resumes with less than the second.
HIGH_WATERMARK = 262_144
LOW_WATERMARK = 65_536


class OutgoingChannel(HTTPChannel):
    """The outgoing half of a connection, with flow control.

    After a rejected request whose body is unread it closes lingeringly, when the client has had
    the response: closing with unread bytes would reset the connection, and the response could be lost.
    """

    close_when_flushed: bool
    connected: bool
    current_outbuf_count: int

    dispatcher: Any
    rejected = False
    linger_deadline = 0.0
    deferred: Task | None = None  # whose response is to be continued
    paused = False

    def pause(self, task: Task | None) -> bool:
        """Pause a deferred response, or the next request, while too much is buffered; return whether that is so."""
        if self.total_outbufs_len <= HIGH_WATERMARK:
            return False
        with self.outbuf_lock:
            if not self.connected or self.total_outbufs_len <= HIGH_WATERMARK:
                return False
            self.deferred, self.paused = task, True
        self.dispatcher.update_backpressure(self)
        self.server.pull_trigger()
        return True

    def _resume(self) -> None:
        with self.outbuf_lock:
            was_paused, self.paused = self.paused, False
        if was_paused:
            self.dispatcher.resume(self)

    def write_soon(self, data: bytes) -> int:
        """Send what the client takes now, and buffer the rest."""
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
            self.outbufs[-1] = OverflowableBuffer(self.adj.outbuf_overflow)  # without the memory of the old one
            self.current_outbuf_count = 0
        return flushed

    def handle_write(self) -> None:
        """Send more of what is buffered."""
        if self.rejected and self.close_when_flushed:
            self._linger()
        else:
            super().handle_write()
        if self.paused and self.total_outbufs_len <= LOW_WATERMARK:
            self._resume()
        self.dispatcher.update_backpressure(self)

    def _linger(self) -> None:
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len:
            self.close_when_flushed = False
            self.linger_deadline = time.monotonic() + LINGER_TIMEOUT
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.will_close = True
