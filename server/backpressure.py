"""Backpressure: how many response bytes are buffered for each user, since they are memory of ours."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.channel import Channel

# While more is buffered for a user's clients, the user's next read waits.
MAX_BUFFERED_BYTES = 16_777_216
# What a deferred response holds besides: the pages that are read from the database already.
DEFERRED_BYTES = 1_048_576


class Backpressure:
    """Counts the bytes that are buffered for each user, and the channels whose requests wait for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes: Counter[str] = Counter()
        self._held: dict[str, list[Channel]] = {}

    def hold(self, channel: Channel) -> bool:
        """Hold a channel's request back if too much is buffered for its user; return whether that is so."""
        if self._bytes[channel.client_key] <= MAX_BUFFERED_BYTES:
            return False
        with self._lock:
            if self._bytes[channel.client_key] <= MAX_BUFFERED_BYTES:
                return False
            self._held.setdefault(channel.client_key, []).append(channel)
            return True

    def update(self, channel: Channel) -> list[Channel]:
        """Record how much is buffered for a channel's client; return the channels that need not be held any longer."""
        if not (channel.total_outbufs_len or channel.deferred or channel.buffered[1]):
            return []
        with self._lock:
            key, before = channel.buffered
            size = (channel.total_outbufs_len + DEFERRED_BYTES * bool(channel.deferred)) if channel.connected else 0
            channel.buffered = channel.client_key, size
            self._bytes[key] -= before
            self._bytes[channel.client_key] += size
            released: list[Channel] = []
            for each in {key, channel.client_key}:
                if self._bytes[each] <= MAX_BUFFERED_BYTES:
                    # The newest first: its client is the likeliest to be connected still.
                    released += reversed(self._held.pop(each, []))
                if not self._bytes[each]:
                    del self._bytes[each]
            return released

    def is_blocking(self, channel: Channel) -> bool:
        """Return whether requests are held until this channel's client has read more."""
        return channel.buffered[0] in self._held
