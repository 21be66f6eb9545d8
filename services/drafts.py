"""Saves the answers of the chats in progress every few seconds, in case the process ends."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from database import db
from errors import ApiError
from store import drafts as stored_drafts

if TYPE_CHECKING:
    from services.chat import Chat

SAVE_INTERVAL = 2.0  # seconds of an answer that a sudden end of the process may cost

log = logging.getLogger("parley")


class DraftSaver:
    """Saves the drafts of all chats in one transaction; when each chat saved its own, other chats' deltas were late.

    It stops the chats whose sessions have been deleted, and those that another process was asked to stop. Its thread
    runs while there are chats, and saves all of them even if there is no new text, since that renews their leases.
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
        """Stop saving the draft of a chat; to be called before the draft is turned into a message."""
        with self._lock:
            self._chats.discard(chat)

    def _run(self) -> None:
        while True:
            time.sleep(SAVE_INTERVAL)
            with self._lock:
                if not self._chats:
                    self._thread = None
                    break
            self._save()
        if not db.is_closed():
            db.close()

    def _save(self) -> None:
        try:
            db.ensure_connection()
            with db.write_transaction(durable=False):
                with self._lock:  # within the transaction, which keeps these from being finished if it is the only one
                    chats = list(self._chats)
                reasons = stored_drafts.save_all([chat.draft for chat in chats])
        except (ApiError, *db.errors) as error:  # no reason to end the chats: the next save may succeed
            log.warning("drafts could not be saved: %s", error)
        else:
            for chat in chats:
                if reason := reasons.get(chat.session_id):
                    chat.stop(reason)
        finally:
            db.release_connection()
