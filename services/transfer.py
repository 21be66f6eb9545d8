"""All of a user's sessions out, and in again: one document a line, and each line a transaction of its own."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import orjson
import peewee
from marshmallow import ValidationError

import database
import jsonstream
from database import db
from errors import ApiError, NotFound
from limits import MAX_PAGE_SIZE
from schemas import ImportDocument, MessageRow, SetSystemPrompt
from services import documents, importers
from store import imports, session_pages, sessions
from store.entries import DeletedDuringRead
from store.imports import AlreadyImported
from store.session_pages import SessionCursor

MAX_LISTED_REFUSED = 1_000  # that are told of one by one
REFUSED = {"status": "refused", "error": "validation_error"}
DOCUMENT = ImportDocument()
SYSTEM_PROMPT = SetSystemPrompt()


def export_all(user_id: str) -> Iterator[bytes]:
    """Yield the export document of each of the user's sessions, as lines (https://github.com/ndjson/ndjson-spec)."""
    cursor: SessionCursor | None = None
    while True:
        db.ensure_connection()  # after each piece it may go on in another thread
        items, cursor = session_pages.list_page(user_id, MAX_PAGE_SIZE, cursor)
        for item in items:
            db.ensure_connection()
            try:
                with db.read_transaction():
                    document = documents.export_document(sessions.get(user_id, item["id"]))
            except NotFound:  # deleted meanwhile
                continue
            yield from [document + b"\n"] if isinstance(document, bytes) else _line(document)
        if cursor is None:
            return


def _line(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a long document and the end of its line.

    If its session is deleted meanwhile, what was sent cannot be taken back: it is closed with an
    ``error``, which the import refuses, so that the lines after it are still to be had.
    """
    try:
        yield from pieces
    except DeletedDuringRead:
        yield b'],"error":"session_not_found"}'
    yield b"\n"


@dataclass
class Summary:
    """What became of the items of an import, in numbers."""

    counts: Counter[str] = field(default_factory=lambda: Counter({"imported": 0, "skipped": 0, "refused": 0}))
    left_out: Counter[str] = field(default_factory=Counter)
    not_listed: int = 0

    def add(self, report: dict[str, Any]) -> bool:
        """Count an item, and return whether its report is to be listed: of those refused, only the first are."""
        status = report["status"]
        self.counts[status] += 1
        if status == "refused" and self.counts[status] > MAX_LISTED_REFUSED:
            self.not_listed += 1
            return False
        self.left_out.update(report.get("left_out", {}))
        return True


def import_lines(user_id: str, file: IO[bytes], duplicate: bool, dry_run: bool = False) -> Iterator[dict[str, Any]]:
    """Import what a file has, and yield a report of each of its items.

    Unless ``duplicate``, what the user has already is skipped: a session with the document's own id,
    or one that was imported from it, or from one with the same content if it has no id. A
    ``dry_run`` writes nothing, and its reports are the same but for the ids of new sessions.
    """
    refused = 0
    rehearsed: set[str] | None = set() if dry_run else None
    with jsonstream.seekable(file) as lines:
        for number, item in jsonstream.items(lines, DOCUMENT.compact):
            if refused >= MAX_LISTED_REFUSED and not isinstance(item, dict):
                yield REFUSED  # there may be millions of these
                continue
            report = _import_item(user_id, item, duplicate, rehearsed)
            refused += report["status"] == "refused"
            yield {"line": number} | report


def _import_item(user_id: str, item: Any, duplicate: bool, rehearsed: set[str] | None) -> dict[str, Any]:
    left_out: dict[str, Any] = {}
    try:
        if isinstance(item, ApiError):
            raise item
        conversation = importers.convert(item)
        left_out = {"left_out": dict(conversation.left_out)} if conversation.left_out else {}
        made = _import_conversation(user_id, conversation, duplicate, rehearsed)
    except AlreadyImported as known:
        return {"status": "skipped"} | ({"session_id": known.session_id} if known.session_id else {})
    except ApiError as error:
        details = {} if error.details is None else {"details": error.details}
        return {"status": "refused", "error": error.code} | details | left_out
    except peewee.PeeweeException as error:
        code = database.error_code(error)
        if code == "internal_error":
            raise
        return {"status": "refused", "error": code}
    return {"status": "imported"} | made | left_out


def _import_conversation(
    user_id: str, conversation: importers.ConvertedConversation, duplicate: bool, rehearsed: set[str] | None
) -> dict[str, Any]:
    """Import a conversation, or rehearse that, and return the id of the session if there is one."""
    try:
        data = DOCUMENT.load(conversation.document)
        data["session"] |= SYSTEM_PROMPT.load({"system_prompt": conversation.system_prompt})
    except ValidationError as error:
        raise ApiError("validation_error", _with_source_paths(error.messages_dict, conversation.paths)) from None
    session, messages = data["session"], data["messages"]
    session["external_id"] = external_id = session["external_id"] or digest(session["title"], messages)
    if rehearsed is not None:
        known = None if duplicate else imports.find_imported(user_id, external_id)
        if known or (external_id in rehearsed and not duplicate):
            raise AlreadyImported(known or "")
        rehearsed.add(external_id)
        return {}
    return {"session_id": imports.import_session(user_id, session, messages, skip_known=not duplicate)["id"]}


def digest(title: str | None, messages: Sequence[MessageRow]) -> str:
    """Return what a conversation without an id is known by: a digest of its content."""
    hashed = hashlib.sha256(orjson.dumps(title))
    for role, content, metadata, moment in messages:
        if metadata != "{}":
            metadata = json.dumps(json.loads(metadata), sort_keys=True)
        hashed.update(orjson.dumps([role, content, metadata, moment]))
    return f"sha256:{hashed.hexdigest()}"


def _with_source_paths(problems: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """Name the messages by where they stand in what was given."""
    found = problems.get("messages")
    if not isinstance(found, dict):
        return problems
    located = {paths[index] if paths else str(index): value for index, value in found.items()}
    rest = {key: value for key, value in problems.items() if key != "messages"}
    return rest | (located if paths else {"messages": located})
