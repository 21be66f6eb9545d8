"""Firing an action: the call to the operator's webhook, signed as in the Standard Webhooks specification.

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
from json_values import stored_json
from models import WebhookRun
from services.actions import Action, Actions
from services.outgoing import AsyncRunner
from services.retry_queue import RetryQueue
from store import entries, sessions, webhook_runs
from text import sanitize_text

if TYPE_CHECKING:
    import httpx

MAX_RESPONSE_BYTES = 16_384  # that are stored
MAX_CALLS_PER_USER = 32  # concurrently
STORE_TIMEOUT = 10.0  # seconds that a client waits until the outcome is stored, if the first attempt fails

BeforeCommit = Callable[[dict[str, Any]], None]

log = logging.getLogger("parley")


class Webhooks:
    """Calls webhooks. Each call is recorded as a run before it is sent, and its outcome when it has ended."""

    def __init__(self, actions: Actions, runner: AsyncRunner, retry_queue: RetryQueue):
        self._actions, self._runner, self._retry_queue = actions, runner, retry_queue
        self._lock = threading.Lock()
        self._calls_by_user: Counter[str] = Counter()

    def warm_up(self) -> None:
        """Create the HTTP client, which the first call would have to wait for."""
        _ = self._client

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        # No proxy, which could read the calls. And a connection for each call: the receiver may close an
        # idle one just when it is used again, and a call is never sent twice.
        return self._runner.create_client(keep_alive=False)

    def fire(
        self, user_id: str, session_id: str, name: str, input_json: str, before_commit: BeforeCommit
    ) -> dict[str, Any]:
        """Fire an action from a session with an input, as JSON text; return the run, also if the call has failed.

        ``before_commit`` is called with the run in the transaction that records it.

        Raises:
            ApiError: ``validation_error``, ``session_not_found``, ``action_not_found``, ``rate_limited``.

        """
        if name in self._actions:
            self._actions[name].check_input(input_json)
        sessions.get(user_id, session_id)
        action = self._actions.get_action(name)
        with self._user_slot(user_id):
            return self._fire(user_id, session_id, action, input_json, before_commit)

    @contextmanager
    def _user_slot(self, user_id: str) -> Iterator[None]:
        """Limit the concurrent calls of a user, so that they do not occupy all threads.

        Raises:
            ApiError: ``rate_limited``.

        """
        with self._lock:
            if self._calls_by_user[user_id] >= MAX_CALLS_PER_USER:
                raise ApiError("rate_limited", headers={"Retry-After": "1"})
            self._calls_by_user[user_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls_by_user[user_id] -= 1
                self._calls_by_user += Counter()  # drops the users that have none

    def _fire(
        self, user_id: str, session_id: str, action: Action, input_json: str, before_commit: BeforeCommit
    ) -> dict[str, Any]:
        run_id = new_id()
        data = {"run_id": run_id, "session_id": session_id, "input": stored_json(input_json)}
        body = orjson.dumps({"type": action.name, "timestamp": timestamps.now(), "data": data})
        with db.write_transaction():
            run = webhook_runs.start(user_id, session_id, run_id, action.name, body.decode())
            before_commit(run)
        db.release_connection()
        started_at = time.monotonic()
        outcome = self._runner.submit(self._call(action, run_id, body)).result()  # the action's timeout limits it
        outcome |= {"finished_at": timestamps.now(), "duration_ms": round((time.monotonic() - started_at) * 1_000)}
        stored = self._retry_queue.run(lambda: self._finish(run, outcome))
        db.release_connection()
        try:
            finished: dict[str, Any] = stored.result(STORE_TIMEOUT)
        except TimeoutError:
            # What could still be lost is not acknowledged: the client gets the run as it is stored, as running.
            db.ensure_connection()
            return entries.get(WebhookRun, user_id, session_id, run_id)
        return finished

    @staticmethod
    def _finish(run: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
        with db.write_transaction():
            return webhook_runs.finish(run, **outcome)

    async def _call(self, action: Action, run_id: str, body: bytes) -> dict[str, Any]:
        """Send the call and return its outcome; nothing that happens to it is raised."""
        import httpx

        sent_at = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "webhook-id": run_id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": action.signer.sign(run_id, sent_at, body.decode()),
        }
        status, received, error = None, b"", None
        try:
            async with (
                asyncio.timeout(action.timeout),
                self._client.stream("POST", action.url, content=body, headers=headers) as response,
            ):
                status = response.status_code
                async for part in response.aiter_raw():
                    received += part
                    if len(received) >= MAX_RESPONSE_BYTES:
                        break
        except (TimeoutError, httpx.TimeoutException):
            error = "timeout"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            error = "unreachable"
        if status is not None and not 200 <= status < 300:
            error = error or "bad_status"
        if error:
            log.warning("webhook %s, run %s: %s", action.name, run_id, f"status {status}" if status else error)
        text = sanitize_text(received[:MAX_RESPONSE_BYTES].decode(errors="replace"), MAX_RESPONSE_BYTES)
        return {
            "status": "failed" if error else "succeeded",
            "response_status": status,
            "response_body": None if status is None else text,
            "error": error,
        }
