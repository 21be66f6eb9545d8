"""A chat that has ended, as it is stored."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from errors import ApiError, NotFound
from models import Message
from store import entries, sessions


def get_ended_chat(
    user_id: str, session_id: str, created: dict[str, str | None]
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the messages of a chat that has ended, and the code of the error that it ended with.

    ``created`` is what is stored under a request's key: the ids of the messages, and the code. A chat that the end of
    a process interrupted has failed: its code is that of an upstream error. An answer that a later chat has replaced
    is left out.

    Raises:
        ApiError: ``session_not_found``, or ``conflict`` if the chat has not ended.

    """
    if not created.keys() & {"answer_id", "error"}:
        sessions.get(user_id, session_id)
        raise ApiError("conflict")
    messages = [entries.get(Message, user_id, session_id, str(created["id"]))]
    if answer_id := created.get("answer_id"):
        with suppress(NotFound):
            messages.append(entries.get(Message, user_id, session_id, answer_id))
    return messages, created.get("error")
