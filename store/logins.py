"""Logins: each is a row that its tokens refer to. Deleting the row revokes them."""

from __future__ import annotations

from enum import Enum

import orjson
from peewee import SQL

import timestamps
from database import Statement, db, param
from errors import ApiError
from models import Login, User
from store.fields import params

# Where an answer was lost or two tabs asked at once, a token comes again: for so long that is no theft.
GRACE_SECONDS = 30
# Of the tokens that were rotated within that time, the newest so many: more tabs than a browser restores at once.
MAX_ROTATED = 100

_IS_THIS = (Login.id == param("login_id")) & (Login.user == param("user_id"))

IS_ACTIVE = Statement(Login.select(SQL("1")).where(_IS_THIS))
_HAS_PASSWORD = User.select(SQL("1")).where(User.id == param("user_id"), User.password_hash == param("password_hash"))
# Locked, or a login could be inserted with the old password after a change has deleted the user's logins.
HAS_PASSWORD = Statement(lambda: db.locking(_HAS_PASSWORD, shared=True))
INSERT = Statement(Login.insert(params(Login, "id", "user_id", "refresh_id", "created_at", "expires_at")))
# Locked, or two requests with one token could each get a pair.
ROTATION = Statement(
    lambda: db.locking(Login.select(Login.refresh_id, Login.rotated).where(Login.id == param("login_id")))
)
ROTATE = Statement(
    Login.update(params(Login, "refresh_id", "expires_at", "rotated")).where(Login.id == param("login_id"))
)
DELETE = Statement(Login.delete().where(Login.id == param("login_id")))
DELETE_EXPIRED = Statement(Login.delete().where(Login.user == param("user_id"), Login.expires_at < param("now")))
DELETE_OTHERS = Statement(Login.delete().where(Login.user == param("user_id"), Login.id != param("login_id")))


def is_active(login_id: str, user_id: str) -> bool:
    """Return whether the login, and so its user, still exists: one lookup by primary key."""
    return IS_ACTIVE.execute(login_id=login_id, user_id=user_id).fetchone() is not None


def require_active(login_id: str, user_id: str) -> None:
    """Require that the login still exists: the error comes now, or with the next query.

    Raises:
        ApiError: ``token_revoked``.

    """
    IS_ACTIVE.require(ApiError("token_revoked"), login_id=login_id, user_id=user_id)


def has_password(user_id: str, password_hash: str) -> bool:
    """Return whether this is still the user's password hash; it remains so until this transaction ends."""
    return HAS_PASSWORD.execute(user_id=user_id, password_hash=password_hash).fetchone() is not None


def create(login_id: str, user_id: str, expires_at: str, refresh_id: str | None = None) -> None:
    """Create a login, and delete the user's expired ones."""
    created_at = timestamps.now()
    DELETE_EXPIRED.execute(user_id=user_id, now=created_at)
    INSERT.execute(id=login_id, user_id=user_id, refresh_id=refresh_id, created_at=created_at, expires_at=expires_at)


class Rotation(Enum):
    """What happens to a refresh token that is used."""

    DONE = "it was the unused one, and another one has replaced it"
    RACED = "it was replaced a moment ago, for a request that came before"
    REUSED = "it was replaced earlier, or its login is gone"


def rotate(login_id: str, refresh_id: str, new_refresh_id: str, expires_at: str) -> Rotation:
    """Replace a login's refresh token if ``refresh_id`` is the unused one, and return what was the case."""
    unused_id, rotated = ROTATION.execute(login_id=login_id).fetchone() or (None, "{}")
    now = timestamps.now()
    grace_start = timestamps.timestamp_before(now, seconds=GRACE_SECONDS)
    lately = {jti: time for jti, time in orjson.loads(rotated).items() if time > grace_start}
    if refresh_id != unused_id:
        return Rotation.RACED if refresh_id in lately else Rotation.REUSED
    newest = [*lately.items(), (refresh_id, now)][-MAX_ROTATED:]
    ROTATE.execute(
        login_id=login_id, refresh_id=new_refresh_id, expires_at=expires_at, rotated=orjson.dumps(dict(newest)).decode()
    )
    return Rotation.DONE


def delete(login_id: str) -> None:
    """Delete a login: all its tokens are revoked."""
    DELETE.execute(login_id=login_id)


def delete_all(user_id: str, keep: str = "") -> None:
    """Delete all logins of a user but the one to ``keep``."""
    DELETE_OTHERS.execute(user_id=user_id, login_id=keep)
