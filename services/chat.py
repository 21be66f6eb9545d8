"""A chat: a question is stored, the model asked, and its answer collected and stored, however the chat ends.

A chat goes on whether or not anybody reads it, and no thread belongs to it. The steps, in the order of the methods:

1. ``start`` stores the question and an empty draft in one transaction, and only then sends the prompt to the model.
2. ``_append`` collects the deltas on the thread of ``AsyncRunner`` and wakes the readers (see ``chat_reader``);
   ``DraftSaver`` saves them every few seconds, in case the process ends.
3. The request to the model ends, by itself or by ``stop``. ``_end`` has the draft turned into the answer.
4. ``_release`` ends the chat when that is committed: no client sees the end of a chat that could still be lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import database
from database import db
from json_values import dump_metadata
from services.completion import Completion
from services.llm import Llm
from services.retry_queue import PendingWrite
from store import drafts
from store.drafts import FAILED, INTERRUPTED, STOPPED, Started

if TYPE_CHECKING:
    from services.chats import Chats

STORE_TIMEOUT = 10.0  # seconds that readers wait until the answer is stored

BeforeCommit = Callable[[dict[str, Any]], None]
Begin = Callable[[str, str], Started]
"""Stores a question of a user's in a session and starts the draft of its answer."""


class Chat:
    """A chat in progress, or one that has ended. ``error`` is the code of the error that it has ended with."""

    def __init__(self, chats: Chats, user_id: str, session_id: str):
        self._chats, self.user_id, self.session_id = chats, user_id, session_id
        self._started: Started
        self.messages: list[dict[str, Any]] = []
        """The question, once it is stored, and the answer likewise."""
        self.deltas: list[str] = []
        """The answer so far; it only grows."""
        self._lock = threading.Lock()
        self._wakeups: tuple[SimpleQueue[None], ...] = ()
        self._request: Future[None] | None = None  # the one to the model
        self._completion = Completion()
        self._started_at = time.monotonic()
        self._stop_reason: str | None = None
        self._ended_at: float | None = None
        self._error: str | None = None
        self._stored: PendingWrite | None = None
        self._released = threading.Event()

    def start(self, llm: Llm, begin: Begin, before_commit: BeforeCommit) -> None:
        """Store the question, and only then send the prompt to the model.

        ``before_commit`` is called with the question in the transaction that stores it.
        """
        with db.write_transaction():
            self._started = begin(self.user_id, self.session_id)
            before_commit(self._started.question)
        self.messages = [self._started.question]
        self._chats.saver.add(self)
        prompt = self._chats.prompt.build(self.user_id, self.session_id, without=self._started.replaced_id)
        self._completion.model = llm.model
        with self._lock:
            if self._stop_reason is None:
                completion = llm.stream_completion(prompt, self._completion, self._append)
                self._request = self._chats.runner.submit(completion)
        if self._request:
            self._request.add_done_callback(self._end)
        else:
            self._end()

    def abort(self) -> None:
        """End a chat whose start has failed."""
        if self.messages:
            self._end()
        else:
            self._chats.remove(self)

    def _append(self, delta: str) -> None:
        with self._lock:
            if self._ended_at is not None:
                return
            self.deltas.append(delta)
        self._wake()

    def stop(self, reason: str = STOPPED) -> None:
        """End the request to the model; the answer gets this finish reason, unless it is complete."""
        with self._lock:
            self._stop_reason = self._stop_reason or reason
            request = self._request
        if request:
            request.cancel()

    def _end(self, request: Future[None] | None = None) -> None:
        """Have the draft turned into the answer; called once, when the request has ended, or none will be sent."""
        with self._lock:
            self._ended_at = time.monotonic()
        completion = self._completion
        if request is None or request.cancelled():
            reason: str | None = self._stop_reason or INTERRUPTED
            self._error = None if reason == STOPPED else "upstream_error"
        else:
            reason = FAILED if completion.error else completion.finish_reason
            self._error = completion.error
        metadata: dict[str, Any] = {"model": completion.model, "finish_reason": reason}
        metadata |= {"usage": completion.usage} if completion.usage else {}
        metadata |= {"duration_ms": round((self._ended_at - self._started_at) * 1_000)}
        self._chats.saver.remove(self)
        self._stored = self._chats.retry_queue.submit(lambda: self._finish_draft(dump_metadata(metadata)))
        self._stored.add_done_callback(self._release)

    def _finish_draft(self, metadata: str) -> dict[str, Any] | None:
        """Turn the draft into the answer and return that, None if there is no text."""
        with db.write_transaction():
            content = "".join(self.deltas)
            return drafts.finish(self.user_id, self.session_id, self._started, content, metadata, self._error)

    def _release(self, stored: Future[Any]) -> None:
        """End the chat: its answer is stored, or cannot be."""
        if failure := stored.exception():
            self._error = database.error_code(failure)
        elif answer := stored.result():
            self.messages = [*self.messages, answer]
        self._chats.remove(self)  # not before: the draft keeps others from starting a chat in the session
        self._released.set()
        self._wake()

    # For readers ----------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the answer is stored, or its readers have waited for that long enough."""
        waited = self._ended_at is not None and time.monotonic() - self._ended_at > STORE_TIMEOUT
        return waited or self._released.is_set()

    @property
    def error(self) -> str | None:
        """The code of the error that the chat has ended with. An answer may be stored even after it was an error."""
        if self._released.is_set():
            return self._error
        return (self._stored and self._stored.last_error) or "database_busy"

    def wait(self, timeout: float) -> None:
        """Wait until the answer is stored, at most for some seconds."""
        self._released.wait(timeout)

    def add_reader(self, wakeups: SimpleQueue[None]) -> None:
        """Put an item into a queue, if it is empty, whenever there may be something new to read."""
        with self._lock:
            self._wakeups = (*self._wakeups, wakeups)

    def refresh(self) -> None:
        """Do nothing: readers are woken."""

    def remove_reader(self, wakeups: SimpleQueue[None]) -> None:
        """Forget a queue."""
        with self._lock:
            self._wakeups = tuple(each for each in self._wakeups if each is not wakeups)

    def _wake(self) -> None:
        for wakeups in self._wakeups:
            if wakeups.empty():
                wakeups.put(None)

    # For the saver --------------------------------------------------------------------------

    @property
    def draft(self) -> dict[str, Any]:
        """What ``store.drafts`` saves of the chat so far."""
        return {
            "user_id": self.user_id,
            "session_id": self.session_id,
            "answer_id": self._started.answer_id,
            "content": "".join(self.deltas),
            "model": self._completion.model,
        }
