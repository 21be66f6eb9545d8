"""Whether the process lives and whether it can work."""

from __future__ import annotations

from flask import Blueprint

import schemas
from database import db
from errors import ApiError
from routes import returns

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
