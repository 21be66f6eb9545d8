"""Everything a user has, out and in again, and in from elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import orjson
from flask import Blueprint, Response, g

import schemas
from routes import query, reads, returns, waits_in
from services import transfer

blueprint = Blueprint("transfer", __name__, url_prefix="/api")

LINES = "application/x-ndjson"
SPOOLED_BYTES = 262_144


@blueprint.get("/export")
@waits_in("transfers")
@returns(None, 200, LINES)
def export_all() -> Response:
    """Export every session of the caller, a document a line; one that is deleted meanwhile ends with an `error`."""
    return Response(transfer.export_all(g.user_id), mimetype=LINES)


@blueprint.post("/import")
@waits_in("transfers")
@returns(schemas.TransferReport)
@query(schemas.TransferOptions)
@reads("application/json", LINES, "application/jsonl", limit="PARLEY_MAX_IMPORT_BYTES")
def import_all(wanted: dict[str, Any], lines: IO[bytes]) -> Response:
    """Import documents, a line or an array item each: Parley's, ChatGPT's, Claude's, LibreChat's or Open WebUI's."""
    summary = transfer.Summary()
    listed = tempfile.SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115  # closed when it is sent
    try:
        for report in transfer.take_in(g.user_id, lines, wanted["duplicate"], wanted["dry_run"]):
            if summary.add(report):
                listed.write(b"," + orjson.dumps(report, option=orjson.OPT_NON_STR_KEYS))
    except BaseException:
        listed.close()
        raise
    return Response(_pieces(listed, summary), mimetype="application/json")


def _pieces(listed: IO[bytes], summary: transfer.Summary) -> Iterator[bytes]:
    """Yield the report: millions of items fit into an import, and none of them need be in memory."""
    with listed:
        yield b'{"sessions":['
        listed.seek(1)  # after the first comma
        while part := listed.read(SPOOLED_BYTES):
            yield part
    rest = {"counts": summary.counts} | ({"not_listed": summary.not_listed} if summary.not_listed else {})
    yield b"]," + orjson.dumps(rest, option=orjson.OPT_APPEND_NEWLINE)[1:]
