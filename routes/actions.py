"""Webhook actions that the operator has configured, and their runs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

import schemas
from models import WebhookRun
from services import documents, get_services
from store import entries
from web.decorators import body, errors, inline, response, runs_in
from web.idempotency import idempotent, remember_id

blueprint = Blueprint("actions", __name__, url_prefix="/api")


@blueprint.get("/actions")
@inline
@response(schemas.ActionList)
def list_actions() -> dict[str, Any]:
    """List the actions that can be fired."""
    return {"items": [action.public for action in get_services().actions.values()]}


@blueprint.post("/sessions/<session_id>/actions/<name>")
@runs_in("webhook")
@errors("action_not_found", "rate_limited")
@response(schemas.WebhookRun, 201)
@body(schemas.FireAction, required=False)
@idempotent(lambda created, data, session_id, name: entries.get(WebhookRun, g.user_id, session_id, created["id"]))
def fire_action(data: dict[str, Any], session_id: str, name: str) -> dict[str, Any]:
    """Fire an action from a session; the run has the webhook's response."""
    return get_services().webhooks.fire(g.user_id, session_id, name, data["input"], before_commit=remember_id)


@blueprint.get("/sessions/<session_id>/webhook-runs")
@inline
@response(schemas.WebhookRunList)
def list_webhook_runs(session_id: str) -> documents.Document:
    """List a session's webhook runs, oldest first."""
    return documents.webhook_run_list(g.user_id, session_id)
