"""The limit on concurrent chats: one in a session, a few of a user, a number in all."""

from __future__ import annotations

import threading
from collections import Counter

from errors import ApiError

MAX_CHATS_PER_USER = 3


class ChatSlots:
    """The slots of the chats in progress. Whoever has acquired one must release it."""

    def __init__(self, max_chats: int):
        self._max_chats = max_chats
        self._lock = threading.Lock()
        self._sessions: set[str] = set()
        self._chats_by_user: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of slots in use."""
        return len(self._sessions)

    def acquire(self, user_id: str, session_id: str) -> None:
        """Take a slot for a chat of a user in a session.

        Raises:
            ApiError: ``conflict`` if there is a chat in the session, ``too_many_streams`` if the user or
                the service has as many as allowed.

        """
        with self._lock:
            if session_id in self._sessions:
                raise ApiError("conflict")
            if len(self._sessions) >= self._max_chats or self._chats_by_user[user_id] >= MAX_CHATS_PER_USER:
                raise ApiError("too_many_streams")
            self._sessions.add(session_id)
            self._chats_by_user[user_id] += 1

    def release(self, user_id: str, session_id: str) -> None:
        """Return the slot."""
        with self._lock:
            self._sessions.remove(session_id)
            self._chats_by_user[user_id] -= 1
            self._chats_by_user += Counter()  # drops the users that have none
