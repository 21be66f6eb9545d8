"""Who is calling: passwords, tokens, logins, and the brake on guessing.

A token says which login it belongs to; a login is a row. Deleting the row revokes its tokens.
"""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jwt
from flask import Flask, current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token
from werkzeug.security import check_password_hash, generate_password_hash

from addresses import client_network
from config import StartError
from database import db
from errors import ApiError
from models import Login, User
from values import new_id, now, timestamp

View = TypeVar("View", bound=Callable[..., Any])

ACCESS, REFRESH = "access", "refresh"
SECRET_FILE = "jwt_secret"  # noqa: S105  # the name of a file
SECRET_LENGTH = 32


# Tokens ----------------------------------------------------------------------------------------


class Claims(NamedTuple):
    """What a verified token says. ``expires`` is in seconds since 1970."""

    user_id: str
    login_id: str
    kind: str
    id: str
    expires: float


class Verifier:
    """Verifies tokens, and remembers those it has: a signature never changes its mind.

    Verifying takes about 60 µs, remembering 1. What can change (the time, and whether the login
    lives) is looked at every time. The memory is bounded; the oldest token is forgotten first.
    """

    SIZE = 4_096

    def __init__(self, secret: str):
        self._secret = secret
        self._known: dict[str, Claims] = {}

    def claims(self, token: str) -> Claims:
        """Return the claims of a token that is ours and has not expired.

        Raises:
            ApiError: ``invalid_token`` or ``token_expired``.

        """
        claims = self._known.get(token)
        if claims is None:
            claims = self._verify(token)
            while len(self._known) >= self.SIZE:
                self._known.pop(next(iter(self._known), ""), None)
            self._known[token] = claims
        if claims.expires <= time.time():
            self._known.pop(token, None)
            raise ApiError("token_expired")
        return claims

    def _verify(self, token: str) -> Claims:
        # PyJWT itself, not flask-jwt-extended's decode_token(), which takes tokens without exp,
        # jti or type and fills in what is missing.
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                options={"require": ["exp", "jti", "sub", "type", "login"], "verify_iat": False},
            )
            expires = float(claims["exp"])
        except jwt.ExpiredSignatureError:
            raise ApiError("token_expired") from None
        except (jwt.PyJWTError, ArithmeticError, RecursionError, TypeError, ValueError):
            raise ApiError("invalid_token") from None
        ours = claims["type"] in (ACCESS, REFRESH) and type(claims["login"]) is str
        if not ours or not (claims["sub"] + claims["login"] + claims["jti"]).isascii():
            raise ApiError("invalid_token")
        return Claims(claims["sub"], claims["login"], claims["type"], claims["jti"], expires)


def bearer(authorization: str) -> str:
    """Return the token of an ``Authorization: Bearer`` header (RFC 6750, section 2.1)."""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise ApiError("missing_token")
    return token.strip()


def opened(view: View) -> View:
    """Mark a view that needs no token."""
    view.tokens = ()  # type: ignore[attr-defined]
    return view


def accepts(*kinds: str) -> Callable[[View], View]:
    """Mark a view that takes other tokens than access tokens."""

    def mark(view: View) -> View:
        view.tokens = kinds  # type: ignore[attr-defined]
        return view

    return mark


def tokens_of(view: Callable[..., Any] | None) -> tuple[str, ...]:
    """Return the kinds of token that a view takes; none means that it is open."""
    return getattr(view, "tokens", (ACCESS,))


def check_token(app: Flask, path: str, view: Callable[..., Any] | None, authorization: str) -> Claims | None:
    """Return what the token of a request says that needs one, None where it needs none.

    Every path under ``/api`` needs one, whether it exists or not. Whether the login lives is not looked at.

    Raises:
        ApiError: with a status of 401.

    """
    kinds = tokens_of(view)
    if not kinds or not path.startswith("/api/"):
        return None
    claims: Claims = app.extensions["verifier"].claims(bearer(authorization))
    if claims.kind not in kinds:
        raise ApiError("invalid_token")
    return claims


