"""Saves the completions of the chats in progress every few seconds, in case the process ends."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import peewee

from database import db
from errors import ApiError
from store import drafts as stored_drafts

if TYPE_CHECKING:
    from services.chat import Chat

SAVE_INTERVAL = 2.0  # seconds of a completion that a sudden end of the process may cost

log = logging.getLogger("parley")


class DraftSaver:
    """Saves the drafts of all chats in one transaction; when each chat saved its own, other chats' deltas were late.

    Its thread runs while there are chats.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chats: set[Chat] = set()
        self._thread: threading.Thread | None = None

    def add(self, chat: Chat) -> None:
        """Save the draft of a chat from now on."""
        with self._lock:
            self._chats.add(chat)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="drafts", daemon=True)
                self._thread.start()

    def remove(self, chat: Chat) -> None:
        """Stop saving the draft of a chat."""
        with self._lock:
            self._chats.discard(chat)

    def _run(self) -> None:
        while True:
            time.sleep(SAVE_INTERVAL)
            with self._lock:
                chats = list(self._chats)
                if not chats:
                    self._thread = None
                    break
            self._save(chats)
        if not db.is_closed():
            db.close()

    @staticmethod
    def _save(chats: list[Chat]) -> None:
        try:
            db.ensure_connection()
            with db.write_transaction(durable=False):
                deleted = stored_drafts.save_all([chat.draft for chat in chats])
        except (ApiError, peewee.PeeweeException) as error:  # no reason to end the chats: the next save may succeed
            log.warning("drafts could not be saved: %s", error)
        else:
            for chat in chats:
                chat.session_deleted = chat.session_id in deleted
