"""Deletion of sessions and users: marked as deleted at once, their rows erased in small steps beside the writers.

One short transaction marks them: a session by a generation that is not its owner's, all of a user's
sessions by the user's next generation, a user by having none. ``erase`` then deletes the rows, in
this process or, after a crash, in the next one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from peewee import SQL, fn

from database import Statement, db, param
from errors import ApiError
from models import DELETED, Draft, IdempotencyRecord, Message, Session, SessionEntry, User, WebhookRun
from store import logins, moves, sessions

# Other writers wait for one step at most, and then have at least this pause before the next one.
STEP_SECONDS = 0.005
PAUSE_SECONDS = 0.005
# Messages or webhook runs deleted per statement, and their characters: removing them from the search
# index takes 3 ms.
STEP_ROWS, STEP_CHARACTERS = 64, 100_000
STEP_SESSIONS = 64
# Seconds between two checks for rows that another process has marked.
SWEEP_INTERVAL = 30.0
RETRY_INTERVAL = 5.0
# Seconds until what has been marked is committed; where writers do not wait for each other, nothing waits for that.
COMMIT_DELAY = 1.0

log = logging.getLogger("parley")

rows_to_erase = threading.Event()
"""Set if rows were marked as deleted that still exist."""

_OF_USER = User.id == param("user_id")
# Above the generation of a deleted session, and so is that of an owner who has none: a range of the index.
_GENERATION = fn.COALESCE(User.generation, 2**62)

DELETE_SESSION = Statement(Session.delete().where(Session.id == param("id")))
MARK_SESSION = Statement(Session.update({Session.generation: DELETED}).where(sessions.owned(Session.id == param("id"))))
DELETE_DRAFT = Statement(Draft.delete().where(Draft.session == param("session_id")))
DRAFTS = Statement(
    Draft.select(Draft.session).join(Session).where(Session.user == param("user_id")).order_by(Draft.session)
)
NEXT_GENERATION = Statement(
    User.update({User.generation: User.generation + 1})
    .where(_OF_USER, User.generation.is_null(False))
    .returning(User.generation)
)
COUNT_GENERATION = Statement(
    Session.select(fn.COUNT(SQL("1"))).where(
        Session.user == param("user_id"), Session.generation == param("generation")
    )
)
MARK_USER = Statement(
    User.update({User.generation: None, User.name_key: param("name_key"), User.password_hash: ""}).where(_OF_USER)
)
OWNERS_OF_DELETED = Statement(
    User.select(User.id).where(
        User.generation.is_null()
        | fn.EXISTS(Session.select(SQL("1")).where(Session.user == User.id, Session.generation < _GENERATION))
    )
)


def _deleted(*conditions: Any) -> Statement:
    """Return the query of some sessions to erase; locked, and without those that another process is erasing."""
    sessions_to_erase = Session.select(Session.id).where(*conditions).limit(STEP_SESSIONS)
    return Statement(lambda: db.locking(sessions_to_erase, skip_locked=True))


DELETED_OF_USER = _deleted(
    Session.user == param("user_id"), Session.generation < User.select(_GENERATION).where(_OF_USER)
)
DELETED_OWNERLESS = _deleted(Session.user.is_null(), Session.generation == DELETED)
HAS_SESSIONS = Statement(Session.select(SQL("1")).where(Session.user == param("user_id")).limit(1))
IS_ACTIVE = Statement(User.select(SQL("1")).where(_OF_USER, User.generation.is_null(False)))
DELETE_USER = Statement(User.delete().where(_OF_USER, User.generation.is_null()))
IDEMPOTENCY_KEYS = Statement(
    IdempotencyRecord.select(IdempotencyRecord.key).where(IdempotencyRecord.user == param("user_id")).limit(STEP_ROWS)
)
DELETE_IDEMPOTENCY_KEY = Statement(
    IdempotencyRecord.delete().where(IdempotencyRecord.user == param("user_id"), IdempotencyRecord.key == param("key"))
)


def _newest_first(model: Any, length: Any) -> Statement:
    of_session = model.select(model.seq, length).where(model.session == param("session_id"))
    return Statement(of_session.order_by(model.seq.desc()).limit(STEP_ROWS + 1))


def _delete_from(model: Any) -> Statement:
    return Statement(model.delete().where(model.session == param("session_id"), model.seq >= param("seq")))


NEWEST_FIRST: dict[type[SessionEntry], Statement] = {
    Message: _newest_first(Message, fn.LENGTH(Message.content) + fn.LENGTH(Message.metadata.cast("text"))),
    WebhookRun: _newest_first(WebhookRun, fn.LENGTH(WebhookRun.request.cast("text"))),
}
DELETE_FROM: dict[type[SessionEntry], Statement] = {model: _delete_from(model) for model in NEWEST_FIRST}


def delete_session(user_id: str, session_id: str) -> None:
    """Delete a session of the user's; must be called in a transaction that frees space."""
    if not _erase_batch(session_id):
        delete_sessions(user_id, (session_id,))


