"""Passwords: hashed with scrypt, checked in the same time whether the user exists or not."""

from __future__ import annotations

import secrets
import threading

from flask import current_app, request
from werkzeug.security import check_password_hash, generate_password_hash

from addresses import client_network
from auth.throttle import LoginThrottle
from auth.tokens import Claims
from database import db
from errors import ApiError
from store import logins, users
from usernames import name_key


def hash_password(password: str) -> str:
    """Return the scrypt hash of a password, with its salt and its cost."""
    return generate_password_hash(password, "scrypt")


# A check takes 32 MiB and a core: more at once would only be slower, and larger.
_HASH_SLOTS = threading.BoundedSemaphore(2)
_DUMMY_HASH = hash_password(secrets.token_hex())


def check_credentials(username: str, password: str) -> tuple[str, str]:
    """Return the user's id and the hash that the password was found to match.

    An unknown name costs the same time as a wrong password: there is a hash to check for it too.

    Raises:
        ApiError: ``invalid_credentials``; ``rate_limited`` after too many of those.

    """
    client = client_network(request.remote_addr)
    throttle: LoginThrottle = current_app.extensions["throttle"]
    with throttle.attempt((client, name_key(username)), (client,)):
        user = users.get_password_hash(username)
        user_id, password_hash = user or ("", _DUMMY_HASH)
        with _HASH_SLOTS:
            is_correct = check_password_hash(password_hash, password)
        if not (is_correct and user):
            raise ApiError("invalid_credentials")
    return user_id, password_hash


def change_password(claims: Claims, current: str, new: str) -> None:
    """Change the caller's password; every other login of theirs is revoked.

    Raises:
        ApiError: ``invalid_credentials`` if ``current`` is not the password; ``rate_limited``.

    """
    user_id, password_hash = check_credentials(users.get(claims.user_id)["username"], current)
    new_hash = hash_password(new)
    with db.write_transaction():
        if not users.set_password(user_id, password_hash, new_hash):
            raise ApiError("invalid_credentials")  # changed by someone else since
        logins.delete_all(user_id, keep=claims.login_id)
