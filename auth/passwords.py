"""Passwords: hashed with scrypt, checked in the same time whether the user exists or not."""

from __future__ import annotations

import secrets
import threading

from werkzeug.security import check_password_hash, generate_password_hash

_METHOD = "scrypt:32768:8:1"
# Of an unknown user: checked at the same cost, and the hash of no password. To compute one would take 0.1 s.
_DUMMY_HASH = f"{_METHOD}${secrets.token_hex(8)}${secrets.token_hex(64)}"
# A check takes 32 MiB and a core: more at once would only be slower, and larger.
_HASH_SLOTS = threading.BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """Return the scrypt hash of a password, with its salt and its cost."""
    return generate_password_hash(password, _METHOD)


def matches(password: str, password_hash: str | None) -> bool:
    """Return whether a password matches a hash. None, for an unknown user, matches nothing but takes as long."""
    with _HASH_SLOTS:
        is_match = check_password_hash(password_hash or _DUMMY_HASH, password)
    return is_match and password_hash is not None
