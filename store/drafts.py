"""Drafts of a model's answers: started with a question, saved while they arrive, finished as a message.

A draft is also what processes know of each other's chats. Its row locks the session against a second chat. Its
``saved_at`` is a lease, by the database's clock: the process that the chat runs in renews it, and once it is stale
whoever meets the draft finishes it as interrupted. Others read the row (see ``shared_drafts``) and ask for its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
from peewee import SQL, fn

from database import Statement, db, param
from errors import ApiError, NotFound
from ids import new_id
from models import Draft, Message, Session, User
from store import entries, idempotency, messages, sessions, users
from store.fields import params
from store.idempotency import Outcome

# The finish reasons of answers that the model has not finished, and that may be replaced therefore.
INTERRUPTED, STOPPED, FAILED = "interrupted", "stopped", "error"
UNFINISHED = (INTERRUPTED, STOPPED, FAILED)
INTERRUPTED_ERROR = "upstream_error"
"""The code that an interrupted chat ends with."""
# Of a session's messages, only so many of the newest are searched for its newest question.
MAX_SEARCHED = 32
MAX_PER_USER = 3
LEASE_SECONDS = 15.0
"""How old ``saved_at`` may be; a chat in progress renews it every two seconds."""


class Started(NamedTuple):
    """What a chat knows of its draft: the question, the id of the answer, and that of the one to be replaced."""

    question: dict[str, Any]
    answer_id: str
    replaced_id: str | None


def is_stale() -> Any:
    """Return the condition that a draft's lease has ended."""
    return Draft.saved_at <= db.timestamp(-LEASE_SECONDS)


_OF_SESSION = Draft.session == param("session_id")
_IS_OWN = _OF_SESSION & (Draft.answer_id == param("answer_id"))
_TAKEN = (Draft.content, Draft.model, Draft.question_id, Draft.replaced_id, Draft.answer_id)

FRESH_OF_USER = Statement(
    lambda: Draft.select(Draft.session).where(
        ~is_stale(),
        fn.EXISTS(Session.select(SQL("1")).where(Session.id == Draft.session, Session.user == param("user_id"))),
    )
)
INSERT = Statement(
    lambda: Draft.insert(
        params(Draft, "session_id", "question_id", "replaced_id", "answer_id")
        | {Draft.content: "", Draft.saved_at: db.timestamp()}
    )
)
# All chats' drafts are saved in one transaction: one that another process holds must not cost the others their leases.
SAVE = Statement(
    lambda: (
        Draft.update({Draft.content: param("content"), Draft.model: param("model"), Draft.saved_at: db.timestamp()})
        .where(Draft.session == db.locking(Draft.select(Draft.session).where(_IS_OWN), skip_locked=True))
        .returning(Draft.stop_requested)
    )
)
# Deleted and read in one statement, so that of two processes only one has it.
TAKE = Statement(Draft.delete().where(_IS_OWN).returning(*_TAKEN))
TAKE_STALE = Statement(lambda: Draft.delete().where(_OF_SESSION, is_stale()).returning(*_TAKEN))
EXISTS = Statement(Draft.select(SQL("1")).where(_OF_SESSION))
EXPIRE = Statement(Draft.update({Draft.saved_at: ""}))
STALE = Statement(
    lambda: (
        Draft.select(Session.user, Draft.session)
        .join(Session)
        .join(User, on=(User.id == Session.user) & (User.generation == Session.generation))
        .where(is_stale())
        .order_by(Draft.session)
    )
)
NEWEST = Statement(
    Message.select(Message.id, Message.role)
    .where(Message.session == param("session_id"))
    .order_by(Message.seq.desc())
    .limit(MAX_SEARCHED)
)
METADATA = Statement(Message.select(Message.metadata).where(Message.id == param("id")))


def start(user_id: str, session_id: str, content: str, metadata: str) -> Started:
    """Append the user's message to a session of theirs and start the draft of its answer.

    A draft that a process has left unfinished in the session is finished first.

    Raises:
        NotFound: there is no such session of the user's.
        ApiError: ``conflict`` if there is a chat in the session, ``too_many_streams`` if the user has as many as
            allowed, in whatever processes.

    """
    _reserve(user_id, session_id)
    return _insert(session_id, messages.append(user_id, session_id, "user", content, metadata), None)


def restart(user_id: str, session_id: str) -> Started:
    """Start the draft of a new answer to the newest question of a session of the user's.

    System messages aside, the newest message is the question, or else an answer to it that is unfinished.

    Raises:
        NotFound: there is no such session of the user's.
        ApiError: as of ``start``; ``conflict`` if there is no question, or its answer is finished.

    """
    _reserve(user_id, session_id)
    newest = _newest(session_id)
    question_id = next((id_ for id_, role in newest if role == "user"), None)
    if question_id is None:
        raise ApiError("conflict")
    replaced_id = None if newest[0][0] == question_id else newest[0][0]
    if replaced_id and finish_reason(replaced_id) not in UNFINISHED:
        raise ApiError("conflict")
    return _insert(session_id, entries.get(Message, user_id, session_id, question_id), replaced_id)


def _reserve(user_id: str, session_id: str) -> None:
    """Check that the user may start a chat in the session, and keep others from starting one before the commit."""
    _lock(user_id, session_id)
    _finish_if_stale(user_id, session_id)
    in_progress = [id_ for (id_,) in FRESH_OF_USER.execute(user_id=user_id).fetchall()]
    if session_id in in_progress:
        raise ApiError("conflict")
    if len(in_progress) >= MAX_PER_USER:
        raise ApiError("too_many_streams")


