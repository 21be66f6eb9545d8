"""A chat that runs in another process, read and stopped through the row of its draft.

The other process saves the draft every two seconds, so that is how far a reader of it may be behind, and how long
a stop may take. Nothing is held while it waits: each look is a short statement on a connection of the pool's.
"""

from __future__ import annotations

import logging
import time
from queue import SimpleQueue
from typing import Any

import orjson

import database
from database import db
from errors import ApiError, NotFound
from models import Message
from services.ended_chat import get_ended_chat
from services.retry_queue import TRANSIENT_ERRORS
from store import drafts, entries, idempotency, shared_drafts
from store.shared_drafts import SharedDraft

REFRESH_INTERVAL = 0.5  # seconds between two looks; each takes about 0.3 ms of this process
OUTAGE_TIMEOUT = 10.0  # seconds that a reader waits for a database that cannot be read

log = logging.getLogger("parley")


class RemoteChat:
    """A chat in progress in another process, as one reader or one request to stop it sees it."""

    def __init__(self, draft: SharedDraft):
        self._draft = draft
        self.messages: list[dict[str, Any]] = []
        self.deltas: list[str] = []
        self.is_over = False
        self.error: str | None = None
        self._length = 0  # of the deltas together
        self._key = ""  # under which the outcome will be stored
        self._read_at = time.monotonic()
        self._looked_at = self._read_at

    def add_reader(self, wakeups: SimpleQueue[None]) -> None:
        """Read what there is, and have the outcome stored for later; the queue is not used.

        Raises:
            NotFound: ``chat_not_found`` if the chat has ended.

        """
        with db.write_transaction():
            self._key = shared_drafts.follow(self._draft)
        draft = self._draft
        self.messages = [entries.get(Message, draft.user_id, draft.session_id, draft.question_id)]
        self._read()

    def remove_reader(self, wakeups: SimpleQueue[None]) -> None:
        """Do nothing: there is nobody to be forgotten."""

    def refresh(self) -> None:
        """Read what is new, every ``REFRESH_INTERVAL``. A failing database ends this reader after a while."""
        if time.monotonic() - self._looked_at < REFRESH_INTERVAL:
            return
        self._looked_at = time.monotonic()
        try:
            db.ensure_connection()
            if not self._read():
                self._end()
        except NotFound as error:  # the session has been deleted
            self.error, self.is_over = error.code, True
        except (ApiError, *db.errors) as error:
            code = database.error_code(error)
            if code not in TRANSIENT_ERRORS or time.monotonic() - self._read_at > OUTAGE_TIMEOUT:
                log.warning("a chat in another process cannot be read: %s", error)
                self.error, self.is_over = code, True

    def stop(self) -> None:
        """Ask the other process to end the request to the model."""
        with db.write_transaction():
            shared_drafts.request_stop(self._draft)

    def wait(self, timeout: float) -> None:
        """Wait until the answer is stored, at most for some seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            time.sleep(REFRESH_INTERVAL / 2)
            db.ensure_connection()
            if not self._read():
                break
            db.release_connection()

    def _read(self) -> bool:
        """Read what has been added; return whether the draft is still there.

        If its process has ended, or is too slow to save it, it is finished as interrupted.
        """
        draft = self._draft
        found = shared_drafts.read(draft, self._length)
        if found and found.is_stale:
            drafts.finish_if_stale(draft.user_id, draft.session_id)
            found = shared_drafts.read(draft, self._length)
        self._read_at = time.monotonic()
        if found is None:
            return False
        self._append(found.text)
        return True

    def _end(self) -> None:
        """Read the outcome, and the rest of the text."""
        draft = self._draft
        created = orjson.loads(idempotency.find(draft.user_id, self._key, "") or "{}")
        self.messages, self.error = get_ended_chat(draft.user_id, draft.session_id, created)
        for answer in self.messages[1:]:
            if answer["content"].startswith("".join(self.deltas)):
                self._append(answer["content"][self._length :])
        self.is_over = True

    def _append(self, text: str) -> None:
        if text:
            self._length += len(text)
            self.deltas.append(text)
