"""The chats in progress, by their sessions: start, attach to, stop; and the limits on them and their readers.

There is one chat at a time in each session, and a few of each user, over all processes: ``store.drafts`` sees to that.
How many there are in all, and how many readers, is limited in each process, for the sake of its threads.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

from database import db
from errors import ApiError, NotFound
from services.chat import BeforeCommit, Chat
from services.chat_reader import ChatReader
from services.drafts import DraftSaver
from services.llm import Llm
from services.outgoing import AsyncRunner
from services.prompt import PromptBuilder
from services.remote_chat import RemoteChat
from services.retry_queue import RetryQueue
from store import drafts, sessions, shared_drafts

# Readers that are attached hold a thread each. There may be as many in all as chats, and of one user this many: a
# person has a few tabs open.
MAX_ATTACHED_PER_USER = 8
STOP_TIMEOUT = 5.0  # seconds that a stop waits until the answer is stored


class Chats:
    """The chats in progress in this process, and the services that they use."""

    def __init__(
        self, llm: Llm | None, prompt: PromptBuilder, runner: AsyncRunner, retry_queue: RetryQueue, max_chats: int
    ):
        self.llm, self.prompt, self.runner, self.retry_queue = llm, prompt, runner, retry_queue
        self.saver = DraftSaver()
        self._max_chats = max_chats
        self._lock = threading.Lock()
        self._chats: dict[str, Chat] = {}
        self._attached: Counter[str] = Counter()  # readers by user

    @property
    def active(self) -> int:
        """The number of chats in progress."""
        return len(self._chats)

    def start(
        self,
        user_id: str,
        session_id: str,
        content: str | None,
        metadata: str,
        is_disconnected: Callable[[], bool],
        before_commit: BeforeCommit,
    ) -> ChatReader:
        """Store the user's message, ``metadata`` as JSON text, start a chat about it and return its first reader.

        Without ``content`` the newest question is asked again. ``before_commit`` is called with the question in the
        transaction that stores it.

        Raises:
            ApiError: ``session_not_found``, ``llm_not_configured``, ``too_many_streams``, ``conflict``.

        """
        sessions.get(user_id, session_id)
        if self.llm is None:
            raise ApiError("llm_not_configured")
        begin = drafts.restart if content is None else partial(drafts.start, content=content, metadata=metadata)
        chat = self._add(user_id, session_id)
        reader = ChatReader(chat, is_disconnected)
        try:
            chat.start(self.llm, begin, before_commit)
        except BaseException:
            chat.abort()
            raise
        return reader

    def _add(self, user_id: str, session_id: str) -> Chat:
        """Add a new chat, which is yet to be started.

        Raises:
            ApiError: ``conflict`` if there is a chat in the session, ``too_many_streams`` if there are as many as
                allowed.

        """
        with self._lock:
            if session_id in self._chats:
                raise ApiError("conflict")
            if len(self._chats) >= self._max_chats:
                raise ApiError("too_many_streams")
            chat = self._chats[session_id] = Chat(self, user_id, session_id)
            return chat

    def remove(self, chat: Chat) -> None:
        """Remove a chat that has ended."""
        with self._lock:
            del self._chats[chat.session_id]

    def get(self, user_id: str, session_id: str) -> Chat | RemoteChat:
        """Return the chat in progress in a session, in whatever process it runs.

        Raises:
            NotFound: ``session_not_found``, or ``chat_not_found`` if there is none.

        """
        sessions.get(user_id, session_id)
        chat = self._chats.get(session_id)
        if chat is None:
            return RemoteChat(shared_drafts.find(user_id, session_id))
        if not chat.messages:  # not before its question is stored
            raise NotFound("chat")
        return chat

    def is_active(self, session_id: str) -> bool:
        """Return whether there is a chat in progress in a session, in whatever process it runs."""
        return session_id in self._chats or (db.is_shared and shared_drafts.is_in_progress(session_id))

    def attach(self, user_id: str, session_id: str, is_disconnected: Callable[[], bool]) -> ChatReader:
        """Return another reader of the chat in progress in a session.

        Raises:
            ApiError: as of ``get``; ``too_many_streams`` if the user or the service has as many as allowed.

        """
        chat = self.get(user_id, session_id)
        with self._lock:
            if self._attached.total() >= self._max_chats or self._attached[user_id] >= MAX_ATTACHED_PER_USER:
                raise ApiError("too_many_streams")
            self._attached[user_id] += 1
        detach = partial(self._detach, user_id)
        try:
            return ChatReader(chat, is_disconnected, is_late=True, on_close=detach)
        except BaseException:
            detach()
            raise

    def _detach(self, user_id: str) -> None:
        with self._lock:
            self._attached[user_id] -= 1
            self._attached += Counter()  # drops the users that have none

    def stop(self, user_id: str, session_id: str) -> None:
        """Stop the chat in progress in a session, and wait until what has come is stored, ``STOP_TIMEOUT`` at most.

        Raises:
            NotFound: as of ``get``.

        """
        chat = self.get(user_id, session_id)
        chat.stop()
        db.release_connection()
        chat.wait(STOP_TIMEOUT)

    def close(self) -> None:
        """Interrupt all chats: the process ends. The retry queue stores what has come of them."""
        for chat in list(self._chats.values()):
            chat.stop(drafts.INTERRUPTED)
