"""Requests that may be sent again: those with an Idempotency-Key do their work once.

What a request has made is kept under its key, in the transaction that makes it. The header is
that of https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, cast

import orjson
from flask import Flask, current_app, g, request

from errors import ApiError
from models import KeyTaken, Retry
from routes import View, take_time

HEADER = "Idempotency-Key"
PATIENCE_SECONDS = 10.0

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def retried(replay: Callable[..., Any], patience: float = PATIENCE_SECONDS) -> Callable[[View], View]:
    """Let a view do its work once a key. It hands ``kept`` or ``kept_id`` to whoever does the work.

    ``replay`` answers in its stead from then on; it gets what was kept, and then what the view would.
    A request whose twin is under way waits for it, so many seconds at most, and in a thread that it
    keeps from nobody else. Who decides is the database: a twin in another process, or one whose
    transaction is not committed yet, is only found when this one's own work is to be kept.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def handler(*loaded: Any, **arguments: Any) -> Any:
            key = request.headers.get(HEADER)
            if key is None:
                return view(*loaded, **arguments)
            if not _KEY.fullmatch(key):
                raise ApiError("validation_error", {HEADER: ["Not 1 to 255 printable characters of ASCII."]})
            digest = hashlib.sha256(f"{request.method} {request.full_path}\n".encode() + g.body_digest)
            mine = (g.user_id, key, digest.hexdigest())
            turns = current_app.extensions["turns"]
            if patience and turns.is_taken(*mine):
                take_time()
            with turns.take(*mine, patience):
                made = Retry.find(*mine)
                if made is None:
                    g.keep = partial(Retry.keep, *mine)
                    try:
                        return view(*loaded, **arguments)
                    except KeyTaken:
                        made = Retry.find(*mine)
                if made is None:
                    raise ApiError("conflict")
                return replay(orjson.loads(made), *loaded, **arguments)

        handler.retried = True  # type: ignore[attr-defined]  # for openapi.py
        return cast(View, handler)

    return decorate


def kept(made: dict[str, Any]) -> None:
    """Keep what was made, if the request has a key; to be called in the transaction that makes it."""
    if "keep" in g:
        g.keep(orjson.dumps(made).decode())


def kept_id(made: dict[str, Any]) -> None:
    """Keep the id of what was made, for what is too large, or will change."""
    kept({"id": made["id"]})


class Turns:
    """Requests under way, by user and key. A second one waits for the first, and then finds its answer."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._taken: dict[tuple[str, str], str] = {}

    def is_taken(self, user_id: str, key: str, fingerprint: str) -> bool:
        """Return whether the same request is under way."""
        with self._condition:
            return self._taken.get((user_id, key)) == fingerprint

    @contextmanager
    def take(self, user_id: str, key: str, fingerprint: str, patience: float) -> Iterator[None]:
        """Keep others with this key waiting for as long as the block takes.

        Raises:
            ApiError: ``conflict``, where it took too long, or is another request with this key.

        """
        mine = user_id, key
        with self._condition:
            self._condition.wait_for(lambda: self._taken.get(mine) != fingerprint, patience)
            if mine in self._taken:
                raise ApiError("conflict")
            self._taken[mine] = fingerprint
        try:
            yield
        finally:
            with self._condition:
                del self._taken[mine]
                self._condition.notify_all()


def init_app(app: Flask) -> None:
    """Give the app its turns."""
    app.extensions["turns"] = Turns()
