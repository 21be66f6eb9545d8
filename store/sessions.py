"""Sessions of a user: get, count, create, update. ``session_pages`` lists them, ``imports`` imports them."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Any

from peewee import SQL, fn

import timestamps
from database import Statement, db, param
from errors import NotFound
from ids import new_id
from models import Session, User
from store.fields import defaults, params, public

PUBLIC = public(Session)
_DEFAULTS = defaults(Session)


def current_generation() -> Any:
    """Return the subquery of the user's generation."""
    return User.select(User.generation).where(User.id == param("user_id"))


def owned(*conditions: Any) -> Any:
    """Return the condition that a session is the user's and not deleted, and meets the ``conditions``."""
    return reduce(and_, conditions, (Session.user == param("user_id")) & (Session.generation == current_generation()))


IS_OWN = owned(Session.id == param("id"))
_OWNED = Session.select(*PUBLIC).where(IS_OWN)


def insert_query(generation: Any) -> Any:
    """Return the query that inserts a session of this generation."""
    fields = params(Session, *Session.PUBLIC_FIELDS, "user_id", "external_id")
    return Session.insert(fields | {Session.generation: generation})


def touch_query() -> Any:
    """Return the query that moves a session of the user's to the top of the list, and returns its ``updated_at``."""
    later = db.next_timestamp(Session.updated_at, param("now"))
    query = Session.update({Session.updated_at: later}).where(owned(Session.id == param("session_id")))
    return query.returning(Session.updated_at)


COUNT = Statement(Session.select(fn.COUNT(SQL("1"))).where(owned()))
COUNT_UP_TO = Statement(Session.select(SQL("1")).where(owned()).limit(param("limit")).select_from(fn.COUNT(SQL("1"))))
GET = Statement(_OWNED)
GET_FOR_UPDATE = Statement(lambda: db.locking(_OWNED))
INSERT = Statement(insert_query(current_generation()))
UPDATE = Statement(Session.update(params(Session, *Session.UPDATABLE_FIELDS)).where(Session.id == param("id")))


def get(user_id: str, session_id: str) -> dict[str, Any]:
    """Return a session of the user's.

    Raises:
        NotFound: there is none with this id, or it is another user's.

    """
    session = GET.get(id=session_id, user_id=user_id)
    if session is None:
        raise NotFound("session")
    return session


def get_for_update(user_id: str, session_id: str) -> dict[str, Any]:
    """Return a session of the user's that nobody else changes before this transaction ends.

    Raises:
        NotFound: there is none with this id, or it is another user's.

    """
    session = GET_FOR_UPDATE.get(id=session_id, user_id=user_id)
    if session is None:
        raise NotFound("session")
    return session


def exists(user_id: str, session_id: str) -> bool:
    """Return whether there is such a session of the user's."""
    return GET.get(id=session_id, user_id=user_id) is not None


def count(user_id: str, limit: int | None = None) -> int:
    """Return how many sessions the user has, or ``limit`` if there are more."""
    counted = COUNT.execute(user_id=user_id) if limit is None else COUNT_UP_TO.execute(user_id=user_id, limit=limit)
    return int(counted.fetchone()[0])


def new_session(**fields: Any) -> dict[str, Any]:
    """Return a new session with these fields, which is not stored yet."""
    now = timestamps.now()
    session = _DEFAULTS | {"id": new_id(), "created_at": now, "updated_at": now}
    return session | {name: value for name, value in fields.items() if value is not None}


def create(user_id: str, **fields: Any) -> dict[str, Any]:
    """Create a session and return it."""
    session = new_session(**fields)
    INSERT.execute(user_id=user_id, external_id=None, **session)
    return session


def update(session: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change fields of a session from ``get_for_update``; return the changed session."""
    session = session | changes | {"updated_at": timestamps.next_timestamp(session["updated_at"])}
    UPDATE.execute(**session)
    return session
