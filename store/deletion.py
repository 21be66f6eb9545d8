"""Deletion of what may be large: it leaves its owner at once, and its rows go in small steps beside the writers.

What is deleted is so from one short transaction on: a session by its generation, which is not its
owner's any more; all of a user's by the next generation; a user by having none. ``erase`` then
takes the rows away, here or, after a crash, in the process that is started next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import peewee
from peewee import SQL, fn

from database import Compiled, db, param
from errors import ApiError
from models import DELETED, Draft, Login, Look, Message, Retry, Row, Session, User, WebhookRun, anything, rows_to_erase
from store import moves

# Others wait for one step at most, and have as long for themselves before the next.
STEP_SECONDS = 0.005
PAUSE_SECONDS = 0.005
# Messages or webhook runs that are deleted at a time, and their characters: taking them out of the
# search index takes 3 ms.
ROWS, CHARACTERS = 64, 100_000
SESSIONS = 64
# How often is looked for what another process has deleted, and for moves that are old.
LOOK_SECONDS = 30.0
MOVES_SECONDS = 3_600.0
RETRY_SECONDS = 5.0

log = logging.getLogger("parley")

_delete_session = Compiled(lambda: Session.delete().where(Session.id == param("id")))
_mark_session = Compiled(lambda: Session.update({Session.generation: DELETED}).where(Session.id == param("id")))
_delete_draft = Compiled(lambda: Draft.delete().where(Draft.session == param("session_id")))
_delete_drafts = Compiled(
    lambda: Draft.delete().where(
        fn.EXISTS(Session.select(SQL("1")).where(Session.id == Draft.session, Session.user == param("user_id")))
    )
)
_count = Compiled(lambda: Session.select(fn.COUNT(SQL("1"))).where(Session.owned()))
_next_generation = Compiled(
    lambda: User.update({User.generation: User.generation + 1}).where(
        User.id == param("user_id"), User.generation.is_null(False)
    )
)


def delete_session(user_id: str, session_id: str, look: Look = anything) -> None:
    """Delete a session of the user's, unless ``look`` raises.

    Raises:
        Missing: where there is none.

    """
    with db.writing(frees=True):
        Session.one(user_id, session_id, look)
        if _erase_some(session_id):
            return
        _mark_session(id=session_id)
        _delete_draft(session_id=session_id)
    rows_to_erase.set()


def delete_sessions(user_id: str) -> int:
    """Delete all sessions of the user's and return how many there were."""
    with db.writing(frees=True):
        (count,) = _count(user_id=user_id).fetchone()
        if count:
            _next_generation(user_id=user_id)
            _delete_drafts(user_id=user_id)
    rows_to_erase.set()
    return int(count)


def delete_user(user_id: str) -> None:
    """Delete a user: nobody can log in as them any more, and their name is free."""
    with db.writing(frees=True):
        Login.delete().where(Login.user == user_id).execute()
        _delete_drafts(user_id=user_id)
        User.update(generation=None, name_key=f"removed {user_id}", password_hash="").where(
            User.id == user_id
        ).execute()
    rows_to_erase.set()


def erase(rest: float = 1.0) -> None:
    """Delete the rows of all that has been deleted, a step at a time, and after each rest for as many times as long."""
    with db.writing(lasting=False):  # what is being deleted in a group of writes is committed then
        owners = [user_id for (user_id,) in _owners_of_deleted().fetchall()]
    for user_id in (None, *owners):
        more = True
        while more:
            began = time.monotonic()
            with db.writing(lasting=False, frees=True):
                more = _step(user_id)
            time.sleep(max(PAUSE_SECONDS, rest * (time.monotonic() - began)))


def run() -> None:
    """Erase what is deleted, forget old moves, and keep the reserve, for ever."""
    next_moves = 0.0
    while True:
        rows_to_erase.clear()
        try:
            db.prepare()
            db.reserve.set_aside(leave=db.reserve.LOW)  # if it had to be given up, and there is room again
            erase()
            if time.monotonic() > next_moves:
                next_moves = time.monotonic() + MOVES_SECONDS
                moves.delete_old()
        except (ApiError, peewee.PeeweeException) as error:
            log.warning("what was deleted is still to be erased: %s", error)
            time.sleep(RETRY_SECONDS)
            rows_to_erase.set()
        rows_to_erase.wait(LOOK_SECONDS)


