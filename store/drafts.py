"""Drafts of a model's answers: started with a question, saved while they arrive, finished as a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from database import Statement, param
from errors import ApiError, NotFound
from models import Draft, Message, Session, User
from store import entries, idempotency, messages, sessions
from store.fields import params

# The finish reasons of answers that the model has not finished, and that may be replaced therefore.
INTERRUPTED, STOPPED, FAILED = "interrupted", "stopped", "error"
UNFINISHED = (INTERRUPTED, STOPPED, FAILED)
# Of a session's messages, only so many of the newest are searched for its newest question.
MAX_SEARCHED = 32

INSERT = Statement(Draft.insert(params(Draft, "session_id", "question_id", "replaced_id") | {Draft.content: ""}))
GET = Statement(
    Draft.select(Draft.content, Draft.model, Draft.question_id, Draft.replaced_id).where(
        Draft.session == param("session_id")
    )
)
SAVE = Statement(
    Draft.update({Draft.content: param("content"), Draft.model: param("model")}).where(
        Draft.session == param("session_id"), Draft.question_id == param("question_id")
    )
)
NEWEST = Statement(
    Message.select(Message.id, Message.role)
    .where(Message.session == param("session_id"))
    .order_by(Message.seq.desc())
    .limit(MAX_SEARCHED)
)
METADATA = Statement(Message.select(Message.metadata).where(Message.id == param("id")))
DELETE = Statement(Draft.delete().where(Draft.session == param("session_id")))
LIST = Statement(
    Draft.select(Session.user, Draft.session)
    .join(Session)
    .join(User, on=(User.id == Session.user) & (User.generation == Session.generation))
)


def start(user_id: str, session_id: str, content: str, metadata: str) -> tuple[dict[str, Any], None]:
    """Append the user's message to a session of theirs and start the draft of its answer.

    A draft that a process has left unfinished in the session is finished first.

    Returns:
        The message, and None: no answer is to be replaced.

    Raises:
        NotFound: there is no such session of the user's.

    """
    sessions.get(user_id, session_id)
    _finish_interrupted(user_id, session_id)
    message = messages.append(user_id, session_id, "user", content, metadata)
    INSERT.execute(session_id=session_id, question_id=message["id"], replaced_id=None)
    return message, None


def restart(user_id: str, session_id: str) -> tuple[dict[str, Any], str | None]:
    """Start the draft of a new answer to the newest question of a session of the user's.

    System messages aside, the newest message is the question, or else an answer to it that is unfinished.

    Returns:
        The question, and the id of the answer that is to be replaced.

    Raises:
        NotFound: there is no such session of the user's.
        ApiError: ``conflict`` if there is no question, or its answer is finished.

    """
    sessions.get(user_id, session_id)
    _finish_interrupted(user_id, session_id)
    newest = [(id_, role) for id_, role in NEWEST.execute(session_id=session_id).fetchall() if role != "system"]
    question_id = next((id_ for id_, role in newest if role == "user"), None)
    if question_id is None:
        raise ApiError("conflict")
    replaced_id = None if newest[0][0] == question_id else newest[0][0]
    if replaced_id and finish_reason(replaced_id) not in UNFINISHED:
        raise ApiError("conflict")
    INSERT.execute(session_id=session_id, question_id=question_id, replaced_id=replaced_id)
    return entries.get(Message, user_id, session_id, question_id), replaced_id


def finish_reason(message_id: str) -> Any:
    """Return what a message's metadata has as its finish reason, None if there is none."""
    (metadata,) = METADATA.execute(id=message_id).fetchone()
    return orjson.loads(metadata).get("finish_reason")


def save_all(drafts: Sequence[dict[str, Any]]) -> set[str]:
    """Save what has been received so far; return the ids of the sessions that have been deleted.

    ``drafts`` have ``session_id``, ``question_id``, ``content`` and ``model``.
    """
    return {draft["session_id"] for draft in drafts if not SAVE.execute(**draft).rowcount}


def finish(
    user_id: str, session_id: str, content: str, metadata: str, error: str | None = None
) -> dict[str, Any] | None:
    """Replace a draft, and the earlier answer if there is one, by a message and return that, None if there is no text.

    ``error`` is the code that the chat ended with, for a client that repeats the request.

    Raises:
        NotFound: the session has been deleted.

    """
    draft = GET.get(session_id=session_id)
    if draft is None:
        raise NotFound("session")
    DELETE.execute(session_id=session_id)
    message = messages.append(user_id, session_id, "assistant", content, metadata) if content else None
    if message and draft["replaced_id"]:
        messages.delete(session_id, draft["replaced_id"])  # after that: its seq is not used again
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
        metadata = orjson.dumps({"model": draft["model"], "finish_reason": INTERRUPTED}).decode()
        finish(user_id, session_id, draft["content"], metadata, "upstream_error")
