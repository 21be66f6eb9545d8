"""Bulk export and import of a user's sessions: one document a line, and each line a transaction of its own."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

import orjson
import peewee
from marshmallow import ValidationError

import database
import jsonstream
from database import db
from errors import ApiError, NotFound
from fields import MessageRow
from limits import MAX_PAGE_SIZE, MAX_TITLE_LENGTH
from schemas import ImportDocument, SetSystemPrompt
from services import documents, importers
from store import imports, session_pages
from store.entries import DeletedDuringRead
from store.imports import AlreadyImported
from store.session_pages import SessionCursor

MAX_LISTED_REFUSED = 1_000  # refused items whose reports are listed; the others are only counted
UNLISTED_REPORT = {"status": "refused", "error": "validation_error"}
DOCUMENT = ImportDocument()
SYSTEM_PROMPT = SetSystemPrompt()

Create = Callable[[dict[str, Any], Sequence[MessageRow]], str | None]
"""Creates a session with messages and returns its id, if it has one; raises AlreadyImported."""


def export_all(user_id: str) -> Iterator[bytes]:
    """Yield the export document of each of the user's sessions, as lines (https://github.com/ndjson/ndjson-spec)."""
    cursor: SessionCursor | None = None
    while True:
        db.ensure_connection()  # after each piece it may go on in another thread
        items, cursor = session_pages.list_page(user_id, MAX_PAGE_SIZE, cursor)
        for item in items:
            db.ensure_connection()
            try:
                _, document = documents.export_document(user_id, item["id"])
            except NotFound:  # deleted since the page was read
                continue
            yield from [document + b"\n"] if isinstance(document, bytes) else _document_line(document)
        if cursor is None:
            return