def authenticate() -> None:
    """Before each request: find out whose it is."""
    if not request.path.startswith("/api/"):
        return
    view = current_app.view_functions.get(request.endpoint or "")
    claims = check_token(current_app, request.path, view, request.headers.get("Authorization", ""))
    if refusal := request.environ.get("parley.refusal"):
        raise refusal
    db.prepare()
    if claims:
        if not Login.alive(claims.login_id, claims.user_id):
            raise ApiError("token_revoked")
        g.claims = claims
        g.user_id = claims.user_id


# Logins ----------------------------------------------------------------------------------------


def log_in(user_id: str, password_hash: str) -> dict[str, Any]:
    """Start a login and return its pair of tokens.

    The hash is the one that the password was checked against: where it has been changed since,
    so has the password, and there is no login.
    """
    login_id = new_id()
    with db.writing():
        if not User.select().where(User.id == user_id, User.password_hash == password_hash).exists():
            raise ApiError("invalid_credentials")
        Login.delete().where(Login.user == user_id, Login.expires_at < now()).execute()
        pair, refresh_id, expires_at = _token_pair(user_id, login_id)
        Login.insert(
            id=login_id, user=user_id, refresh_id=refresh_id, created_at=now(), expires_at=expires_at
        ).execute()
    return pair


def refresh(claims: Claims) -> dict[str, Any]:
    """Spend a refresh token for a new pair. One that was spent before revokes the whole login."""
    pair, refresh_id, expires_at = _token_pair(claims.user_id, claims.login_id)
    with db.writing():
        rotated = (
            Login.update(refresh_id=refresh_id, expires_at=expires_at)
            .where(Login.id == claims.login_id, Login.refresh_id == claims.id)
            .execute()
        )
        if not rotated:
            Login.delete().where(Login.id == claims.login_id).execute()
    if not rotated:  # raised outside: inside, it would take the revocation back
        raise ApiError("token_revoked")
    return pair


def log_out(login_id: str) -> None:
    """End a login: both its tokens are dead."""
    with db.writing(frees=True):
        Login.delete().where(Login.id == login_id).execute()


def script_token(user_id: str, days: int) -> str:
    """Return an access token for a script. Its login is like any other, but cannot be refreshed."""
    login_id, life = new_id(), timedelta(days=days)
    with db.writing():
        Login.insert(id=login_id, user=user_id, created_at=now(), expires_at=_after(life)).execute()
    return str(create_access_token(user_id, expires_delta=life, additional_claims={"login": login_id}))


def _token_pair(user_id: str, login_id: str) -> tuple[dict[str, Any], str, str]:
    refresh_id = new_id()
    claims = {"login": login_id}
    life = current_app.config["JWT_REFRESH_TOKEN_EXPIRES"]
    pair = {
        "access_token": create_access_token(user_id, additional_claims=claims),
        "refresh_token": create_refresh_token(user_id, additional_claims=claims | {"jti": refresh_id}),
        "token_type": "Bearer",
        "expires_in": int(current_app.config["JWT_ACCESS_TOKEN_EXPIRES"].total_seconds()),
    }
    return pair, refresh_id, _after(life)


def _after(life: timedelta) -> str:
    return timestamp(datetime.now(UTC) + life)


# Passwords -------------------------------------------------------------------------------------


def hash_password(password: str) -> str:
    """Return the scrypt hash of a password, with its salt and its cost."""
    return generate_password_hash(password, "scrypt")


# A check takes 32 MiB and a core: more at once would only be slower, and larger.
_CHECKS = threading.BoundedSemaphore(2)
_NOBODY = hash_password(secrets.token_hex())


def check_credentials(username: str, password: str) -> tuple[str, str]:
    """Return the user's id and the hash that the password was found to match.

    An unknown name costs the same time as a wrong password: there is a hash to check for it too.

    Raises:
        ApiError: ``invalid_credentials``; ``rate_limited`` after too many of those.

    """
    key = User.key(username)
    client = client_network(request.remote_addr)
    with _throttle().attempt((client, key), (client,)):
        user = User.select(User.id, User.password_hash).where(User.name_key == key).tuples().first()
        user_id, password_hash = user or ("", _NOBODY)
        with _CHECKS:
            correct = check_password_hash(password_hash, password)
        if not (correct and user):
            raise ApiError("invalid_credentials")
    return user_id, password_hash


