"""Drafts of chats that run in other processes: find, read, and ask for their end."""

from __future__ import annotations

from typing import NamedTuple

import orjson
from peewee import SQL, fn

from database import Statement, param
from errors import NotFound
from ids import new_id
from models import Draft
from store import idempotency, sessions
from store.drafts import is_stale

_OF_SESSION = Draft.session == param("session_id")
_IS_THIS = _OF_SESSION & (Draft.answer_id == param("answer_id"))

FIND = Statement(lambda: Draft.select(Draft.question_id, Draft.answer_id).where(_OF_SESSION, ~is_stale()))
READ = Statement(lambda: Draft.select(fn.SUBSTR(Draft.content, param("start")), is_stale()).where(_IS_THIS))
EXISTS = Statement(Draft.select(SQL("1")).where(_IS_THIS))
REQUEST_STOP = Statement(Draft.update({Draft.stop_requested: 1}).where(_IS_THIS))


class SharedDraft(NamedTuple):
    """A draft that another process writes."""

    user_id: str
    session_id: str
    question_id: str
    answer_id: str


class Progress(NamedTuple):
    """A part of a draft's text, and whether its lease has ended."""

    text: str
    is_stale: bool


def find(user_id: str, session_id: str) -> SharedDraft:
    """Return the draft of the chat in progress in a session of the user's.

    Raises:
        NotFound: ``session_not_found``, or ``chat_not_found`` if there is none, or nobody renews its lease.

    """
    sessions.get(user_id, session_id)
    draft = FIND.get(session_id=session_id)
    if draft is None:
        raise NotFound("chat")
    return SharedDraft(user_id, session_id, **draft)


def is_in_progress(session_id: str) -> bool:
    """Return whether there is a chat in progress in a session."""
    return FIND.execute(session_id=session_id).fetchone() is not None


def follow(draft: SharedDraft) -> str:
    """Have the outcome of a draft stored, and return the key by which ``idempotency.find`` finds it.

    It is stored as that of a request with an Idempotency-Key is, and for as long: a key like this one cannot be in a
    header.

    Raises:
        NotFound: ``chat_not_found`` if it has been finished already.

    """
    sessions.get_for_update(draft.user_id, draft.session_id)
    if EXISTS.execute(session_id=draft.session_id, answer_id=draft.answer_id).fetchone() is None:
        raise NotFound("chat")
    key = f"reader\n{new_id()}"
    idempotency.save(draft.user_id, key, "", orjson.dumps({"id": draft.question_id}).decode())
    return key


def read(draft: SharedDraft, start: int) -> Progress | None:
    """Return what there is from a position in the text on; None if the draft has been finished."""
    row = READ.execute(session_id=draft.session_id, answer_id=draft.answer_id, start=start + 1).fetchone()
    return row and Progress(*row)


def request_stop(draft: SharedDraft) -> None:
    """Ask the process that a chat runs in to stop it; it finds that out when it saves the draft next."""
    REQUEST_STOP.execute(session_id=draft.session_id, answer_id=draft.answer_id)
