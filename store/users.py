"""Users: get, list, create, update."""

from __future__ import annotations

from typing import Any

from peewee import SQL

import timestamps
from database import Statement, db, param
from errors import ApiError
from ids import new_id
from models import User
from store.fields import defaults, params, public
from usernames import name_key

_PUBLIC = public(User)
_DEFAULTS = defaults(User)
_IS_ACTIVE = User.generation.is_null(False)

GET = Statement(User.select(*_PUBLIC).where(User.id == param("user_id")))
LOCK = Statement(lambda: db.locking(User.select(User.id).where(User.id == param("user_id"))))
LIST = Statement(User.select(*_PUBLIC).where(_IS_ACTIVE).order_by(User.name_key))
ANY = Statement(User.select(SQL("1")).where(_IS_ACTIVE).limit(1))
BY_NAME = Statement(User.select(*_PUBLIC).where(User.name_key == param("name_key")))
PASSWORD_HASH = Statement(User.select(User.id, User.password_hash).where(User.name_key == param("name_key")))
INSERT = Statement(User.insert(params(User, *User.PUBLIC_FIELDS, "name_key", "password_hash")))
SET_PASSWORD = Statement(
    User.update({User.password_hash: param("new_hash")}).where(
        User.id == param("user_id"), User.password_hash == param("old_hash")
    )
)
RESET_PASSWORD = Statement(User.update({User.password_hash: param("new_hash")}).where(User.id == param("user_id")))


def get(user_id: str) -> dict[str, Any]:
    """Return a user as the API does.

    Raises:
        ApiError: ``token_revoked`` if the user has been removed.

    """
    user = GET.get(user_id=user_id)
    if user is None:
        raise ApiError("token_revoked")
    return user


def lock(user_id: str) -> None:
    """Keep others from locking the user before this transaction ends; after a session of theirs, if that is locked."""
    if db.is_shared:  # else there are no others
        LOCK.execute(user_id=user_id)


def list_all() -> list[dict[str, Any]]:
    """Return all users except those that are being removed, ordered by name."""
    return list(LIST.dicts())


def exists_any() -> bool:
    """Return whether there is any user."""
    return ANY.execute().fetchone() is not None


def get_by_name(username: str) -> dict[str, Any] | None:
    """Return the user with this name, in any spelling, None if there is none."""
    return BY_NAME.get(name_key=name_key(username))


def get_password_hash(username: str) -> tuple[str, str] | None:
    """Return the id and the password hash of the user with this name, None if there is none."""
    row = PASSWORD_HASH.execute(name_key=name_key(username)).fetchone()
    return (str(row[0]), str(row[1])) if row else None


def create(username: str, password_hash: str) -> dict[str, Any]:
    """Create a user.

    Raises:
        peewee.IntegrityError: the name is taken.

    """
    user = _DEFAULTS | {"id": new_id(), "username": username, "created_at": timestamps.now()}
    INSERT.execute(**user, name_key=name_key(username), password_hash=password_hash)
    return user


def set_password(user_id: str, old_hash: str, new_hash: str) -> bool:
    """Change a password hash; return whether ``old_hash`` was the current one."""
    return bool(SET_PASSWORD.execute(user_id=user_id, old_hash=old_hash, new_hash=new_hash).rowcount)


def reset_password(user_id: str, new_hash: str) -> None:
    """Set a password hash, whatever the current one is."""
    RESET_PASSWORD.execute(user_id=user_id, new_hash=new_hash)
