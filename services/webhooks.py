"""Firing an action: a call to the operator's webhook, signed after the Standard Webhooks specification.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from models import Session, WebhookRun
from services.actions import Action, Actions
from services.outgoing import Outgoing
from values import clean_text, new_id, now

if TYPE_CHECKING:
    import httpx

KEPT_BYTES = 16_384  # of a webhook's answer


class Webhooks:
    """Calls webhooks, and writes down each call before it goes out and when it has ended."""

    def __init__(self, actions: Actions, outgoing: Outgoing):
        self._actions, self._outgoing = actions, outgoing

    @cached_property
    def client(self) -> httpx.AsyncClient:
        """The client, made for the first call, or before so that this need not wait."""
        import httpx

        # Nothing from the environment but the authorities it trusts: a proxy would get to see the calls.
        return self._outgoing.client(trust_env=False, verify=httpx.create_ssl_context(trust_env=True))

    def fire(self, user_id: str, session_id: str, name: str, given: str) -> dict[str, Any]:
        """Fire an action from a session, with an input (JSON text); return the run, also where it has failed.

        Raises:
            ApiError: ``validation_error``, ``session_not_found``, ``action_not_found``.

        """
        if name in self._actions:
            self._actions[name].check_input(given)
        Session.one(user_id, session_id)
        action = self._actions.named(name)
        run_id = new_id()
        data = {"run_id": run_id, "session_id": session_id, "input": orjson.Fragment(given)}
        body = orjson.dumps({"type": action.name, "timestamp": now(), "data": data})
        run = WebhookRun.begin(user_id, session_id, run_id, action.name, body.decode())
        began = time.monotonic()
        outcome = self._outgoing.run(self._call(action, run_id, body)).result()
        return WebhookRun.finish(run, **outcome, duration_ms=round((time.monotonic() - began) * 1_000))

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
                self.client.stream("POST", action.url, content=body, headers=headers) as response,
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
        answer = clean_text(kept[:KEPT_BYTES].decode(errors="replace"), KEPT_BYTES)
        return {
            "status": "failed" if problem else "succeeded",
            "response_status": status,
            "response_body": None if status is None else answer,
            "error": problem,
        }
