"""A chat: the user's message is stored, a model asked, its answer passed on as it comes, and stored however it ends."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import Any

import orjson

import database
from database import db
from errors import ApiError
from json_values import dump_metadata
from models import Message
from services.drafts import DraftSaver
from services.llm import Completion, Llm
from services.outgoing import AsyncRunner
from services.pending import PendingWrite, PendingWrites
from services.prompt import PromptBuilder
from store import drafts, entries, sessions

MAX_CHATS_PER_USER = 3
LOOK_SECONDS = 0.25  # how often a chat looks whether its client is still there
KEEP_ALIVE_SECONDS = 10.0
STORE_SECONDS = 10.0  # how long the end of an answer is kept back until it is stored, where the first try fails
COMMENT = b": still there\n\n"


BeforeCommit = Callable[[dict[str, Any]], None]


class ChatSlots:
    """Where chats are under way: one in a session, a few of a user, so many in all."""

    def __init__(self, most: int):
        self._most = most
        self._lock = threading.Lock()
        self._sessions: set[str] = set()
        self._of_user: Counter[str] = Counter()

    def acquire(self, user_id: str, session_id: str) -> None:
        """Take a place, or raise ``conflict`` or ``too_many_streams``."""
        with self._lock:
            if session_id in self._sessions:
                raise ApiError("conflict")
            if len(self._sessions) >= self._most or self._of_user[user_id] >= MAX_CHATS_PER_USER:
                raise ApiError("too_many_streams")
            self._sessions.add(session_id)
            self._of_user[user_id] += 1

    def __len__(self) -> int:
        return len(self._sessions)

    def release(self, user_id: str, session_id: str) -> None:
        """Give a place back."""
        with self._lock:
            self._sessions.remove(session_id)
            self._of_user[user_id] -= 1
            self._of_user += Counter()  # drops who has none


class Chat:
    """One answer on its way. Who has begun one must close it."""

    def __init__(
        self,
        slots: ChatSlots,
        saver: DraftSaver,
        pending: PendingWrites,
        user_id: str,
        session_id: str,
        is_disconnected: Callable[[], bool],
    ):
        slots.acquire(user_id, session_id)
        self._slots, self._saver, self._pending = slots, saver, pending
        self._user_id, self.session_id = user_id, session_id
        self._is_disconnected = is_disconnected
        self._incoming: SimpleQueue[str | None] = SimpleQueue()
        self._call: Future[None] | None = None
        self._began = time.monotonic()
        self._completion = Completion()
        self._pieces: list[str] = []
        self._interrupted = False
        self._stored: PendingWrite | None = None  # None until the chat ends
        self.session_deleted = False
        self.error: str | None = None
        self.messages: list[dict[str, Any]] = []

    def start(
        self,
        content: str,
        metadata: str,
        before_commit: BeforeCommit,
        prompt: PromptBuilder,
        llm: Llm,
        runner: AsyncRunner,
    ) -> None:
        """Store the user's message, and only then ask the model."""
        with db.write_transaction():
            message = drafts.start(self._user_id, self.session_id, content, metadata)
            before_commit(message)
        self.messages.append(message)
        self._saver.add(self)
        prompt_messages = prompt.build(self._user_id, self.session_id)
        self._completion.model = llm.model
        self._call = runner.submit(llm.stream_completion(prompt_messages, self._completion, self._incoming.put))
        self._call.add_done_callback(lambda _: self._incoming.put(None))

    def events(self) -> Iterator[bytes]:
        """Yield the chat as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
        yield _event("message", self.messages[0])
        spoke = time.monotonic()
        for texts in self._deltas():
            if texts:
                yield b"".join([_event("delta", {"content": text}) for text in texts])
            elif time.monotonic() - spoke > KEEP_ALIVE_SECONDS:
                yield COMMENT
            else:
                continue
            spoke = time.monotonic()
        if time.monotonic() - spoke > KEEP_ALIVE_SECONDS / 2:
            yield COMMENT  # the first try to store the answer may take as long again
            spoke = time.monotonic()
        for _ in self._store():
            if time.monotonic() - spoke > KEEP_ALIVE_SECONDS:
                yield COMMENT
                spoke = time.monotonic()
        if self.error:
            yield _event("error", {"error": self.error})
        else:
            yield _event("message", self.messages[-1]) + _event("done", {})

    def result(self) -> dict[str, Any]:
        """Await the answer and return both messages, or raise what went wrong with what there is of them."""
        with closing(self):
            for _ in self._deltas():
                pass
            for _ in self._store():
                pass
        if self.error:
            raise ApiError(self.error, {"messages": self.messages})
        return {"messages": self.messages}

    def close(self) -> None:
        """End the chat, if it has not ended: then its client has left, or it has not even begun."""
        if self._stored is None and self.messages:
            self._interrupted = True
            self._end()
        elif self._stored is None:
            self._slots.release(self._user_id, self.session_id)

    def _deltas(self) -> Iterator[list[str]]:
        """Yield what has come, several pieces where they are there, and now and then none."""
        ended, looked = False, 0.0
        while not (ended or self._interrupted or self.session_deleted):
            taken = self._take()
            ended = taken[-1:] == [None]
            pieces = [piece for piece in taken if piece]
            self._pieces += pieces
            yield pieces
            if not ended and time.monotonic() - looked > LOOK_SECONDS:
                self._interrupted, looked = self._is_disconnected(), time.monotonic()

    def _take(self) -> list[str | None]:
        taken: list[str | None] = []
        try:
            taken.append(self._incoming.get(timeout=LOOK_SECONDS))
            while True:
                taken.append(self._incoming.get_nowait())
        except Empty:
            return taken

    @property
    def draft(self) -> dict[str, Any]:
        """What there is of the answer."""
        content = "".join(self._pieces)
        question_id = self.messages[0]["id"]
        return {
            "session_id": self.session_id,
            "question_id": question_id,
            "content": content,
            "model": self._completion.model,
        }

    def _store(self) -> Iterator[None]:
        """End the chat and await that its answer is stored, for a while: yield now and then until it is.

        One that is not stored by then is told to be an error. It will be stored as soon as it can be.
        """
        stored = self._end()
        gone, deadline = self._interrupted, time.monotonic() + STORE_SECONDS
        while not (stored.done() or gone or time.monotonic() > deadline):
            yield
            wait([stored], LOOK_SECONDS)
            gone = self._is_disconnected()
        if not stored.done():
            self.error = stored.waits_for
        elif failure := stored.exception():
            self.error = database.error_code(failure)
        elif answer := stored.result():
            self.messages.append(answer)

    def _end(self) -> PendingWrite:
        """Let go of the model, and make a message of what has come; to be called once."""
        if self._call:
            self._call.cancel()
        self._saver.remove(self)
        self.error = self._failure
        duration_ms = round((time.monotonic() - self._began) * 1_000)
        self._stored = self._pending.run(lambda: self._finish_draft(duration_ms))
        # Before that no other chat may begin here: it would take the draft for one that was left.
        self._stored.add_done_callback(lambda _: self._slots.release(self._user_id, self.session_id))
        return self._stored

    def _finish_draft(self, duration_ms: int) -> dict[str, Any] | None:
        """Make the draft a message and return that, None where there is no text."""
        completion = self._completion
        reason = "interrupted" if self._interrupted else "error" if completion.error else completion.finish_reason
        metadata: dict[str, Any] = {"model": completion.model, "finish_reason": reason}
        metadata |= {"usage": completion.usage} if completion.usage else {}
        metadata |= {"duration_ms": duration_ms}
        content = "".join(self._pieces)
        with db.write_transaction():
            return drafts.finish(self._user_id, self.session_id, content, dump_metadata(metadata), self._failure)

    @property
    def _failure(self) -> str | None:
        """The code of why the answer did not come to its end, None if it did."""
        return self._completion.error or ("upstream_error" if self._interrupted else None)


class Chats:
    """Begins chats, with all that they need."""

    def __init__(self, llm: Llm | None, prompt: PromptBuilder, runner: AsyncRunner, pending: PendingWrites, most: int):
        self._llm, self._prompt, self._runner, self._pending = llm, prompt, runner, pending
        self._slots, self._saver = ChatSlots(most), DraftSaver()

    @property
    def active(self) -> int:
        """How many chats there are."""
        return len(self._slots)

    def start(
        self,
        user_id: str,
        session_id: str,
        content: str,
        metadata: str,
        is_disconnected: Callable[[], bool],
        before_commit: BeforeCommit,
    ) -> Chat:
        """Store the user's message and start a chat about it.

        ``before_commit`` gets the message in the transaction that stores it.

        Raises:
            ApiError: ``session_not_found``, ``llm_not_configured``, ``conflict``, ``too_many_streams``.

        """
        sessions.get(user_id, session_id)
        if self._llm is None:
            raise ApiError("llm_not_configured")
        chat = Chat(self._slots, self._saver, self._pending, user_id, session_id, is_disconnected)
        try:
            chat.start(content, metadata, before_commit, self._prompt, self._llm, self._runner)
        except BaseException:
            chat.close()
            raise
        return chat

    @staticmethod
    def replay(user_id: str, session_id: str, made: dict[str, str]) -> tuple[list[dict[str, Any]], str | None]:
        """Return a question that was asked before, its answer, if it got one, and the code that it ended with.

        ``made`` has their ids, and the code. One that was interrupted, by its client or by the end of
        the process, has not come to its end: that of an upstream error.

        Raises:
            ApiError: ``session_not_found``, or ``conflict`` where the answer is still to come.

        """
        if not made.keys() & {"answer_id", "error"}:
            sessions.get(user_id, session_id)
            raise ApiError("conflict")
        ids = (made[key] for key in ("id", "answer_id") if key in made)
        return [entries.get(Message, user_id, session_id, message_id) for message_id in ids], made.get("error")


def replayed_events(messages: list[dict[str, Any]], error: str | None) -> Iterator[bytes]:
    """Yield what is stored of a chat as the events that end one."""
    question, *answer = messages
    yield _event("message", question)
    if error:
        for each in answer:
            yield _event("delta", {"content": each["content"]})
        yield _event("error", {"error": error})
    else:
        yield _event("message", answer[0]) + _event("done", {})


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))
