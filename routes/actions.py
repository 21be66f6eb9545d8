"""The webhook actions that the operator offers, and what has been fired."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

import schemas
from models import WebhookRun
from routes import body, refuses, returns, waits_in
from routes.retries import kept_id, retried
from services import documents, services

blueprint = Blueprint("actions", __name__, url_prefix="/api")


@blueprint.get("/actions")
@returns(schemas.ActionList)
def list_actions() -> dict[str, Any]:
    """List the actions that can be fired."""
    return {"items": [action.shown for action in services().actions.values()]}


@blueprint.post("/sessions/<session_id>/actions/<name>")
@waits_in("webhooks")
@refuses(429)
@returns(schemas.WebhookRunOut, 201)
@body(schemas.NewRun, required=False)
@retried(lambda made, data, session_id, name: WebhookRun.shown(g.user_id, session_id, made["id"]))
def fire_action(data: dict[str, Any], session_id: str, name: str) -> dict[str, Any]:
    """Fire an action from a session; how the webhook took it is in the run."""
    return services().webhooks.fire(g.user_id, session_id, name, data["input"], kept_id)


@blueprint.get("/sessions/<session_id>/webhook-runs")
@returns(schemas.WebhookRunList)
def list_webhook_runs(session_id: str) -> documents.Document:
    """List the runs that were fired from a session, in their order."""
    return documents.webhook_runs(g.user_id, session_id)
