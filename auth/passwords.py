"""Passwords: hashed with scrypt, checked in the same time whether the user exists or not."""

from __future__ import annotations

import secrets
import threading

from werkzeug.security import check_password_hash, generate_password_hash


def hash_password(password: str) -> str:
    """Return the scrypt hash of a password, with its salt and its cost."""
    return generate_password_hash(password, "scrypt")


# A check takes 32 MiB and a core: more at once would only be slower, and larger.
_HASH_SLOTS = threading.BoundedSemaphore(2)
_DUMMY_HASH = hash_password(secrets.token_hex())


def matches(password: str, password_hash: str | None) -> bool:
    """Return whether a password matches a hash. None, for an unknown user, matches nothing but takes as long."""
    with _HASH_SLOTS:
        is_match = check_password_hash(password_hash or _DUMMY_HASH, password)
    return is_match and password_hash is not None
