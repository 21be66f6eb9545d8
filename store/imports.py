"""Import of a session with all its messages, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peewee import SQL

from database import Statement, db, param
from errors import ApiError
from models import DELETED, Session
from store import deletion, messages, sessions, users
from store.sessions import current_generation, insert_query, owned

# A long import is written in transactions of this many messages, about 15 ms each. Between two of
# them, while the rows of the next are built, other writers get the lock.
IMPORT_BATCH_SIZE = 2_500

# Seconds after which an import must have ended: it takes some at most.
STALE_SECONDS = 3_600.0
_IS_ORPHAN = Session.user.is_null() & (Session.generation > DELETED)

INSERT_OWNERLESS = Statement(insert_query(0))
ASSIGN_OWNER = Statement(
    Session.update({Session.user: param("user_id"), Session.generation: current_generation()}).where(
        Session.id == param("id"), Session.user.is_null(), Session.generation == 0
    )
)
BY_EXTERNAL_ID = Statement(
    Session.select(Session.id).where(owned(Session.external_id == param("external_id"))).limit(1)
)
DELETE_ORPHAN = Statement(Session.update({Session.generation: DELETED}).where(_IS_ORPHAN, Session.id == param("id")))
DELETE_ORPHANS = Statement(Session.update({Session.generation: DELETED}).where(_IS_ORPHAN))
STALE = Statement(lambda: Session.select(SQL("1")).where(_is_stale()).limit(1))
DELETE_STALE = Statement(lambda: Session.update({Session.generation: DELETED}).where(_is_stale()))


def _is_stale() -> Any:
    return _IS_ORPHAN & (Session.updated_at < db.timestamp(-STALE_SECONDS))


class AlreadyImported(Exception):
    """The session was imported before, as this one."""

    def __init__(self, session_id: str):
        super().__init__(session_id)
        self.session_id = session_id


def import_session(
    user_id: str,
    fields: dict[str, Any],
    rows: Sequence[tuple[Any, ...]],
    skip_known: bool = False,
    before_commit: Callable[[dict[str, Any]], None] = lambda session: None,
) -> dict[str, Any]:
    """Create a session with all its messages, or nothing, and return it, in transactions of its own.

    ``fields`` are the session's, with its ``external_id``; ``rows`` are ``(role, content, metadata as
    JSON text, created_at or None)``. A long import would block all other writers, so it is written
    in batches into a session that has no owner yet; assigning the owner makes it visible.
    ``before_commit`` gets the session in that transaction.

    Raises:
        AlreadyImported: ``skip_known`` is true and the user has the session already.

    """
    fields = {name: value for name, value in fields.items() if name != "updated_at"}  # an import counts as an update
    external_id = fields.pop("external_id")
    session = sessions.new_session(**fields)

    def check_not_imported(lock: bool = True) -> None:
        if skip_known:
            if lock:  # the same export, sent twice at once: the second waits here, and finds what the first has done
                users.lock(user_id)
            if known := find_imported(user_id, external_id):
                raise AlreadyImported(known)

    check_not_imported(lock=False)
    if len(rows) <= IMPORT_BATCH_SIZE:
        all_rows = messages.to_rows(session, rows)
        with db.write_transaction():
            check_not_imported()
            sessions.INSERT.execute(user_id=user_id, external_id=external_id, **session)
            messages.IMPORT.execute_many(all_rows)
            before_commit(session)
        return session
    with db.write_transaction(durable=False):
        INSERT_OWNERLESS.execute(user_id=None, external_id=external_id, **session)
    try:
        for start in range(0, len(rows), IMPORT_BATCH_SIZE):
            batch = messages.to_rows(session, rows[start : start + IMPORT_BATCH_SIZE])
            with db.write_transaction(durable=False):
                messages.IMPORT.execute_many(batch)
        with db.write_transaction():
            check_not_imported()
            if not ASSIGN_OWNER.execute(user_id=user_id, id=session["id"]).rowcount:
                raise ApiError("database_busy")  # a server started since and took it for an orphan
            before_commit(session)
    except BaseException:
        with db.write_transaction(frees_space=True):
            DELETE_ORPHAN.execute(id=session["id"])
        deletion.rows_to_erase.set()
        raise
    return session


def find_imported(user_id: str, external_id: str | None) -> str | None:
    """Return the id of the user's session that has this external id, or this id, None if there is none."""
    by_external_id = BY_EXTERNAL_ID.execute(user_id=user_id, external_id=external_id).fetchone()
    known = by_external_id or sessions.GET.execute(id=external_id, user_id=user_id).fetchone()
    return known[0] if known else None


def delete_orphans() -> None:
    """Delete the sessions that imports have left without an owner, before any process serves."""
    DELETE_ORPHANS.execute()
    deletion.rows_to_erase.set()


def delete_stale_orphans() -> None:
    """Delete those that interrupted imports must have left, in a transaction of its own."""
    if STALE.execute().fetchone():
        with db.write_transaction(durable=False, frees_space=True):
            DELETE_STALE.execute()
        deletion.rows_to_erase.set()
