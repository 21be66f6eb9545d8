"""Logging in and out. Users are made from the command line."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

import auth
import schemas
from models import User
from routes import body, returns, waits_in

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth")


@blueprint.post("/login")
@auth.opened
@waits_in("logins")
@returns(schemas.TokenPair)
@body(schemas.Credentials)
def log_in(data: dict[str, Any]) -> dict[str, Any]:
    """Log in with a name and a password."""
    return auth.log_in(*auth.check_credentials(data["username"], data["password"]))


@blueprint.post("/refresh")
@auth.accepts(auth.REFRESH)
@returns(schemas.TokenPair)
def refresh() -> dict[str, Any]:
    """Spend the refresh token for a new pair of tokens."""
    return auth.refresh(g.claims)


@blueprint.post("/logout")
@auth.accepts(auth.ACCESS, auth.REFRESH)
@returns(None, 204)
def log_out() -> None:
    """End this login: both its tokens are dead at once."""
    auth.log_out(g.claims.login_id)


@blueprint.get("/me")
@returns(schemas.UserOut)
def me() -> dict[str, Any]:
    """Get the caller."""
    return User.one(g.user_id)


@blueprint.post("/password")
@waits_in("logins")
@returns(None, 204)
@body(schemas.NewPassword)
def change_password(data: dict[str, Any]) -> None:
    """Change the caller's password and revoke their other logins."""
    auth.change_password(g.claims, data["current_password"], data["new_password"])
