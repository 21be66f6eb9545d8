"""Firing an action: a call to the operator's webhook, signed after the Standard Webhooks specification.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

import timestamps
from database import db
from errors import ApiError
from ids import new_id
from models import WebhookRun
from services.actions import Action, Actions
from services.outgoing import AsyncRunner
from services.pending import PendingWrites
from store import entries, sessions, webhook_runs
from text import sanitize_text

if TYPE_CHECKING:
    import httpx

MAX_RESPONSE_BYTES = 16_384  # of a webhook's answer
MAX_CALLS_PER_USER = 32  # calls at once
WRITE_SECONDS = 10.0  # how long a caller waits until the outcome is written, where the first try fails

log = logging.getLogger("parley")


class Webhooks:
    """Calls webhooks, and writes down each call before it goes out and when it has ended."""

    def __init__(self, actions: Actions, runner: AsyncRunner, pending: PendingWrites):
        self._actions, self._runner, self._pending = actions, runner, pending
        self._lock = threading.Lock()
        self._of_user: Counter[str] = Counter()

    def warm_up(self) -> None:
        """Make the client now, for which the first call would have to wait."""
        _ = self._client

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        # No proxy, which would get to see the calls. And each on a connection of its own: one that was
        # kept may be closed by its receiver at that moment, and a call is never sent twice.
        return self._runner.create_client(keep_alive=False)

    def fire(
        self, user_id: str, session_id: str, name: str, given: str, before_commit: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Fire an action from a session, with an input (JSON text); return the run, also where it has failed.

        ``before_commit`` gets it in the transaction that records it.

        Raises:
            ApiError: ``validation_error``, ``session_not_found``, ``action_not_found``, ``rate_limited``.

        """
        if name in self._actions:
            self._actions[name].check_input(given)
        sessions.get(user_id, session_id)
        action = self._actions.get_action(name)
        with self._user_slot(user_id):
            return self._fire(user_id, session_id, action, given, before_commit)

    @contextmanager
    def _user_slot(self, user_id: str) -> Iterator[None]:
        """Keep one user's calls from taking all the threads."""
        with self._lock:
            if self._of_user[user_id] >= MAX_CALLS_PER_USER:
                raise ApiError("rate_limited", headers={"Retry-After": "1"})
            self._of_user[user_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._of_user[user_id] -= 1
                self._of_user += Counter()  # drops who has none

    def _fire(
        self, user_id: str, session_id: str, action: Action, given: str, before_commit: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        run_id = new_id()
        data = {"run_id": run_id, "session_id": session_id, "input": orjson.Fragment(given)}
        body = orjson.dumps({"type": action.name, "timestamp": timestamps.now(), "data": data})
        with db.write_transaction():
            run = webhook_runs.start(user_id, session_id, run_id, action.name, body.decode())
            before_commit(run)
        began = time.monotonic()
        outcome = self._runner.submit(self._call(action, run_id, body)).result()
        outcome |= {"finished_at": timestamps.now(), "duration_ms": round((time.monotonic() - began) * 1_000)}
        written = self._pending.run(lambda: self._finish(run, outcome))
        try:
            finished: dict[str, Any] = written.result(WRITE_SECONDS)
        except TimeoutError:
            # What is not on the disk is not acknowledged: the caller gets what whoever reads the run
            # now would get, that it is running. Its outcome is there as soon as it can be.
            return entries.get(WebhookRun, user_id, session_id, run_id)
        return finished

    @staticmethod
    def _finish(run: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
        with db.write_transaction():
            return webhook_runs.finish(run, **outcome)

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
                    if len(kept) >= MAX_RESPONSE_BYTES:
                        break
        except (TimeoutError, httpx.TimeoutException):
            problem = "timeout"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            problem = "unreachable"
        if status is not None and not 200 <= status < 300:
            problem = problem or "bad_status"
        if problem:
            log.warning("webhook %s, run %s: %s", action.name, run_id, f"status {status}" if status else problem)
        answer = sanitize_text(kept[:MAX_RESPONSE_BYTES].decode(errors="replace"), MAX_RESPONSE_BYTES)
        return {
            "status": "failed" if problem else "succeeded",
            "response_status": status,
            "response_body": None if status is None else answer,
            "error": problem,
        }
