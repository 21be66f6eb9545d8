"""Drafts of a model's completions: started with the user's message, saved while they arrive, finished as a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from database import Statement, param
from errors import NotFound
from models import Draft, Session, User
from store import idempotency, messages, sessions

INSERT = Statement(
    Draft.insert({Draft.session: param("session_id"), Draft.content: "", Draft.question_id: param("question_id")})
)
GET = Statement(Draft.select(Draft.content, Draft.model, Draft.question_id).where(Draft.session == param("session_id")))
SAVE = Statement(
    Draft.update({Draft.content: param("content"), Draft.model: param("model")}).where(
        Draft.session == param("session_id"), Draft.question_id == param("question_id")
    )
)
DELETE = Statement(Draft.delete().where(Draft.session == param("session_id")))
LIST = Statement(
    Draft.select(Session.user, Draft.session)
    .join(Session)
    .join(User, on=(User.id == Session.user) & (User.generation == Session.generation))
)


def start(user_id: str, session_id: str, content: str, metadata: str) -> dict[str, Any]:
    """Append the user's message to a session of theirs and start the draft of its completion; return the message.

    A draft that a process has left unfinished in the session is finished first.

    Raises:
        NotFound: there is no such session of the user's.

    """
    sessions.get(user_id, session_id)
    _finish_interrupted(user_id, session_id)
    message = messages.append(user_id, session_id, "user", content, metadata)
    INSERT.execute(session_id=session_id, question_id=message["id"])
    return message


def save_all(drafts: Sequence[dict[str, Any]]) -> set[str]:
    """Save what has been received so far; return the ids of the sessions that have been deleted.

    ``drafts`` have ``session_id``, ``question_id``, ``content`` and ``model``.
    """
    return {draft["session_id"] for draft in drafts if not SAVE.execute(**draft).rowcount}


def finish(
    user_id: str, session_id: str, content: str, metadata: str, error: str | None = None
) -> dict[str, Any] | None:
    """Replace a draft by a message and return that, None if there is no text.

    ``error`` is the code that the chat ended with, for a client that repeats the request.

    Raises:
        NotFound: the session has been deleted.

    """
    draft = GET.get(session_id=session_id)
    if draft is None:
        raise NotFound("session")
    DELETE.execute(session_id=session_id)
    message = messages.append(user_id, session_id, "assistant", content, metadata) if content else None
    if draft["question_id"]:
        idempotency.add_answer_id(user_id, draft["question_id"], message["id"] if message else None, error)
    return message


def finish_interrupted() -> None:
    """Finish the drafts of processes that have ended."""
    for user_id, session_id in LIST.execute().fetchall():
        _finish_interrupted(user_id, session_id)


def _finish_interrupted(user_id: str, session_id: str) -> None:
    draft = GET.get(session_id=session_id)
    if draft:
        metadata = orjson.dumps({"model": draft["model"], "finish_reason": "interrupted"}).decode()
        finish(user_id, session_id, draft["content"], metadata, "upstream_error")