def _lock(user_id: str, session_id: str) -> None:
    """Lock a session of the user's and then the user: before its draft, as whoever deletes it does.

    Raises:
        NotFound: there is no such session of the user's.

    """
    sessions.get_for_update(user_id, session_id)
    users.lock(user_id)


def _insert(session_id: str, question: dict[str, Any], replaced_id: str | None) -> Started:
    started = Started(question, new_id(), replaced_id)
    INSERT.execute(
        session_id=session_id, question_id=question["id"], replaced_id=replaced_id, answer_id=started.answer_id
    )
    return started


def _newest(session_id: str) -> list[tuple[str, str]]:
    """Return the id and the role of the newest messages that are not the system's, the newest first."""
    return [(id_, role) for id_, role in NEWEST.execute(session_id=session_id).fetchall() if role != "system"]


def finish_reason(message_id: str) -> Any:
    """Return what a message's metadata has as its finish reason, None if there is none."""
    (metadata,) = METADATA.execute(id=message_id).fetchone()
    return orjson.loads(metadata).get("finish_reason")


def save_all(drafts: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Save what has been received so far and renew the leases; return which chats are to be stopped, and why.

    ``drafts`` have ``user_id``, ``session_id``, ``answer_id``, ``content`` and ``model``.

    Returns:
        Finish reasons by the sessions of the chats: a stop was requested, or the session has been deleted. One whose
        draft has been finished by another process, because it was not saved in time, goes on, as does one whose draft
        somebody else has locked.

    """
    reasons = {}
    for draft in sorted(drafts, key=itemgetter("session_id")):  # others lock several in this order, too
        saved = SAVE.get(**draft)
        if saved is None:
            if not sessions.exists(draft["user_id"], draft["session_id"]):
                reasons[draft["session_id"]] = INTERRUPTED
        elif saved["stop_requested"]:
            reasons[draft["session_id"]] = STOPPED
    return reasons


def finish(
    user_id: str, session_id: str, started: Started, content: str, metadata: str, error: str | None = None
) -> dict[str, Any] | None:
    """Replace a draft, and the earlier answer if there is one, by a message and return that, None if there is no text.

    ``error`` is the code that the chat ended with, for a client that repeats the request.

    Raises:
        NotFound: the session has been deleted.
        ApiError: ``conflict`` as of ``_finish_late``.

    """
    _lock(user_id, session_id)
    draft = TAKE.get(session_id=session_id, answer_id=started.answer_id)
    if draft is None:
        return _finish_late(user_id, session_id, started, content, metadata, error)
    return _replace(user_id, session_id, draft, content, metadata, error)


def _replace(
    user_id: str, session_id: str, draft: dict[str, Any], content: str, metadata: str, error: str | None
) -> dict[str, Any] | None:
    """Store the answer in place of a draft that has been taken."""
    message = None
    if content:
        message = _append(user_id, session_id, draft["answer_id"], draft["replaced_id"], content, metadata)
    if draft["question_id"]:
        answer_id = message["id"] if message else None
        idempotency.set_outcome(user_id, Outcome(draft["question_id"], answer_id, error))
    return message


def _append(
    user_id: str, session_id: str, answer_id: str | None, replaced_id: str | None, content: str, metadata: str
) -> dict[str, Any]:
    message = messages.append(user_id, session_id, "assistant", content, metadata, answer_id)
    if replaced_id:
        messages.delete(session_id, replaced_id)  # after that: its seq is not used again
    return message


def _finish_late(
    user_id: str, session_id: str, started: Started, content: str, metadata: str, error: str | None
) -> dict[str, Any] | None:
    """Store the whole answer of a chat whose draft has been finished as interrupted, because it was not saved in time.

    It takes the place of the interrupted one. If that had no text, it is appended, unless something was said since.

    Raises:
        ApiError: ``conflict`` if something was, or the interrupted answer has been replaced: there is no place for it.

    """
    if not content:
        return None
    question_id, answer_id, replaced_id = started.question["id"], started.answer_id, started.replaced_id
    message = messages.update(user_id, session_id, answer_id, content, metadata)
    interrupted_id = answer_id if message else None
    if message is None:
        newest_id = next((id_ for id_, _ in _newest(session_id)), None)
        if newest_id not in (question_id, replaced_id) or EXISTS.execute(session_id=session_id).fetchone():
            raise ApiError("conflict")
        message = _append(user_id, session_id, answer_id, replaced_id, content, metadata)
    former = Outcome(question_id, interrupted_id, INTERRUPTED_ERROR)
    idempotency.set_outcome(user_id, Outcome(question_id, answer_id, error), former)
    return message


def expire() -> None:
    """End all leases: this process alone uses the database, so nobody renews them."""
    EXPIRE.execute()


def finish_stale() -> None:
    """Finish the drafts whose lease has ended, each in a transaction of its own."""
    for user_id, session_id in STALE.execute().fetchall():
        finish_if_stale(user_id, session_id)


def finish_if_stale(user_id: str, session_id: str) -> None:
    """Finish the draft of a session in a transaction of its own, if there is one whose lease has ended."""
    with suppress(NotFound), db.write_transaction(frees_space=True):
        _lock(user_id, session_id)
        _finish_if_stale(user_id, session_id)


def _finish_if_stale(user_id: str, session_id: str) -> None:
    draft = TAKE_STALE.get(session_id=session_id)
    if draft:
        metadata = orjson.dumps({"model": draft["model"], "finish_reason": INTERRUPTED}).decode()
        _replace(user_id, session_id, draft, draft["content"], metadata, INTERRUPTED_ERROR)
