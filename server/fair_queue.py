"""Fair queuing: one queue for each key, served round robin."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Returns the first item of each key in turn, so that one key's many items do not delay another's.

    With ``max_active``, no more items of one key are out at a time: whoever got one calls ``task_done``.
    A closed queue returns what is left, and then None.
    """

    def __init__(self, max_active: int | None = None):
        self._max_active = max_active
        self._items: dict[str, deque[Item]] = {}
        self._active: Counter[str] = Counter()
        self._length = 0
        self._closed = False
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._waiting = 0  # to notify nobody takes as long as all the rest of put()
        self._wanted = 1  # the length from which on to notify

    def __len__(self) -> int:
        return self._length

    def put(self, key: str, item: Item) -> None:
        """Append an item to its key's queue."""
        with self._lock:
            items = self._items.get(key)
            if items is None:
                items = self._items[key] = deque()
            items.append(item)
            self._length += 1
            if self._waiting and self._length >= self._wanted:
                self._condition.notify()

    def get(self) -> tuple[str, Item] | None:
        """Wait for an item; return its key and the item, or None when the queue is closed and empty."""
        with self._lock:
            while (found := self._pop()) is None and not (self._closed and not self._length):
                self._waiting += 1
                self._condition.wait()
                self._waiting -= 1
            return found

    def wait_for_length(self, length: int, timeout: float) -> bool:
        """Wait until there are ``length`` items, for ``timeout`` seconds at most; return whether there are.

        Only for a queue with one reader.
        """
        with self._lock:
            if self._length < length and not self._closed:
                self._waiting, self._wanted = self._waiting + 1, length
                self._condition.wait(timeout)
                self._waiting, self._wanted = self._waiting - 1, 1
            return self._length >= length

    def get_nowait(self) -> tuple[str, Item] | None:
        """Return a key and its item, or None if there is none to return now."""
        if not self._length:
            return None
        with self._lock:
            return self._pop()

    def task_done(self, key: str) -> None:
        """Count one active item of a key less."""
        with self._lock:
            self._active[key] -= 1
            if not self._active[key]:
                del self._active[key]
            if self._waiting and self._length:  # what this key had too many of
                self._condition.notify()

    def close(self) -> None:
        """Wake the waiting threads when nothing is left."""
        with self._lock:
            self._closed = True
            self._condition.notify_all()

    def _pop(self) -> tuple[str, Item] | None:
        free = (key for key in self._items if self._max_active is None or self._active[key] < self._max_active)
        key = next(free, None)
        if key is None:
            return None
        items = self._items.pop(key)
        item = items.popleft()
        if items:
            self._items[key] = items  # at the end
        self._length -= 1
        if self._max_active is not None:
            self._active[key] += 1
        return key, item
