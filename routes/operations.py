"""Health checks, and what the service is."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app

import schemas
from auth import public
from limits import MAX_CONTENT_LENGTH, MAX_SYSTEM_PROMPT_LENGTH, MAX_TITLE_LENGTH
from services import get_services
from version import VERSION
from web.decorators import errors, inline, response

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
@inline(uses_database=False)
@response(schemas.Health)
def get_health() -> dict[str, str]:
    """Check that the process is alive."""
    return {"status": "ok"}


@blueprint.get("/readyz")
@inline
@errors("database_unavailable", "shutting_down")
@response(schemas.Health)
def get_readiness() -> dict[str, str]:
    """Check that requests can be served: the database can be read, and the process is not about to stop."""
    get_services().readiness.check()
    return {"status": "ok"}


@blueprint.get("/api/about")
@public
@inline
@response(schemas.About)
def get_about() -> dict[str, Any]:
    """Get the version, what is configured, and the limits."""
    services, config = get_services(), current_app.config
    return {
        "version": VERSION,
        "chat": services.llm is not None,
        "model": services.llm.model if services.llm else None,
        "actions": len(services.actions),
        "limits": {
            "title": MAX_TITLE_LENGTH,
            "content": MAX_CONTENT_LENGTH,
            "system_prompt": MAX_SYSTEM_PROMPT_LENGTH,
            "import_bytes": config["PARLEY_MAX_IMPORT_BYTES"],
            "body_bytes": config["PARLEY_MAX_BODY_BYTES"],
        },
    }
