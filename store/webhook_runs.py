"""Webhook runs: each is started before its request is sent, and finished with the outcome."""

from __future__ import annotations

from typing import Any

from peewee import SQL

import timestamps
from database import Statement, db, param
from json_values import stored_json
from models import WebhookRun
from store import sessions
from store.fields import defaults, params

_DEFAULTS = defaults(WebhookRun)
# A call has ten seconds; so much later its process has ended, or cannot store the outcome.
STALE_SECONDS = 60.0
# A constant and no parameter, or the index of the runs that are going on would not be used.
_IS_RUNNING = WebhookRun.status == SQL("'running'")

INSERT = Statement(WebhookRun.insert(params(WebhookRun, *WebhookRun.PUBLIC_FIELDS)))
FINISH = Statement(
    WebhookRun.update(params(WebhookRun, *WebhookRun.OUTCOME_FIELDS)).where(WebhookRun.id == param("id"))
)
STALE = Statement(lambda: WebhookRun.select(SQL("1")).where(_is_stale()).limit(1))
INTERRUPT_STALE = Statement(lambda: _interrupt().where(_is_stale()))
INTERRUPT = Statement(lambda: _interrupt())


def _interrupt() -> Any:
    changes = {WebhookRun.status: "interrupted", WebhookRun.finished_at: db.timestamp()}
    return WebhookRun.update(changes).where(_IS_RUNNING)


def _is_stale() -> Any:
    return _IS_RUNNING & (WebhookRun.started_at < db.timestamp(-STALE_SECONDS))


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
    """Mark all runs that are going on, before any process serves."""
    INTERRUPT.execute()


def mark_stale() -> None:
    """Mark the runs that have gone on for so long that their process must have ended, in a transaction of its own.

    If one has not, and could only not store the outcome yet, ``finish`` corrects it.
    """
    if STALE.execute().fetchone():
        with db.write_transaction(durable=False):
            INTERRUPT_STALE.execute()