# A session that is not of its owner's generation, or whose owner has none; the index knows.
_IS_DELETED = Session.generation < fn.COALESCE(User.generation, 2**62)
_owners_of_deleted = Compiled(
    lambda: User.select(User.id).where(
        User.generation.is_null() | fn.EXISTS(Session.select(SQL("1")).where(Session.user == User.id, _IS_DELETED))
    )
)
_deleted = Compiled(
    lambda: (
        Session.select(Session.id)
        .join(User, on=(User.id == Session.user))
        .where(User.id == param("user_id"), _IS_DELETED)
        .limit(SESSIONS)
    )
)
_deleted_ownerless = Compiled(
    lambda: Session.select(Session.id).where(Session.user.is_null(), Session.generation == DELETED).limit(SESSIONS)
)
_retries = Compiled(lambda: Retry.select(Retry.key).where(Retry.user == param("user_id")).limit(ROWS))
_delete_retry = Compiled(lambda: Retry.delete().where(Retry.user == param("user_id"), Retry.key == param("key")))
_delete_user = Compiled(lambda: User.delete().where(User.id == param("user_id"), User.generation.is_null()))
_newest: dict[type[Row], Compiled] = {
    Message: Compiled(lambda: _newest_query(Message, fn.LENGTH(Message.content) + fn.LENGTH(Message.metadata))),
    WebhookRun: Compiled(lambda: _newest_query(WebhookRun, fn.LENGTH(WebhookRun.request))),
}
_delete_newest: dict[type[Row], Compiled] = {
    Message: Compiled(lambda: _delete_query(Message)),
    WebhookRun: Compiled(lambda: _delete_query(WebhookRun)),
}


def _newest_query(model: Any, length: Any) -> Any:
    of_session = model.select(model.seq, length).where(model.session == param("session_id"))
    return of_session.order_by(model.seq.desc())


def _delete_query(model: Any) -> Any:
    return model.delete().where(model.session == param("session_id"), model.seq >= param("seq"))


def _step(user_id: str | None) -> bool:
    """Delete rows of a user's for STEP_SECONDS; return whether there may be more. The user None stands for nobody."""
    deadline = time.monotonic() + STEP_SECONDS
    for session_id in _deleted_sessions(user_id):
        gone = False
        while not gone:
            gone = _erase_some(session_id)
            if time.monotonic() > deadline:
                return True
    return user_id is not None and _erase_user(user_id)


def _deleted_sessions(user_id: str | None) -> Iterator[str]:
    """Yield the sessions that are deleted and still have rows; who takes one must erase it before the next."""
    while ids := (_deleted(user_id=user_id) if user_id else _deleted_ownerless()).fetchall():
        for (session_id,) in ids:
            yield session_id


def _erase_some(session_id: str) -> bool:
    """Delete some of a session's rows, or the last of them and the session; return whether it is gone.

    The newest first: so who reads them in their order either gets them all or misses the last.
    """
    for model in (Message, WebhookRun):
        seq = _oldest_kept(model, session_id)
        if seq is not None:
            _delete_newest[model](session_id=session_id, seq=seq + 1)
            return False
    _delete_session(id=session_id)
    return True


def _oldest_kept(model: type[Row], session_id: str) -> int | None:
    """Return the ``seq`` of the newest row that is one too many to be deleted at a time, None where there is none."""
    rows = _newest[model](session_id=session_id)
    left = CHARACTERS
    try:
        for number, (seq, length) in enumerate(rows):
            if number == ROWS or left < 0:
                return int(seq)
            left -= length
    finally:
        rows.close()
    return None


def _erase_user(user_id: str) -> bool:
    """Delete some of what else a removed user has, and at last the user; return whether there may be more."""
    if User.select().where(User.id == user_id, User.generation.is_null(False)).exists():
        return False
    keys = _retries(user_id=user_id).fetchall()
    for (key,) in keys:
        _delete_retry(user_id=user_id, key=key)
    if keys or moves.delete_some(user_id):
        return True
    _delete_user(user_id=user_id)
    return False
