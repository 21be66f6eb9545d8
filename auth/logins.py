"""Logins: created from a password, rotated with a refresh token, revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import current_app
from flask_jwt_extended import create_access_token, create_refresh_token

from addresses import client_network
from auth import passwords, throttle
from auth.tokens import Claims
from database import db
from errors import ApiError
from ids import new_id
from store import logins, users
from store.logins import Rotation
from timestamps import timestamp
from usernames import name_key


def check_credentials(username: str, password: str, address: str | None) -> tuple[str, str]:
    """Return the user's id and the password hash that the password matches. ``address`` is the client's.

    An unknown name takes as long as a wrong password.

    Raises:
        ApiError: ``invalid_credentials``; ``rate_limited`` after too many of those.

    """
    with throttle.attempt(client_network(address), name_key(username)):
        user = users.get_password_hash(username)
        if not passwords.matches(password, user[1] if user else None) or user is None:
            raise ApiError("invalid_credentials")
    return user


def create_login(user_id: str, password_hash: str) -> dict[str, Any]:
    """Create a login and return its pair of tokens.

    ``password_hash`` is the one that the password was checked against: if it has changed since,
    so has the password, and there is no login.

    Raises:
        ApiError: ``invalid_credentials``.

    """
    login_id = new_id()
    pair, refresh_id, expires_at = _token_pair(user_id, login_id)
    with db.write_transaction():
        if not logins.has_password(user_id, password_hash):
            raise ApiError("invalid_credentials")
        logins.create(login_id, user_id, expires_at, refresh_id)
    return pair


def rotate_refresh_token(claims: Claims) -> dict[str, Any]:
    """Exchange a refresh token for a new pair. Reuse of an old one revokes the login (RFC 9700, section 4.14.2).

    Raises:
        ApiError: ``token_revoked``; ``refresh_raced`` if it was exchanged a moment ago, which revokes nothing.

    """
    pair, refresh_id, expires_at = _token_pair(claims.user_id, claims.login_id)
    with db.write_transaction():
        rotation = logins.rotate(claims.login_id, claims.jti, refresh_id, expires_at)
        if rotation is Rotation.REUSED:
            logins.delete(claims.login_id)
    # Raised after the transaction, which an error would roll back, and the revocation with it.
    if rotation is not Rotation.DONE:
        raise ApiError("token_revoked" if rotation is Rotation.REUSED else "refresh_raced")
    return pair


def revoke_login(login_id: str) -> None:
    """Revoke a login, and with it both its tokens."""
    with db.write_transaction(frees_space=True):
        logins.delete(login_id)


def change_password(claims: Claims, current: str, new: str, address: str | None) -> None:
    """Change the caller's password and revoke their other logins. ``address`` is the client's.

    Raises:
        ApiError: ``invalid_credentials`` if ``current`` is not the password; ``rate_limited``.

    """
    user_id, password_hash = check_credentials(users.get(claims.user_id)["username"], current, address)
    new_hash = passwords.hash_password(new)
    with db.write_transaction():
        if not users.set_password(user_id, password_hash, new_hash):
            raise ApiError("invalid_credentials")  # the password has changed since the check
        logins.delete_all(user_id, keep=claims.login_id)


def create_api_token(user_id: str, days: int) -> str:
    """Return an access token for a script. Its login is like any other, but cannot be refreshed."""
    login_id, lifetime = new_id(), timedelta(days=days)
    with db.write_transaction():
        logins.create(login_id, user_id, _expiry(lifetime))
    return str(create_access_token(user_id, expires_delta=lifetime, additional_claims={"login": login_id}))


def _token_pair(user_id: str, login_id: str) -> tuple[dict[str, Any], str, str]:
    """Return a pair of tokens, and the id and the expiry of the refresh token."""
    refresh_id = new_id()
    claims = {"login": login_id}
    config = current_app.config
    pair = {
        "access_token": create_access_token(user_id, additional_claims=claims),
        "refresh_token": create_refresh_token(user_id, additional_claims=claims | {"jti": refresh_id}),
        "token_type": "Bearer",
        "expires_in": int(config["JWT_ACCESS_TOKEN_EXPIRES"].total_seconds()),
    }
    return pair, refresh_id, _expiry(config["JWT_REFRESH_TOKEN_EXPIRES"])


def _expiry(lifetime: timedelta) -> str:
    return timestamp(datetime.now(UTC) + lifetime)
