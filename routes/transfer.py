"""Export and import, of one session and of all sessions of a user."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import orjson
from flask import Blueprint, Response, g

import schemas
from database import db
from services import documents, importers, markdown, transfer
from store import imports, sessions
from web import parameters
from web.decorators import body, conditional, inline, other_response, query, raw_body, response, runs_in
from web.etags import check_if_none_match
from web.idempotency import idempotent, remember

MARKDOWN, NDJSON = "text/markdown", "application/x-ndjson"
SPOOLED_BYTES = 262_144  # of a report that are in memory

blueprint = Blueprint("transfer", __name__, url_prefix="/api")


@blueprint.get("/sessions/<session_id>/export")
@inline
@conditional("If-None-Match")
@response(schemas.ExportDocument, 200, MARKDOWN)
@query(parameters.ExportSession)
def export_session(query: dict[str, Any], session_id: str) -> tuple[documents.Document, dict[str, str]]:
    """Export a session as a document that the import accepts, or as Markdown."""
    with db.read_transaction():
        session = sessions.get(g.user_id, session_id)
        if query["format"] == "json":
            headers = check_if_none_match("export", session)
            return documents.export_document(session), headers
        headers = check_if_none_match("markdown", session)
        return markdown.export(session), headers | {"Content-Type": f"{MARKDOWN}; charset=utf-8"}


@blueprint.post("/sessions/import")
@response(schemas.ImportResult, 201)
@other_response(schemas.ImportDryRunResult, 200)
@query(parameters.ImportSession)
@body(schemas.ImportDocument, limit="PARLEY_MAX_IMPORT_BYTES")
@idempotent(lambda session, data, query: import_response(session, data))
def import_session(data: dict[str, Any], query: dict[str, Any]) -> dict[str, Any] | Response:
    """Import an export document as a new session, or only check it."""
    if query["dry_run"]:
        counts = orjson.dumps({"imported_messages": len(data["messages"])}, option=orjson.OPT_APPEND_NEWLINE)
        return Response(counts, mimetype="application/json")
    session = imports.import_session(g.user_id, data["session"], data["messages"], before_commit=remember)
    return import_response(session, data)


def import_response(session: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the response to an import."""
    return {"session": session, "imported_messages": len(data["messages"])}


@blueprint.get("/export")
@runs_in("transfer")
@response(None, 200, NDJSON)
def export_all() -> Response:
    """Export every session of the caller, one document per line; one deleted during the export ends with an `error`."""
    return Response(transfer.export_all(g.user_id), mimetype=NDJSON)


def names_programs(view: Callable[..., Response]) -> Callable[..., Response]:
    """Put the importers' programs into a view's docstring, which is its summary."""
    view.__doc__ = str(view.__doc__).format(programs=importers.NAMES)
    return view


@blueprint.post("/import")
@runs_in("transfer")
@response(schemas.ImportReport)
@query(parameters.ImportAll)
@raw_body("application/json", NDJSON, "application/jsonl", limit="PARLEY_MAX_IMPORT_BYTES")
@names_programs
def import_all(lines: IO[bytes], query: dict[str, Any]) -> Response:
    """Import documents, one per line or array item, exported by {programs}."""
    summary = transfer.ImportSummary()
    listed = tempfile.SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115  # _report closes it
    try:
        for report in transfer.import_lines(g.user_id, lines, query["duplicate"], query["dry_run"]):
            if summary.add(report):
                listed.write(b"," + orjson.dumps(report, option=orjson.OPT_NON_STR_KEYS))
    except BaseException:
        listed.close()
        raise
    return Response(_report(listed, summary), mimetype="application/json")


def _report(listed: IO[bytes], summary: transfer.ImportSummary) -> Iterator[bytes]:
    """Yield the report in parts: an import may have millions of items, which need not fit into memory."""
    with listed:
        yield b'{"sessions":['
        listed.seek(1)  # after the first comma
        while part := listed.read(SPOOLED_BYTES):
            yield part
    rest = {"counts": summary.counts} | ({"not_listed": summary.not_listed} if summary.not_listed else {})
    yield b"]," + orjson.dumps(rest, option=orjson.OPT_APPEND_NEWLINE)[1:]
