"""Requests that may be sent again: those with an Idempotency-Key do their work once.

What a request has created is saved under its key, in the transaction that creates it. The header is
that of https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

import orjson
from flask import Flask, current_app, g, request

from errors import ApiError
from store import idempotency
from store.idempotency import KeyTaken
from web.spec import annotate

HEADER = "Idempotency-Key"
WAIT_TIMEOUT = 10.0

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class RequestKey(NamedTuple):
    """What tells a request sent again from another one with the same key."""

    user_id: str
    key: str
    fingerprint: str


def idempotent(replay: Callable[..., Any], wait_timeout: float = WAIT_TIMEOUT) -> Callable[..., Any]:
    """Make a view do its work once a key. It calls ``remember`` or ``remember_id`` in its transaction.

    ``replay`` responds in its stead from then on; it gets what was remembered, and then what the
    view would. A request that is sent again while the first is in progress waits for it, for
    ``wait_timeout`` seconds at most, in a thread of a pool. (In the write batcher it cannot: the
    first is done by then.) The database decides: one in another process, or one whose transaction is
    not committed yet, is only found when this one's own work is saved.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def handler(*loaded: Any, **arguments: Any) -> Any:
            key = request.headers.get(HEADER)
            if key is None:
                return view(*loaded, **arguments)
            if not _KEY.fullmatch(key):
                raise ApiError("validation_error", {HEADER: ["Not 1 to 255 printable characters of ASCII."]})
            digest = hashlib.sha256(f"{request.method} {request.full_path}\n".encode() + g.body_digest)
            request_key = RequestKey(g.user_id, key, digest.hexdigest())
            with current_app.extensions["key_locks"].hold(request_key, wait_timeout):
                created = idempotency.find(*request_key)
                if created is None:
                    g.request_key = request_key
                    try:
                        return view(*loaded, **arguments)
                    except KeyTaken:
                        created = idempotency.find(*request_key)
                if created is None:
                    raise ApiError("conflict")
                return replay(orjson.loads(created), *loaded, **arguments)

        return annotate(handler, idempotent=True)

    return decorate


def remember(created: dict[str, Any]) -> None:
    """Save what is being created, if the request has a key; to be called in the transaction that creates it."""
    if "request_key" in g:
        request_key: RequestKey = g.request_key
        idempotency.save(*request_key, orjson.dumps(created).decode())


def remember_id(created: dict[str, Any]) -> None:
    """Save the id of what is being created, for what is too large, or will change."""
    remember({"id": created["id"]})


class KeyLocks:
    """A lock for each user's key in use. A second holder waits for the first, and then finds its work."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._held: dict[tuple[str, str], str] = {}

    @contextmanager
    def hold(self, request_key: RequestKey, wait_timeout: float) -> Iterator[None]:
        """Hold the lock of a key for the block.

        Raises:
            ApiError: ``conflict`` if another request has this key, or the same one takes too long.

        """
        user_id, key, fingerprint = request_key
        lock = user_id, key
        with self._condition:
            self._condition.wait_for(lambda: self._held.get(lock) != fingerprint, wait_timeout)
            if lock in self._held:
                raise ApiError("conflict")
            self._held[lock] = fingerprint
        try:
            yield
        finally:
            with self._condition:
                del self._held[lock]
                self._condition.notify_all()


def init_app(app: Flask) -> None:
    """Give the app its locks."""
    app.extensions["key_locks"] = KeyLocks()