def change_password(claims: Claims, current: str, new: str) -> None:
    """Change the caller's password; every other login of theirs is revoked."""
    username = User.select(User.username).where(User.id == claims.user_id).scalar() or ""
    user_id, password_hash = check_credentials(username, current)
    new_hash = hash_password(new)
    with db.writing():
        unchanged = (User.id == user_id) & (User.password_hash == password_hash)
        if not User.update(password_hash=new_hash).where(unchanged).execute():
            raise ApiError("invalid_credentials")  # changed by someone else meanwhile
        Login.delete().where(Login.user == user_id, Login.id != claims.login_id).execute()


class Throttle:
    """Counts failures by key over the last minutes, in memory.

    An attempt that is still under way counts as failed, so that many at once gain nothing.
    """

    WINDOW_SECONDS = 300.0
    PAIR_LIMIT = 10
    ADDRESS_LIMIT = 100
    SWEEP_SIZE = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[tuple[Any, ...], deque[float]] = {}

    @contextmanager
    def attempt(self, pair: tuple[Any, ...], address: tuple[Any, ...]) -> Iterator[None]:
        """Let the block try; what ApiError it raises is a failure.

        Raises:
            ApiError: ``rate_limited``, with the seconds to wait in ``Retry-After``.

        """
        moment = time.monotonic()
        with self._lock:
            self._check(pair, self.PAIR_LIMIT, moment)
            self._check(address, self.ADDRESS_LIMIT, moment)
            for key in (pair, address):
                self._failures.setdefault(key, deque()).append(moment)
            if len(self._failures) > self.SWEEP_SIZE:
                self._sweep(moment)
        try:
            yield
        except ApiError:
            raise
        except BaseException:
            self._forgive(pair, address, moment)  # the database was busy, say: no one guessed wrong
            raise
        self._forgive(pair, address, moment)

    def _check(self, key: tuple[Any, ...], limit: int, moment: float) -> None:
        failures = self._failures.get(key, deque())
        while failures and failures[0] <= moment - self.WINDOW_SECONDS:
            failures.popleft()
        if len(failures) >= limit:
            wait = math.ceil(failures[0] + self.WINDOW_SECONDS - moment)
            raise ApiError("rate_limited", headers={"Retry-After": str(max(wait, 1))})

    def _forgive(self, pair: tuple[Any, ...], address: tuple[Any, ...], moment: float) -> None:
        with self._lock:
            for key in (pair, address):
                failures = self._failures.get(key)
                if failures and moment in failures:
                    failures.remove(moment)

    def _sweep(self, moment: float) -> None:
        old = moment - self.WINDOW_SECONDS
        self._failures = {key: times for key, times in self._failures.items() if times and times[-1] > old}


def _throttle() -> Throttle:
    throttle: Throttle = current_app.extensions["throttle"]
    return throttle


# Start -----------------------------------------------------------------------------------------


def read_or_make_secret(folder: Path) -> str:
    """Return the secret kept in the data folder, made on the first start.

    It is written whole under a name of its own and then linked, so that of two processes that
    start at once both get the same one, and a crash leaves none half written.
    """
    path = folder / SECRET_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            draft = folder / f".{SECRET_FILE}.{new_id()}"
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise StartError(f"The secret {path} cannot be read or made: {error.strerror}.") from None
    if len(secret) < SECRET_LENGTH:
        raise StartError(f"The secret in {path} is shorter than {SECRET_LENGTH} characters.")
    return secret


def init_app(app: Flask) -> None:
    """Set the tokens up, and ask for one before every request under ``/api``."""
    config = app.config
    secret = config["PARLEY_JWT_SECRET_KEY"] or read_or_make_secret(Path(config["PARLEY_DATA_DIR"]))
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
    app.extensions["verifier"] = Verifier(secret)
    app.extensions["throttle"] = Throttle()
    app.before_request(authenticate)
