"""A queue in which everyone has a line of their own."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Gives each line's first item in turn, so that a long line keeps no other waiting.

    With a ``share``, no more items of a line are out at a time: who has got one says when it is
    done. Once closed, it gives what is left and then None.
    """

    def __init__(self, share: int | None = None):
        self._share = share
        self._lines: dict[str, deque[Item]] = {}
        self._out: Counter[str] = Counter()
        self._length = 0
        self._closed = False
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._waiting = 0  # notifying nobody takes as long as all the rest
        self._wanted = 1  # do not wake those who wait before there are so many

    def __len__(self) -> int:
        return self._length

    def put(self, key: str, item: Item) -> None:
        """Append an item to a line."""
        with self._lock:
            line = self._lines.get(key)
            if line is None:
                line = self._lines[key] = deque()
            line.append(item)
            self._length += 1
            if self._waiting and self._length >= self._wanted:
                self._condition.notify()

    def get(self) -> tuple[str, Item] | None:
        """Wait for an item; return it with its line, or None when the queue is closed and empty."""
        with self._lock:
            while (found := self._take()) is None and not (self._closed and not self._length):
                self._waiting += 1
                self._condition.wait()
                self._waiting -= 1
            return found

    def wait_for_length(self, length: int, timeout: float) -> None:
        """Wait until there are ``length`` items, for ``timeout`` seconds at most; for a queue with one reader."""
        with self._lock:
            if self._length < length and not self._closed:
                self._waiting, self._wanted = self._waiting + 1, length
                self._condition.wait(timeout)
                self._waiting, self._wanted = self._waiting - 1, 1

    def get_nowait(self) -> tuple[str, Item] | None:
        """Return an item with its line, None where there is none."""
        if not self._length:
            return None
        with self._lock:
            return self._take()

    def done(self, key: str) -> None:
        """Let another item of a line out."""
        with self._lock:
            self._out[key] -= 1
            if not self._out[key]:
                del self._out[key]
            self._condition.notify()

    def close(self) -> None:
        """Let those who wait go, when there is nothing left."""
        with self._lock:
            self._closed = True
            self._condition.notify_all()

    def _take(self) -> tuple[str, Item] | None:
        free = (key for key in self._lines if self._share is None or self._out[key] < self._share)
        key = next(free, None)
        if key is None:
            return None
        line = self._lines.pop(key)
        item = line.popleft()
        if line:
            self._lines[key] = line  # at the end
        self._length -= 1
        if self._share is not None:
            self._out[key] += 1
        return key, item
