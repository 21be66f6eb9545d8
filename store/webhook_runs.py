"""Webhook runs: each is started before its request is sent, and finished with the outcome."""

from __future__ import annotations

from typing import Any

import timestamps
from database import Statement, param
from json_values import stored_json
from models import WebhookRun
from store import sessions
from store.fields import defaults, params

_DEFAULTS = defaults(WebhookRun)

INSERT = Statement(WebhookRun.insert(params(WebhookRun, *WebhookRun.PUBLIC_FIELDS)))
FINISH = Statement(
    WebhookRun.update(params(WebhookRun, *WebhookRun.OUTCOME_FIELDS)).where(WebhookRun.id == param("id"))
)
INTERRUPT = Statement(
    WebhookRun.update({WebhookRun.status: "interrupted", WebhookRun.finished_at: param("now")}).where(
        WebhookRun.status == "running"
    )
)


def start(user_id: str, session_id: str, run_id: str, action: str, request: str) -> dict[str, Any]:
    """Record that an action is being fired from a session of the user's and return the run; ``request`` is JSON text.

    Raises:
        NotFound: there is no such session of the user's.

    """
    sessions.get_for_update(user_id, session_id)  # runs are numbered in the order of their commits
    run = _DEFAULTS | {
        "id": run_id,
        "session_id": session_id,
        "action": action,
        "status": "running",
        "request": request,
        "started_at": timestamps.now(),
    }
    INSERT.execute(**run)
    return run


def finish(run: dict[str, Any], **outcome: Any) -> dict[str, Any]:
    """Record the outcome of a run and return it as the API shows it."""
    run = run | outcome
    FINISH.execute(**run)
    return run | {"request": stored_json(run["request"])}


def mark_interrupted() -> None:
    """Mark the runs that were still going on when their process ended."""
    INTERRUPT.execute(now=timestamps.now())