def _document_line(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a long document and the end of its line.

    If its session is deleted while it is sent, the pieces already sent cannot be taken back: the document
    ends with an ``error``, which the import rejects, so that the lines after it can still be read.
    """
    try:
        yield from pieces
    except DeletedDuringRead:
        yield b'],"error":"session_not_found"}'
    yield b"\n"


@dataclass
class ImportSummary:
    """Counts the items of an import by their status, and what was left out of them."""

    counts: Counter[str] = field(default_factory=lambda: Counter({"imported": 0, "skipped": 0, "refused": 0}))
    left_out: Counter[str] = field(default_factory=Counter)
    not_listed: int = 0

    def add(self, report: dict[str, Any]) -> bool:
        """Count an item, and return whether to list its report: of refused items, only the first are listed."""
        status = report["status"]
        self.counts[status] += 1
        if status == "refused" and self.counts[status] > MAX_LISTED_REFUSED:
            self.not_listed += 1
            return False
        self.left_out.update(report.get("left_out", {}))
        return True

    def totals(self) -> dict[str, Any]:
        """Return the end of the report: the counts, and how many refused items are not listed, if any."""
        return {"counts": self.counts} | ({"not_listed": self.not_listed} if self.not_listed else {})


def import_lines(user_id: str, file: IO[bytes], duplicate: bool, dry_run: bool = False) -> Iterator[dict[str, Any]]:
    """Import the items of a file, and yield a report of each: its line, its status and what became of it.

    Unless ``duplicate``, what the user has already is skipped: a session with the document's own id,
    or one that was imported from it, or from one with the same content if it has no id. A
    ``dry_run`` writes nothing, and its reports are the same but for the ids of new sessions.
    """
    create: Create = _DryRun(user_id, duplicate).create if dry_run else partial(_create, user_id, duplicate)
    refused = 0
    with jsonstream.seekable(file) as lines:
        for number, item in jsonstream.items(lines, DOCUMENT.compact):
            if refused >= MAX_LISTED_REFUSED and not isinstance(item, dict):
                yield UNLISTED_REPORT  # there may be millions of these
                continue
            db.ensure_connection()  # after each report it may go on in another thread
            report = _import_item(item, create)
            refused += report["status"] == "refused"
            yield {"line": number} | report


def _import_item(item: Any, create: Create) -> dict[str, Any]:
    """Import an item, an ApiError if it is not JSON, and return its report."""
    summary: dict[str, Any] = {}
    left_out: Counter[str] = Counter()
    try:
        if isinstance(item, ApiError):
            raise item
        conversation = importers.convert(item)
        summary, left_out = _summary(conversation.document), conversation.left_out
        session_id = create(*_load(conversation))
    except AlreadyImported as known:
        return _report("skipped", summary, session_id=known.session_id or None)
    except ApiError as error:
        return _report("refused", summary, error=error.code, details=error.details, left_out=dict(left_out) or None)
    except peewee.PeeweeException as error:
        code = database.error_code(error)
        if code == "internal_error":
            raise
        return _report("refused", summary, error=code)
    return _report("imported", summary, session_id=session_id, left_out=dict(left_out) or None)


def _report(status: str, summary: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"status": status} | {name: value for name, value in (summary | fields).items() if value is not None}


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    """Return by what people recognize a conversation, as far as it has that: it has not been validated."""
    session, messages = document.get("session"), document.get("messages")
    title = session.get("title") if isinstance(session, dict) else None
    title = title[:MAX_TITLE_LENGTH] or None if isinstance(title, str) else None
    return {"title": title, "messages": len(messages) if isinstance(messages, list) else None}


def _load(conversation: importers.ConvertedConversation) -> tuple[dict[str, Any], Sequence[MessageRow]]:
    """Return the fields of a conversation's session, and its messages.

    Raises:
        ApiError: ``validation_error`` or ``unsupported_version``.

    """
    try:
        document = DOCUMENT.load(conversation.document)
        document["session"] |= SYSTEM_PROMPT.load({"system_prompt": conversation.system_prompt})
    except ValidationError as error:
        raise ApiError("validation_error", _with_source_paths(error.messages_dict, conversation.paths)) from None
    session, messages = document["session"], document["messages"]
    session["external_id"] = session["external_id"] or _content_digest(session["title"], messages)
    return session, messages


def _create(user_id: str, duplicate: bool, session: dict[str, Any], messages: Sequence[MessageRow]) -> str:
    session_id: str = imports.import_session(user_id, session, messages, skip_known=not duplicate)["id"]
    return session_id


class _DryRun:
    """Determines what an import would create; records it, since a file may have a conversation twice."""

    def __init__(self, user_id: str, duplicate: bool):
        self._user_id = user_id
        self._duplicate = duplicate
        self._external_ids: set[str] = set()

    def create(self, session: dict[str, Any], messages: Sequence[MessageRow]) -> None:
        """Record a session instead of creating it.

        Raises:
            AlreadyImported: if the import would skip it.

        """
        external_id = session["external_id"]
        if not self._duplicate:
            known = imports.find_imported(self._user_id, external_id)
            if known or external_id in self._external_ids:
                raise AlreadyImported(known or "")
        self._external_ids.add(external_id)


def _content_digest(title: str | None, messages: Sequence[MessageRow]) -> str:
    """Return the external id of a conversation that has none: a digest of its content."""
    digest = hashlib.sha256(orjson.dumps(title))
    for role, content, metadata, created_at in messages:
        if metadata != "{}":
            metadata = json.dumps(json.loads(metadata), sort_keys=True)
        digest.update(orjson.dumps([role, content, metadata, created_at]))
    return f"sha256:{digest.hexdigest()}"


def _with_source_paths(errors: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """Return validation errors with the messages' paths in the imported item instead of their indexes."""
    by_index = errors.get("messages")
    if not isinstance(by_index, dict):
        return errors
    by_path = {paths[index] if paths else str(index): value for index, value in by_index.items()}
    rest = {key: value for key, value in errors.items() if key != "messages"}
    return rest | (by_path if paths else {"messages": by_path})
