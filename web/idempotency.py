"""Idempotent requests: one with an Idempotency-Key does its work once, however often it is sent.

What a request has created is saved under its key, in the transaction that creates it. The header is
that of https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import orjson
from flask import Flask, current_app, g, request

from database import db
from errors import ApiError
from store import idempotency
from store.idempotency import KeyTaken
from web.spec import annotate

HEADER = "Idempotency-Key"
WAIT_TIMEOUT = 10.0  # seconds

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Replayed = TypeVar("Replayed")

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class RequestKey(NamedTuple):
    """Distinguishes a request that is sent again from another one with the same key."""

    user_id: str
    key: str
    fingerprint: str


def idempotent(
    replay: Callable[..., Replayed], wait_timeout: float = WAIT_TIMEOUT
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result | Replayed]]:
    """Run a view once per key. In its transaction it calls ``remember`` or ``remember_id``.

    From then on ``replay`` responds instead; it gets what was remembered, and then the view's arguments. While the
    first request is in progress, one that is sent again waits for it in a thread of a pool, at most ``wait_timeout``
    seconds. (In the write batcher it need not wait: the first has finished before.) The database decides: a request in
    another process, or one whose transaction is not committed yet, is only found when this one saves its own work.
    """

    def decorate(view: Callable[Arguments, Result]) -> Callable[Arguments, Result | Replayed]:
        @wraps(view)
        def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | Replayed:
            key = request.headers.get(HEADER)
            if key is None:
                return view(*args, **kwargs)
            if not _KEY.fullmatch(key):
                raise ApiError("validation_error", {HEADER: ["Must be 1 to 255 printable ASCII characters."]})
            digest = hashlib.sha256(f"{request.method} {request.full_path}\n".encode() + g.body_digest)
            request_key = RequestKey(g.user_id, key, digest.hexdigest())
            with current_app.extensions["key_locks"].hold(request_key, wait_timeout):
                created = idempotency.find(*request_key)
                if created is None:
                    g.request_key = request_key
                    try:
                        return view(*args, **kwargs)
                    except KeyTaken:
                        created = idempotency.find(*request_key)
                if created is None:
                    raise ApiError("conflict")
                return replay(orjson.loads(created), *args, **kwargs)

        return annotate(wrapper, idempotent=True)

    return decorate


def transaction() -> AbstractContextManager[None]:
    """Return the transaction of a request whose work is one statement: with a key, to save it is another one."""
    opened: AbstractContextManager[None] = db.write_transaction() if "request_key" in g else db.single_write()
    return opened


def remember(created: dict[str, Any]) -> None:
    """Save what is being created, if the request has a key; call it in the transaction that creates it."""
    if "request_key" in g:
        request_key: RequestKey = g.request_key
        idempotency.save(*request_key, orjson.dumps(created).decode())


def remember_id(created: dict[str, Any]) -> None:
    """Save only the id of what is being created, if that is large or will change."""
    remember({"id": created["id"]})


class KeyLocks:
    """A lock for each key of a user in use. A second holder waits for the first, and then finds its work."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._held: dict[tuple[str, str], str] = {}

    @contextmanager
    def hold(self, request_key: RequestKey, wait_timeout: float) -> Iterator[None]:
        """Hold the lock of a key for the block.

        Raises:
            ApiError: ``conflict`` if another request has this key, or the first one takes too long.

        """
        user_id, key, fingerprint = request_key
        lock = user_id, key
        with self._condition:
            if self._held.get(lock) == fingerprint:
                db.release_connection()
                self._condition.wait_for(lambda: self._held.get(lock) != fingerprint, wait_timeout)
            if lock in self._held:
                raise ApiError("conflict")
            self._held[lock] = fingerprint
        try:
            db.ensure_connection()  # again, after that; others must not wait for it
            yield
        finally:
            with self._condition:
                del self._held[lock]
                self._condition.notify_all()


def init_app(app: Flask) -> None:
    """Set the app's locks up."""
    app.extensions["key_locks"] = KeyLocks()
