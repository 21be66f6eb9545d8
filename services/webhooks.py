"""Firing an action: a call to the operator's webhook, signed after the Standard Webhooks specification.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from errors import ApiError
from models import Look, Session, WebhookRun, anything
from services.actions import Action, Actions
from services.outgoing import Outgoing
from services.pending import PendingWrites
from values import clean_text, new_id, now

if TYPE_CHECKING:
    import httpx

KEPT_BYTES = 16_384  # of a webhook's answer
MOST_OF_ONE_USER = 32  # calls at once
WRITE_SECONDS = 10.0  # how long a caller waits until the outcome is written, where the first try fails

log = logging.getLogger("parley")


class Webhooks:
    """Calls webhooks, and writes down each call before it goes out and when it has ended."""

    def __init__(self, actions: Actions, outgoing: Outgoing, pending: PendingWrites):
        self._actions, self._outgoing, self._pending = actions, outgoing, pending
        self._lock = threading.Lock()
        self._of_user: Counter[str] = Counter()

    def warm_up(self) -> None:
        """Make the client now, for which the first call would have to wait."""
        _ = self._client

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        # No proxy, which would get to see the calls. And each on a connection of its own: one that was
        # kept may be closed by its receiver at that moment, and a call is never sent twice.
        return self._outgoing.client(keep_alive=False)

    def fire(self, user_id: str, session_id: str, name: str, given: str, then: Look = anything) -> dict[str, Any]:
        """Fire an action from a session, with an input (JSON text); return the run, also where it has failed.

        ``then`` sees it in the transaction that writes it down.

        Raises:
            ApiError: ``validation_error``, ``session_not_found``, ``action_not_found``, ``rate_limited``.

        """
        if name in self._actions:
            self._actions[name].check_input(given)
        Session.one(user_id, session_id)
        action = self._actions.named(name)
        with self._share(user_id):
            return self._fire(user_id, session_id, action, given, then)

    @contextmanager
    def _share(self, user_id: str) -> Iterator[None]:
        """Keep one user's calls from taking all the threads."""
        with self._lock:
            if self._of_user[user_id] >= MOST_OF_ONE_USER:
                raise ApiError("rate_limited", headers={"Retry-After": "1"})
            self._of_user[user_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._of_user[user_id] -= 1
                self._of_user += Counter()  # drops who has none

    def _fire(self, user_id: str, session_id: str, action: Action, given: str, then: Look) -> dict[str, Any]:
        run_id = new_id()
        data = {"run_id": run_id, "session_id": session_id, "input": orjson.Fragment(given)}
        body = orjson.dumps({"type": action.name, "timestamp": now(), "data": data})
        run = WebhookRun.begin(user_id, session_id, run_id, action.name, body.decode(), then)
        began = time.monotonic()
        outcome = self._outgoing.run(self._call(action, run_id, body)).result()
        outcome |= {"finished_at": now(), "duration_ms": round((time.monotonic() - began) * 1_000)}
        written = self._pending.run(lambda: WebhookRun.finish(run, **outcome))
        try:
            finished: dict[str, Any] = written.result(WRITE_SECONDS)
        except TimeoutError:
            # What is not on the disk is not acknowledged: the caller gets what whoever reads the run
            # now would get, that it is running. Its outcome is there as soon as it can be.
            return WebhookRun.shown(user_id, session_id, run_id)
        return finished

    async def _call(self, action: Action, run_id: str, body: bytes) -> dict[str, Any]:
        """Make the call and return how it went; whatever happens to it is no error of ours."""
        import httpx

        moment = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "webhook-id": run_id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": action.signer.sign(run_id, moment, body.decode()),
        }
        status, kept, problem = None, b"", None
        try:
            async with (
                asyncio.timeout(action.timeout),
                self._client.stream("POST", action.url, content=body, headers=headers) as response,
            ):
                status = response.status_code
                async for part in response.aiter_raw():
                    kept += part
                    if len(kept) >= KEPT_BYTES:
                        break
        except (TimeoutError, httpx.TimeoutException):
            problem = "timeout"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            problem = "unreachable"
        if status is not None and not 200 <= status < 300:
            problem = problem or "bad_status"
        if problem:
            log.warning("webhook %s, run %s: %s", action.name, run_id, f"status {status}" if status else problem)
        answer = clean_text(kept[:KEPT_BYTES].decode(errors="replace"), KEPT_BYTES)
        return {
            "status": "failed" if problem else "succeeded",
            "response_status": status,
            "response_body": None if status is None else answer,
            "error": problem,
        }
