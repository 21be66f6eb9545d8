"""Logins: create, refresh, delete; and the caller. Users are created from the command line."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request

import schemas
from auth import ACCESS, REFRESH, accepts_tokens, cookies, logins, public
from store import users
from web.decorators import batched, body, errors, inline, response, runs_in

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth")


@blueprint.post("/login")
@public
@runs_in("login")
@errors("invalid_credentials", "rate_limited")
@response(schemas.TokenPair)
@body(schemas.CreateLogin)
def create_login(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Log in with a name and a password."""
    user = logins.check_credentials(data["username"], data["password"], request.remote_addr)
    return cookies.deliver(logins.create_login(*user), data["cookie"])


@blueprint.post("/refresh")
@accepts_tokens(REFRESH, cookie=True)
@batched
@errors("refresh_raced")
@response(schemas.TokenPair)
def refresh_login() -> tuple[dict[str, Any], dict[str, str]]:
    """Exchange the refresh token for a new pair of tokens."""
    return cookies.deliver(logins.rotate_refresh_token(g.claims), g.from_cookie)


@blueprint.post("/logout")
@accepts_tokens(ACCESS, REFRESH, cookie=True)
@batched
@response(None, 204)
def delete_login() -> tuple[None, dict[str, str]]:
    """Log out: both tokens of this login are revoked at once."""
    logins.revoke_login(g.claims.login_id)
    return None, cookies.clear() if g.from_cookie else {}


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
