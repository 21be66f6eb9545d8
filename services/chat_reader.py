"""Readers of a chat: each has a position of its own, and a chat has as many as want to read it.

A reader that does not read holds nobody up and costs a position: the text is the chat's. One that leaves ends
nothing but itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from database import db
from errors import ApiError
from services.sse import encode_comment, encode_event

# The names of the events that a client is sent.
MESSAGE_EVENT, DELTA_EVENT, ERROR_EVENT, DONE_EVENT = "message", "delta", "error", "done"

# Both in seconds.
POLL_INTERVAL = 0.25  # between two checks whether the client is still connected
KEEP_ALIVE_INTERVAL = 10.0  # without an event, until a comment is sent

# A reader that has missed more deltas than this gets them as one.
MAX_SEPARATE_DELTAS = 64

KEEP_ALIVE = encode_comment("still there")


class ReadableChat(Protocol):
    """What a reader needs of a chat, whatever process that runs in."""

    messages: list[dict[str, Any]]
    """The question; and the answer, if there is one, once the chat is over."""
    deltas: list[str]
    """The answer so far; it only grows."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""

    @property
    def error(self) -> str | None:
        """The code of the error that the chat has ended with."""

    def add_reader(self, wakeups: SimpleQueue[None]) -> None:
        """Put an item into a queue, if it is empty, whenever there may be something new to read."""

    def remove_reader(self, wakeups: SimpleQueue[None]) -> None:
        """Forget a queue."""

    def refresh(self) -> None:
        """Look for something new, if the chat has to be asked; called every ``POLL_INTERVAL``."""


class ChatReader:
    """A client's way through a chat. Whoever has it must close it."""

    def __init__(
        self,
        chat: ReadableChat,
        is_disconnected: Callable[[], bool],
        is_late: bool = False,
        on_close: Callable[[], None] = lambda: None,
    ):
        """Begin to read a chat.

        Args:
            chat: what is read.
            is_disconnected: whether the client is gone; called every ``POLL_INTERVAL`` in the reading thread.
            is_late: whether to begin with all the text so far, as one delta.
            on_close: called once.

        Raises:
            NotFound: ``chat_not_found``, if the chat runs in another process and has ended.

        """
        self._chat, self._is_disconnected, self._is_late, self._on_close = chat, is_disconnected, is_late, on_close
        self._position = 0  # of the next delta
        self._has_left = self._is_closed = False
        self._wakeups: SimpleQueue[None] = SimpleQueue()  # empty, or one item
        chat.add_reader(self._wakeups)

    def events(self) -> Iterator[bytes]:
        """Yield the chat as server-sent events."""
        yield encode_event(MESSAGE_EVENT, self._chat.messages[0])
        sent_at = time.monotonic()
        for _ in self._until_over():
            if events := self._new_deltas():
                yield events
            elif time.monotonic() - sent_at > KEEP_ALIVE_INTERVAL:
                yield KEEP_ALIVE
            else:
                continue
            sent_at = time.monotonic()
        if not self._has_left:
            error = self._chat.error  # before its messages: they are complete if there is none
            yield self._new_deltas() + _end_events(self._chat.messages[1:], error)

    def result(self) -> dict[str, Any]:
        """Wait for the end of the chat and return its messages.

        Raises:
            ApiError: the chat has failed, its details are the messages that are stored; or the client is gone.

        """
        with closing(self):
            for _ in self._until_over():
                pass
        error = "upstream_error" if self._has_left else self._chat.error
        return messages_or_error(self._chat.messages, error)

    def _until_over(self) -> Iterator[None]:
        """Yield whenever there may be something new, and every ``POLL_INTERVAL``, until the chat or the client ends."""
        polled_at = time.monotonic()
        while not self._chat.is_over:
            yield
            db.release_connection()
            with suppress(Empty):
                self._wakeups.get(timeout=POLL_INTERVAL)
            if time.monotonic() - polled_at >= POLL_INTERVAL:
                polled_at = time.monotonic()
                if self._is_disconnected():
                    self._has_left = True
                    return
                self._chat.refresh()

    def _new_deltas(self) -> bytes:
        """Return the events of the deltas since the last call, and move on."""
        deltas = self._chat.deltas[self._position :]
        self._position += len(deltas)
        if deltas and (self._is_late or len(deltas) > MAX_SEPARATE_DELTAS):
            deltas, self._is_late = ["".join(deltas)], False
        return b"".join([encode_event(DELTA_EVENT, {"content": delta}) for delta in deltas])

    def close(self) -> None:
        """Stop reading."""
        if not self._is_closed:
            self._is_closed = True
            self._chat.remove_reader(self._wakeups)
            self._on_close()


def replay_events(messages: list[dict[str, Any]], error: str | None) -> Iterator[bytes]:
    """Yield the events of a chat that has ended, from what ``Chats.replay`` returns; all its text is one delta."""
    question, *answers = messages
    yield encode_event(MESSAGE_EVENT, question)
    for answer in answers if error else ():
        yield encode_event(DELTA_EVENT, {"content": answer["content"]})
    yield _end_events(answers, error)


def messages_or_error(messages: list[dict[str, Any]], error: str | None) -> dict[str, Any]:
    """Return the messages of a chat that has ended, in the form of JSON.

    Raises:
        ApiError: the one that the chat has ended with; its details are the messages.

    """
    if error:
        raise ApiError(error, {"messages": messages})
    return {"messages": messages}


def _end_events(answers: list[dict[str, Any]], error: str | None) -> bytes:
    """Return the last events: of a chat that has failed, or of one with an answer, or with none if it was stopped."""
    if error:
        return encode_event(ERROR_EVENT, {"error": error})
    events = [encode_event(MESSAGE_EVENT, answer) for answer in answers]
    return b"".join([*events, encode_event(DONE_EVENT, {})])
