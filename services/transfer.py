"""All of a user's sessions out, and in again: one document a line, and each line a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Any

import peewee
from marshmallow import ValidationError

import errors
from errors import ApiError, Missing
from models import AlreadyImported, PageState, Session
from schemas import BLANK, ImportDocument, NewSystemPrompt
from services import documents, importers
from values import PAGE_LENGTH, parse_json

MOST_REFUSED = 1_000
TOO_MANY = {"_schema": ["So many were refused that this and what follows were not looked at."]}
DOCUMENT = ImportDocument()
SYSTEM_PROMPT = NewSystemPrompt()


def export_all(user_id: str) -> Iterator[bytes]:
    """Yield the export document of each of the user's sessions, as lines (https://github.com/ndjson/ndjson-spec)."""
    place: PageState | None = None
    while True:
        sessions, place = Session.page(user_id, PAGE_LENGTH[1], place)
        for session in sessions:
            try:
                document = documents.export(user_id, session["id"])
            except Missing:  # deleted meanwhile
                continue
            yield from [document + b"\n"] if isinstance(document, bytes) else chain(document, [b"\n"])
        if place is None:
            return


def take_in(user_id: str, lines: IO[bytes], duplicate: bool) -> Iterator[dict[str, Any]]:
    """Import what a file has, and yield a report of each of its items.

    Where not ``duplicate``, what the user has already is skipped: a session with the document's
    own id, or one that was imported from it.
    """
    refused = 0
    for number, item in _items(lines):
        if refused == MOST_REFUSED:
            yield {"line": number, "status": "refused", "error": "validation_error", "details": TOO_MANY}
            return
        report = _report(user_id, item, duplicate)
        refused += report["status"] == "refused"
        yield {"line": number} | report


def _items(lines: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """Yield each item with its line, or its number where all are in one array: JSON, or what is wrong with it."""
    first = lines.readline().removeprefix(b"\xef\xbb\xbf")
    rest: Iterable[bytes] = iter(lines.readline, b"")
    if not isinstance(_parsed(first), dict):
        whole = first + lines.read()
        document = _parsed(whole)
        if not isinstance(document, ApiError):
            yield from enumerate(document if isinstance(document, list) else [document], 1)
            return
        first, *rest = whole.split(b"\n")
    for number, line in enumerate(chain([first], rest), 1):
        if line.strip():
            yield number, _parsed(line)


def _parsed(text: bytes) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return ApiError("invalid_json")


def _report(user_id: str, item: Any, duplicate: bool) -> dict[str, Any]:
    left_out: dict[str, Any] = {}
    try:
        if isinstance(item, ApiError):
            raise item
        conversation = importers.converted(item)
        left_out = {"left_out": dict(conversation.left_out)} if conversation.left_out else {}
        session = _imported(user_id, conversation, duplicate)
    except AlreadyImported as known:
        return {"status": "skipped", "session_id": known.session_id}
    except ApiError as error:
        details = {} if error.details is None else {"details": error.details}
        return {"status": "refused", "error": error.code} | details | left_out
    except peewee.PeeweeException as error:
        code = errors.database_code(error)
        if code == "internal_error":
            raise
        return {"status": "refused", "error": code}
    return {"status": "imported", "session_id": session["id"]} | left_out


def _imported(user_id: str, conversation: importers.Conversation, duplicate: bool) -> dict[str, Any]:
    try:
        data = DOCUMENT.load(conversation.document)
        prompt = SYSTEM_PROMPT.load({"system_prompt": conversation.system_prompt})["system_prompt"]
    except ValidationError as error:
        raise ApiError("validation_error", _located(error.messages_dict, conversation.paths)) from None
    prompt = prompt if prompt and prompt.strip(BLANK) else None
    return Session.take_in(user_id, data["session"], data["messages"], prompt=prompt, once=not duplicate)


def _located(problems: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """Name the messages by where they stand in what was given."""
    found = problems.get("messages")
    if not isinstance(found, dict):
        return problems
    located = {paths[index] if paths else str(index): value for index, value in found.items()}
    rest = {key: value for key, value in problems.items() if key != "messages"}
    return rest | (located if paths else {"messages": located})
