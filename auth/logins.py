"""Logins: created from a password, rotated with a refresh token, revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import current_app
from flask_jwt_extended import create_access_token, create_refresh_token

from auth.tokens import Claims
from database import db
from errors import ApiError
from ids import new_id
from store import logins
from timestamps import timestamp


def create_login(user_id: str, password_hash: str) -> dict[str, Any]:
    """Create a login and return its pair of tokens.

    ``password_hash`` is the one that the password was checked against: if it has been changed
    since, so has the password, and there is no login.

    Raises:
        ApiError: ``invalid_credentials``.

    """
    login_id = new_id()
    pair, refresh_id, expires_at = _token_pair(user_id, login_id)
    with db.write_transaction():
        if not logins.password_matches(user_id, password_hash):
            raise ApiError("invalid_credentials")
        logins.create(login_id, user_id, expires_at, refresh_id)
    return pair


def rotate_refresh_token(claims: Claims) -> dict[str, Any]:
    """Exchange a refresh token for a new pair. One that was used before revokes the whole login (RFC 9700, 4.14.2).

    Raises:
        ApiError: ``token_revoked``.

    """
    pair, refresh_id, expires_at = _token_pair(claims.user_id, claims.login_id)
    with db.write_transaction():
        rotated = logins.rotate(claims.login_id, claims.jti, refresh_id, expires_at)
        if not rotated:
            logins.delete(claims.login_id)
    if not rotated:  # raised outside: inside, it would take the revocation back
        raise ApiError("token_revoked")
    return pair


def revoke_login(login_id: str) -> None:
    """End a login: both its tokens are revoked."""
    with db.write_transaction(frees_space=True):
        logins.delete(login_id)


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
