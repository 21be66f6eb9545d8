"""Whether the process lives, whether it can work, and what it is."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app

import schemas
import values
from auth import opened
from database import db
from errors import ApiError
from routes import returns
from services import services
from version import VERSION

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
@returns(schemas.Status)
def healthz() -> dict[str, str]:
    """Tell that the process lives."""
    return {"status": "ok"}


@blueprint.get("/readyz")
@returns(schemas.Status)
def readyz() -> dict[str, str]:
    """Tell that the database answers."""
    if not db.answers():
        raise ApiError("database_unavailable")
    return {"status": "ok"}


@blueprint.get("/api/about")
@opened
@returns(schemas.About)
def about() -> dict[str, Any]:
    """Get the version, what is set up here, and the limits."""
    llm, config = services().llm, current_app.config
    return {
        "version": VERSION,
        "chat": llm is not None,
        "model": llm.model if llm else None,
        "actions": len(services().actions),
        "limits": {
            "title": values.TITLE_LENGTH,
            "content": values.CONTENT_LENGTH,
            "system_prompt": values.PROMPT_LENGTH,
            "import_bytes": config["PARLEY_MAX_IMPORT_BYTES"],
            "body_bytes": config["PARLEY_MAX_BODY_BYTES"],
        },
    }