def delete_sessions(user_id: str, session_ids: Iterable[str]) -> int:
    """Delete those of the sessions that are the user's and return their number, in 15 µs each.

    Must be called in a transaction that frees space.
    """
    # In this order, and all sessions before the first draft, so that nobody waits in a circle.
    in_order = sorted(set(session_ids))
    deleted = [each for each in in_order if MARK_SESSION.execute(user_id=user_id, id=each).rowcount]
    for session_id in deleted:
        DELETE_DRAFT.execute(session_id=session_id)
    rows_to_erase.set()
    return len(deleted)


def delete_all_sessions(user_id: str) -> int:
    """Delete all of a user's sessions and return their number; must be called in a transaction that frees space.

    It counts what it has ended, so that of two at once only one counts a session. One that is created at the same
    moment is of the new generation, or is deleted uncounted.
    """
    user = NEXT_GENERATION.get(user_id=user_id)
    if user is None:
        raise ApiError("token_revoked")  # the user has been removed
    _delete_drafts(user_id)
    rows_to_erase.set()
    (count,) = COUNT_GENERATION.execute(user_id=user_id, generation=user["generation"] - 1).fetchone()
    return int(count)


def _delete_drafts(user_id: str) -> None:
    """Delete the drafts of a user, who is locked: nobody starts a chat meanwhile."""
    for (session_id,) in DRAFTS.execute(user_id=user_id).fetchall():
        DELETE_DRAFT.execute(session_id=session_id)


def delete_user(user_id: str) -> None:
    """Delete a user, which frees the name at once; must be called in a transaction that frees space."""
    MARK_USER.execute(user_id=user_id, name_key=f"removed {user_id}")
    _delete_drafts(user_id)
    logins.delete_all(user_id)  # after that: nobody logs in any more
    rows_to_erase.set()


def erase(pause_factor: float = 1.0) -> None:
    """Delete all rows that are marked, a step per transaction, with a pause of ``pause_factor`` times its duration."""
    with db.write_transaction(durable=False):  # on SQLite it waits for what has been marked to be committed
        owners = [user_id for (user_id,) in OWNERS_OF_DELETED.execute().fetchall()]
    for user_id in (None, *owners):
        more = True
        while more:
            started_at = time.monotonic()
            with db.write_transaction(durable=False, frees_space=True):
                more = _step(user_id)
            time.sleep(max(PAUSE_SECONDS, pause_factor * (time.monotonic() - started_at)))


def run() -> None:
    """Erase marked rows and restore the reserve for a full disk, forever."""
    while True:
        rows_to_erase.clear()
        if db.is_shared:
            time.sleep(COMMIT_DELAY)
        try:
            db.ensure_connection()
            db.reserve_space()  # after it was released, once there is room again
            erase()
        except (ApiError, *db.errors) as error:
            log.warning("what was deleted is still to be erased: %s", error)
            time.sleep(RETRY_INTERVAL)
            rows_to_erase.set()
        db.release_connection()
        rows_to_erase.wait(SWEEP_INTERVAL)


def _step(user_id: str | None) -> bool:
    """Delete a user's marked rows, or with None ownerless ones, for STEP_SECONDS; return whether more may exist."""
    deadline = time.monotonic() + STEP_SECONDS
    for session_id in _deleted_sessions(user_id):
        erased = False
        while not erased:
            erased = _erase_batch(session_id)
            if time.monotonic() > deadline:
                return True
    return user_id is not None and _erase_user(user_id)


def _deleted_sessions(user_id: str | None) -> Iterator[str]:
    """Yield the sessions that are marked as deleted. The caller must erase each before it takes the next."""
    while ids := (DELETED_OF_USER.execute(user_id=user_id) if user_id else DELETED_OWNERLESS.execute()).fetchall():
        for (session_id,) in ids:
            yield session_id


def _erase_batch(session_id: str) -> bool:
    """Delete a batch of a session's rows, or the last of them and the session; return whether all are deleted.

    The newest go first, so that a reader of its messages in their order gets all or notices that the
    last ones are missing.
    """
    for model in (Message, WebhookRun):
        seq = _newest_to_retain(model, session_id)
        if seq is not None:
            DELETE_FROM[model].execute(session_id=session_id, seq=seq + 1)
            return False
    DELETE_SESSION.execute(id=session_id)
    return True


def _newest_to_retain(model: type[SessionEntry], session_id: str) -> int | None:
    """Return the ``seq`` of the newest row that exceeds one step, None if all rows fit into it."""
    rows = NEWEST_FIRST[model].execute(session_id=session_id)
    characters = STEP_CHARACTERS
    try:
        for number, (seq, length) in enumerate(rows):
            if number == STEP_ROWS or characters < 0:
                return int(seq)
            characters -= length
    finally:
        rows.close()
    return None


def _erase_user(user_id: str) -> bool:
    """Delete a batch of a removed user's other rows, and at last the user; return whether more may exist."""
    if IS_ACTIVE.execute(user_id=user_id).fetchone():
        return False
    if HAS_SESSIONS.execute(user_id=user_id).fetchone():  # another process is erasing them
        return True
    keys = IDEMPOTENCY_KEYS.execute(user_id=user_id).fetchall()
    for (key,) in keys:
        DELETE_IDEMPOTENCY_KEY.execute(user_id=user_id, key=key)
    if keys or moves.delete_batch(user_id):
        return True
    DELETE_USER.execute(user_id=user_id)
    return False
