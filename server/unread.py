"""How much of their answers clients have yet to take, by user: it is memory of ours."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.channel import Channel

# Where a user's clients have left this much, the next request waits until they have taken some.
MAX_UNREAD_BYTES = 16_777_216
# What an answer that comes in parts holds besides: the pages that are read already.
STREAM_BYTES = 1_048_576


class Unread:
    """Keeps account of the answers that are not taken, and of the requests that wait for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes: Counter[str] = Counter()
        self._waiting: dict[str, list[Channel]] = {}

    def wait(self, channel: Channel) -> bool:
        """Have a channel wait if its user's clients leave too much unread; return whether it does."""
        if self._bytes[channel.key] <= MAX_UNREAD_BYTES:
            return False
        with self._lock:
            if self._bytes[channel.key] <= MAX_UNREAD_BYTES:
                return False
            self._waiting.setdefault(channel.key, []).append(channel)
            return True

    def account(self, channel: Channel) -> list[Channel]:
        """Note what a channel's client has yet to take; return the channels that need wait no longer."""
        if not (channel.total_outbufs_len or channel.task or channel.owed[1]):
            return []
        with self._lock:
            key, before = channel.owed
            size = (channel.total_outbufs_len + STREAM_BYTES * bool(channel.task)) if channel.connected else 0
            channel.owed = channel.key, size
            self._bytes[key] -= before
            self._bytes[channel.key] += size
            released: list[Channel] = []
            for each in {key, channel.key}:
                if self._bytes[each] <= MAX_UNREAD_BYTES:
                    # The newest first: its client is the likeliest to be there still.
                    released += reversed(self._waiting.pop(each, []))
                if not self._bytes[each]:
                    del self._bytes[each]
            return released

    def is_pressed(self, channel: Channel) -> bool:
        """Return whether others wait for what this channel's client has yet to take."""
        return channel.owed[0] in self._waiting
