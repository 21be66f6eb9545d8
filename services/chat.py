"""Chats: the user's message is stored, the model's completion streamed to the client, and stored however it ends.

The steps of a chat, in the order of the methods:

1. ``Chats.start`` acquires a slot. ``Chat.start`` stores the user's message and an empty draft in one
   transaction, and only then sends the prompt to the model.
2. ``Chat.events`` and ``Chat.result`` read the deltas that the thread of ``AsyncRunner`` puts into a queue;
   ``DraftSaver`` saves them every few seconds, in case the process ends.
3. ``Chat._finish`` ends the request to the model and has the draft turned into the assistant's message.
4. ``Chat._store`` waits until that is committed: no client sees the end of a chat that could still be lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import Any

import database
from database import db
from errors import ApiError
from json_values import dump_metadata
from models import Message
from services.chat_slots import ChatSlots
from services.completion import Completion
from services.drafts import DraftSaver
from services.llm import Llm
from services.outgoing import AsyncRunner
from services.prompt import PromptBuilder
from services.retry_queue import PendingWrite, RetryQueue
from services.sse import encode_comment, encode_event
from store import drafts, entries, sessions

# The names of the events that a client is sent.
MESSAGE_EVENT, DELTA_EVENT, ERROR_EVENT, DONE_EVENT = "message", "delta", "error", "done"
# The finish reasons of a completion that the model itself has not finished.
INTERRUPTED, FAILED = "interrupted", "error"

# All in seconds.
POLL_INTERVAL = 0.25  # between two checks whether the client is still connected
KEEP_ALIVE_INTERVAL = 10.0  # without an event, until a comment is sent
STORE_TIMEOUT = 10.0  # of waiting until the completion is stored, if the first attempt fails

KEEP_ALIVE = encode_comment("still there")

BeforeCommit = Callable[[dict[str, Any]], None]


class Chats:
    """Starts chats, and has the services that they use."""

    def __init__(
        self, llm: Llm | None, prompt: PromptBuilder, runner: AsyncRunner, retry_queue: RetryQueue, max_chats: int
    ):
        self.llm, self.prompt, self.runner, self.retry_queue = llm, prompt, runner, retry_queue
        self.slots, self.saver = ChatSlots(max_chats), DraftSaver()

    @property
    def active(self) -> int:
        """The number of chats in progress."""
        return len(self.slots)

    def start(
        self,
        user_id: str,
        session_id: str,
        content: str,
        metadata: str,
        is_disconnected: Callable[[], bool],
        before_commit: BeforeCommit,
    ) -> Chat:
        """Store the user's message, ``metadata`` as JSON text, and start a chat about it.

        ``before_commit`` is called with the message in the transaction that stores it, and
        ``is_disconnected`` every ``POLL_INTERVAL`` in the thread that reads the chat.

        Raises:
            ApiError: ``session_not_found``, ``llm_not_configured``, ``conflict``, ``too_many_streams``.

        """
        sessions.get(user_id, session_id)
        if self.llm is None:
            raise ApiError("llm_not_configured")
        self.slots.acquire(user_id, session_id)
        chat = Chat(self, user_id, session_id, is_disconnected)
        try:
            chat.start(self.llm, content, metadata, before_commit)
        except BaseException:
            chat.close()
            raise
        return chat

    @staticmethod
    def replay(user_id: str, session_id: str, created: dict[str, str]) -> tuple[list[dict[str, Any]], str | None]:
        """Return the messages of a chat that has ended, and the code of the error that it ended with.

        ``created`` is what is stored under the request's key: the ids of the messages, and the code. A
        chat that was interrupted, by its client or by the end of the process, has failed: its code is
        that of an upstream error.

        Raises:
            ApiError: ``session_not_found``, or ``conflict`` if the chat has not ended.

        """
        if not created.keys() & {"answer_id", "error"}:
            sessions.get(user_id, session_id)
            raise ApiError("conflict")
        message_ids = (created[key] for key in ("id", "answer_id") if key in created)
        messages = [entries.get(Message, user_id, session_id, message_id) for message_id in message_ids]
        return messages, created.get("error")


class Chat:
    """A chat in progress, which has a slot. Whoever has created it must close it."""

    def __init__(self, chats: Chats, user_id: str, session_id: str, is_disconnected: Callable[[], bool]):
        self._chats, self._user_id, self.session_id = chats, user_id, session_id
        self._is_disconnected = is_disconnected
        self._queue: SimpleQueue[str | None] = SimpleQueue()  # deltas, and None after the last
        self._request: Future[None] | None = None  # the one to the model
        self._started_at = time.monotonic()
        self._completion = Completion()
        self._content: list[str] = []
        self._stop_reason: str | None = None  # the finish reason if the chat is ended before the model has finished
        self._stored: PendingWrite | None = None  # None until the chat is finished
        self.session_deleted = False
        self.error: str | None = None
        self.messages: list[dict[str, Any]] = []

    def start(self, llm: Llm, content: str, metadata: str, before_commit: BeforeCommit) -> None:
        """Store the user's message, and only then send the prompt to the model."""
        with db.write_transaction():
            message = drafts.start(self._user_id, self.session_id, content, metadata)
            before_commit(message)
        self.messages.append(message)
        self._chats.saver.add(self)
        prompt = self._chats.prompt.build(self._user_id, self.session_id)
        self._completion.model = llm.model
        self._request = self._chats.runner.submit(llm.stream_completion(prompt, self._completion, self._queue.put))
        self._request.add_done_callback(lambda _: self._queue.put(None))

    def events(self) -> Iterator[bytes]:
        """Yield the chat as server-sent events."""
        yield encode_event(MESSAGE_EVENT, self.messages[0])
        sent_at = time.monotonic()
        for deltas in self._deltas():
            if deltas:
                yield b"".join([encode_event(DELTA_EVENT, {"content": delta}) for delta in deltas])
            elif time.monotonic() - sent_at > KEEP_ALIVE_INTERVAL:
                yield KEEP_ALIVE
            else:
                continue
            sent_at = time.monotonic()
        if time.monotonic() - sent_at > KEEP_ALIVE_INTERVAL / 2:
            yield KEEP_ALIVE  # the first attempt to store the completion may take as long again
            sent_at = time.monotonic()
        for _ in self._store():
            if time.monotonic() - sent_at > KEEP_ALIVE_INTERVAL:
                yield KEEP_ALIVE
                sent_at = time.monotonic()
        if self.error:
            yield encode_event(ERROR_EVENT, {"error": self.error})
        else:
            yield encode_event(MESSAGE_EVENT, self.messages[-1]) + encode_event(DONE_EVENT, {})

    def result(self) -> dict[str, Any]:
        """Wait for the end of the chat and return its messages.

        Raises:
            ApiError: the chat has failed; its details are the messages that are stored.

        """
        with closing(self):
            for _ in self._deltas():
                pass
            for _ in self._store():
                pass
        if self.error:
            raise ApiError(self.error, {"messages": self.messages})
        return {"messages": self.messages}

    def _deltas(self) -> Iterator[list[str]]:
        """Yield the deltas as they are queued, all of them at a time, and an empty list if there are none."""
        ended, polled_at = False, 0.0
        while not (ended or self._stop_reason or self.session_deleted):
            queued = self._drain_queue()
            ended = queued[-1:] == [None]
            deltas = [delta for delta in queued if delta]
            self._content += deltas
            yield deltas
            if not ended and time.monotonic() - polled_at > POLL_INTERVAL:
                polled_at = time.monotonic()
                if self._is_disconnected():
                    self._stop_reason = INTERRUPTED

    def _drain_queue(self) -> list[str | None]:
        """Return all that is queued; wait up to ``POLL_INTERVAL`` for the first item."""
        queued: list[str | None] = []
        try:
            queued.append(self._queue.get(timeout=POLL_INTERVAL))
            while True:
                queued.append(self._queue.get_nowait())
        except Empty:
            return queued

    def _finish(self) -> PendingWrite:
        """End the request to the model and have the draft stored as a message; to be called once."""
        if self._request:
            self._request.cancel()
        self._chats.saver.remove(self)
        self.error = self._failure
        duration_ms = round((time.monotonic() - self._started_at) * 1_000)
        self._stored = self._chats.retry_queue.run(lambda: self._finish_draft(duration_ms))
        # Only then: another chat in the session would finish the draft as one that a dead process has left.
        self._stored.add_done_callback(lambda _: self._chats.slots.release(self._user_id, self.session_id))
        return self._stored

    def _finish_draft(self, duration_ms: int) -> dict[str, Any] | None:
        """Turn the draft into the assistant's message and return that, None if there is no text."""
        completion = self._completion
        reason = self._stop_reason or (FAILED if completion.error else completion.finish_reason)
        metadata: dict[str, Any] = {"model": completion.model, "finish_reason": reason}
        metadata |= {"usage": completion.usage} if completion.usage else {}
        metadata |= {"duration_ms": duration_ms}
        content = "".join(self._content)
        with db.write_transaction():
            return drafts.finish(self._user_id, self.session_id, content, dump_metadata(metadata), self._failure)

    def _store(self) -> Iterator[None]:
        """Finish the chat and wait until its message is stored; yield every ``POLL_INTERVAL``.

        After ``STORE_TIMEOUT``, or if the client disconnects, the wait is over: then the chat has failed
        for its client, but the message is stored as soon as the database allows.
        """
        stored = self._finish()
        disconnected, deadline = self._stop_reason is not None, time.monotonic() + STORE_TIMEOUT
        while not (stored.done() or disconnected or time.monotonic() > deadline):
            yield
            wait([stored], POLL_INTERVAL)
            disconnected = self._is_disconnected()
        if not stored.done():
            self.error = stored.last_error
        elif failure := stored.exception():
            self.error = database.error_code(failure)
        elif message := stored.result():
            self.messages.append(message)

    def close(self) -> None:
        """Finish the chat if it is not finished: its client has disconnected, or its start has failed."""
        if self._stored is None and self.messages:
            self._stop_reason = INTERRUPTED
            self._finish()
        elif self._stored is None:
            self._chats.slots.release(self._user_id, self.session_id)

    @property
    def draft(self) -> dict[str, Any]:
        """What ``store.drafts`` saves of the chat so far."""
        return {
            "session_id": self.session_id,
            "question_id": self.messages[0]["id"],
            "content": "".join(self._content),
            "model": self._completion.model,
        }

    @property
    def _failure(self) -> str | None:
        """The code of the error if the completion is not whole."""
        return self._completion.error or ("upstream_error" if self._stop_reason else None)


def replay_events(messages: list[dict[str, Any]], error: str | None) -> Iterator[bytes]:
    """Yield the events of a chat that has ended, from what ``Chats.replay`` returns; all its text is one delta."""
    user_message, *assistant_messages = messages
    yield encode_event(MESSAGE_EVENT, user_message)
    if error:
        for message in assistant_messages:
            yield encode_event(DELTA_EVENT, {"content": message["content"]})
        yield encode_event(ERROR_EVENT, {"error": error})
    else:
        yield encode_event(MESSAGE_EVENT, assistant_messages[0]) + encode_event(DONE_EVENT, {})
