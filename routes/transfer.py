"""Export and import, of one session and of all sessions of a user."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import IO, Any

import orjson
from flask import Blueprint, Response, g

import database
import schemas
from errors import error_body, log
from services import documents, importers, markdown, transfer
from store import imports
from web import parameters
from web.decorators import body, conditional, inline, other_response, query, raw_body, response, runs_in
from web.etags import read_document
from web.idempotency import idempotent, remember
from web.negotiation import preferred_type

JSON, MARKDOWN, NDJSON = "application/json", "text/markdown", "application/x-ndjson"
LINES_INTERVAL = 0.05  # seconds for which the lines of a report are collected
SPOOLED_BYTES = 262_144  # of a report that are in memory

blueprint = Blueprint("transfer", __name__, url_prefix="/api")


@blueprint.get("/sessions/<session_id>/export")
@inline
@conditional("If-None-Match")
@response(schemas.ExportDocument, 200, MARKDOWN)
@query(parameters.ExportSession)
def export_session(query: dict[str, Any], session_id: str) -> tuple[documents.Document, dict[str, str]]:
    """Export a session as a document that the import accepts, or as Markdown."""
    if query["format"] == "json":
        return read_document("export", session_id, documents.export_document)
    document, headers = read_document("markdown", session_id, markdown.export)
    return document, headers | {"Content-Type": f"{MARKDOWN}; charset=utf-8"}


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
        return Response(counts, mimetype=JSON)
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
@response(schemas.ImportReport, 200, NDJSON)
@query(parameters.ImportAll)
@raw_body(JSON, NDJSON, "application/jsonl", limit="PARLEY_MAX_IMPORT_BYTES")
@names_programs
def import_all(lines: IO[bytes], query: dict[str, Any]) -> Response:
    """Import documents, one per line or array item, exported by {programs}."""
    reports = transfer.import_lines(g.user_id, lines, query["duplicate"], query["dry_run"])
    if preferred_type(JSON, NDJSON) == NDJSON:
        first = [*islice(reports, 1)]  # what goes wrong before it is an error like any other
        return Response(report_lines(chain(first, reports), g.request_id), mimetype=NDJSON)
    return Response(whole_report(reports), mimetype=JSON)


def report_lines(reports: Iterator[dict[str, Any]], request_id: str) -> Iterator[bytes]:
    """Yield the report of each item, as it is imported, and the counts; or the error that has ended the import.

    A client that reads slowly pauses the import between two items, and one that leaves ends it there. Lines that come
    quickly are sent together: one at a time, 6,000 of them took a browser five seconds.
    """
    summary = transfer.ImportSummary()
    lines: list[bytes] = []
    sent_at = 0.0
    try:
        for report in reports:
            if summary.add(report):
                lines.append(dump(report) + b"\n")
            if lines and time.monotonic() - sent_at > LINES_INTERVAL:
                yield b"".join(lines)
                lines.clear()
                sent_at = time.monotonic()
        yield b"".join([*lines, dump(summary.totals()), b"\n"])
    except Exception as error:  # the response has begun: it has its status
        code = database.error_code(error)
        if code == "internal_error":
            log.error("internal error", exc_info=error, extra={"fields": {"request_id": request_id}})
        yield b"".join([*lines, error_body(code)])


def whole_report(reports: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Import all items, and return their report as an object, in parts: millions of items need not fit into memory."""
    summary = transfer.ImportSummary()
    listed = tempfile.SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115  # _report_parts closes it
    try:
        for report in reports:
            if summary.add(report):
                listed.write(b"," + dump(report))
    except BaseException:
        listed.close()
        raise
    return _report_parts(listed, summary)


def _report_parts(listed: IO[bytes], summary: transfer.ImportSummary) -> Iterator[bytes]:
    with listed:
        yield b'{"sessions":['
        listed.seek(1)  # after the first comma
        while part := listed.read(SPOOLED_BYTES):
            yield part
    yield b"]," + dump(summary.totals())[1:] + b"\n"


def dump(report: dict[str, Any]) -> bytes:
    """Return a part of a report as JSON; errors of a list are keyed by index."""
    return orjson.dumps(report, option=orjson.OPT_NON_STR_KEYS)
