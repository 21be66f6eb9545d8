"""Everything a user has, out and in again, and in from elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import IO, Any

from flask import Blueprint, Response, g

import schemas
from routes import query, reads, returns, waits_in
from services import transfer

blueprint = Blueprint("transfer", __name__, url_prefix="/api")

LINES = "application/x-ndjson"


@blueprint.get("/export")
@waits_in("transfers")
@returns(None, 200, LINES)
def export_all() -> Response:
    """Export every session of the caller, a document a line."""
    return Response(transfer.export_all(g.user_id), mimetype=LINES)


@blueprint.post("/import")
@waits_in("transfers")
@returns(schemas.TransferReport)
@query(schemas.TransferOptions)
@reads("application/json", LINES, "application/jsonl", limit="PARLEY_MAX_IMPORT_BYTES")
def import_all(wanted: dict[str, Any], lines: IO[bytes]) -> dict[str, Any]:
    """Import documents, a line or an array item each: Parley's own, ChatGPT's, Open WebUI's or LibreChat's."""
    sessions = list(transfer.take_in(g.user_id, lines, wanted["duplicate"]))
    counts = Counter({"imported": 0, "skipped": 0, "refused": 0})
    counts.update(each["status"] for each in sessions)
    return {"sessions": sessions, "counts": counts}
