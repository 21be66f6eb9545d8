"""Logins: create, refresh, delete; and the caller. Users are created from the command line."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request

import schemas
from auth import ACCESS, REFRESH, accepts_tokens, logins, public
from store import users
from web.decorators import batched, body, errors, inline, response, runs_in

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth")


@blueprint.post("/login")
@public
@runs_in("login")
@errors("invalid_credentials", "rate_limited")
@response(schemas.TokenPair)
@body(schemas.CreateLogin)
def create_login(data: dict[str, Any]) -> dict[str, Any]:
    """Log in with a name and a password."""
    return logins.create_login(*logins.check_credentials(data["username"], data["password"], request.remote_addr))


@blueprint.post("/refresh")
@accepts_tokens(REFRESH)
@batched
@response(schemas.TokenPair)
def refresh_login() -> dict[str, Any]:
    """Exchange the refresh token for a new pair of tokens."""
    return logins.rotate_refresh_token(g.claims)


@blueprint.post("/logout")
@accepts_tokens(ACCESS, REFRESH)
@batched
@response(None, 204)
def delete_login() -> None:
    """Log out: both tokens of this login are revoked at once."""
    logins.revoke_login(g.claims.login_id)


@blueprint.get("/me")
@inline
@response(schemas.User)
def get_me() -> dict[str, Any]:
    """Get the caller."""
    return users.get(g.user_id)


@blueprint.post("/password")
@runs_in("login")
@errors("invalid_credentials", "rate_limited")
@response(None, 204)
@body(schemas.ChangePassword)
def change_password(data: dict[str, Any]) -> None:
    """Change the caller's password and revoke their other logins."""
    logins.change_password(g.claims, data["current_password"], data["new_password"], request.remote_addr)
