"""Logins: each is a row that its tokens refer to. Deleting the row revokes them."""

from __future__ import annotations

from peewee import SQL

import timestamps
from database import Statement, param
from models import Login, User
from store.fields import params

_IS_THIS = (Login.id == param("login_id")) & (Login.user == param("user_id"))

IS_ACTIVE = Statement(Login.select(SQL("1")).where(_IS_THIS))
MATCHES = Statement(
    User.select(SQL("1")).where(User.id == param("user_id"), User.password_hash == param("password_hash"))
)
INSERT = Statement(Login.insert(params(Login, "id", "user_id", "refresh_id", "created_at", "expires_at")))
ROTATE = Statement(
    Login.update({Login.refresh_id: param("new_refresh_id"), Login.expires_at: param("expires_at")}).where(
        Login.id == param("login_id"), Login.refresh_id == param("refresh_id")
    )
)
DELETE = Statement(Login.delete().where(Login.id == param("login_id")))
DELETE_EXPIRED = Statement(Login.delete().where(Login.user == param("user_id"), Login.expires_at < param("now")))
DELETE_OTHERS = Statement(Login.delete().where(Login.user == param("user_id"), Login.id != param("login_id")))


def is_active(login_id: str, user_id: str) -> bool:
    """Return whether the login, and so its user, still exists: one lookup by primary key."""
    return IS_ACTIVE.execute(login_id=login_id, user_id=user_id).fetchone() is not None


def password_matches(user_id: str, password_hash: str) -> bool:
    """Return whether this is still the user's password hash."""
    return MATCHES.execute(user_id=user_id, password_hash=password_hash).fetchone() is not None


def create(login_id: str, user_id: str, expires_at: str, refresh_id: str | None = None) -> None:
    """Create a login, and delete the user's expired ones."""
    created_at = timestamps.now()
    DELETE_EXPIRED.execute(user_id=user_id, now=created_at)
    INSERT.execute(id=login_id, user_id=user_id, refresh_id=refresh_id, created_at=created_at, expires_at=expires_at)


def rotate(login_id: str, refresh_id: str, new_refresh_id: str, expires_at: str) -> bool:
    """Replace a login's refresh token; return whether ``refresh_id`` was the unused one."""
    values = {"login_id": login_id, "refresh_id": refresh_id, "new_refresh_id": new_refresh_id}
    return bool(ROTATE.execute(**values, expires_at=expires_at).rowcount)


def delete(login_id: str) -> None:
    """Delete a login: all its tokens are revoked."""
    DELETE.execute(login_id=login_id)


def delete_all(user_id: str, keep: str = "") -> None:
    """Delete all logins of a user but the one to ``keep``."""
    DELETE_OTHERS.execute(user_id=user_id, login_id=keep)
