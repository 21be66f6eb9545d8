"""Authentication. A token names a login, and a login is a row: deleting the row revokes its tokens.

``tokens`` verifies tokens; ``logins`` creates, rotates and revokes them; ``cookies`` hands the refresh token to a page
and takes it from there; ``passwords`` hashes and checks passwords;
``throttle`` protects logins from brute force; ``secret`` stores the key that signs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from flask import Flask, current_app, g, request
from flask_jwt_extended import JWTManager

from auth import cookies
from auth.secret import load_or_create_secret
from auth.tokens import Claims, TokenVerifier, bearer_token
from config import StartupError
from database import db
from errors import ApiError
from store import logins as stored_logins
from web.spec import ACCESS, REFRESH, RouteSpec, View, annotate, spec_of

__all__ = ["ACCESS", "REFRESH", "accepts_tokens", "init_app", "public", "verify"]


def public(view: View) -> View:
    """Mark a view that requires no token."""
    return annotate(view, tokens=())


def accepts_tokens(*types: str, cookie: bool = False) -> Callable[[View], View]:
    """Mark a view that accepts tokens of these types instead of access tokens, or the refresh token in the cookie."""
    return lambda view: annotate(view, tokens=types, cookie=cookie)


def verify(app: Flask, path: str, spec: RouteSpec, authorization: str) -> Claims | None:
    """Return the claims of a request's token, None if it requires none; its login is not checked.

    Every path under ``/api`` requires one, whether it exists or not. ``authorization`` is the value of the header.

    Raises:
        ApiError: ``missing_token``, ``invalid_token`` or ``token_expired``.

    """
    if not spec.tokens or not path.startswith("/api/"):
        return None
    verifier: TokenVerifier = app.extensions["verifier"]
    claims = verifier.verify(bearer_token(authorization))
    if claims.type not in spec.tokens:
        raise ApiError("invalid_token")
    return claims


def verify_token() -> None:
    """Before each request: verify its token, without the database.

    Raises:
        ApiError: ``missing_token``, ``invalid_token`` or ``token_expired``.

    """
    spec = spec_of(current_app.view_functions.get(request.endpoint or ""))
    authorization = request.headers.get("Authorization")
    g.from_cookie = authorization is None and spec.cookie
    if g.from_cookie:
        authorization, spec = cookies.bearer(), replace(spec, tokens=(REFRESH,))
    g.claims = verify(current_app, request.path, spec, authorization or "")


def check_login() -> None:
    """Before each request: check that the login of its token exists, and note the user.

    Raises:
        ApiError: ``token_revoked``, or ``database_unavailable``.

    """
    if not request.path.startswith("/api/"):
        return
    db.ensure_connection()
    claims: Claims | None = g.claims
    if claims:
        stored_logins.require_active(claims.login_id, claims.user_id)
        if request.method not in ("GET", "HEAD"):  # others may act before their first query
            db.check_requirement()
        g.user_id = claims.user_id


def init_app(app: Flask) -> None:
    """Set up the tokens.

    Raises:
        StartupError: the secret cannot be read or created, or is missing though several processes need the same.

    """
    config = app.config
    secret = config["PARLEY_JWT_SECRET_KEY"]
    if secret is None and db.is_shared:
        raise StartupError(
            "PARLEY_JWT_SECRET_KEY: required with PostgreSQL, the same for all processes. To make one: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    secret = secret or load_or_create_secret(Path(config["PARLEY_DATA_DIR"]))
    config.update(
        JWT_SECRET_KEY=secret,
        JWT_ALGORITHM="HS256",
        JWT_TOKEN_LOCATION=["headers"],
        JWT_COOKIE_CSRF_PROTECT=False,
        JWT_ENCODE_NBF=False,
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(minutes=config["PARLEY_ACCESS_TOKEN_MINUTES"]),
        JWT_REFRESH_TOKEN_EXPIRES=timedelta(days=config["PARLEY_REFRESH_TOKEN_DAYS"]),
    )
    JWTManager(app)
    app.extensions["verifier"] = TokenVerifier(secret)
