"""The rows that belong to a session (messages, webhook runs): get one by its id, or a page of them as JSON."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from peewee import BooleanField, Case, fn

from database import Statement, db, param
from errors import NotFound
from json_values import stored_json
from models import SessionEntry
from store import sessions
from store.fields import public

# A session is read in pages of this many messages, so that a long one takes no more memory than a short one.
READ_PAGE_SIZE = 128


class DeletedDuringRead(Exception):
    """A session was deleted while it was being sent: the body is cut short, which its client can detect."""


class EntryStatements(NamedTuple):
    """The queries of an entry by its id, of the last ``seq``, and of a page."""

    get: Statement
    last_seq: Statement
    page: Statement


@cache
def _statements(model: Any) -> EntryStatements:
    of_session = model.session == param("session_id")
    fields = [model.seq, *public(model)]
    one = model.select(*public(model)).where(model.id == param("id"), of_session)
    last = model.select(fn.MAX(model.seq)).where(of_session)
    json_fields = [*model.JSON_FIELDS, *(field.name for field in fields if isinstance(field, BooleanField))]
    page = (
        model.select(*(_as_json(field).alias(field.column_name) for field in fields))
        .where(of_session, (model.seq > param("after")) & (model.seq <= param("last")))
        .order_by(model.seq)
        .limit(param("limit"))
    )
    return EntryStatements(
        Statement(one),
        Statement(last),
        Statement(lambda: db.json_page(page, model.PUBLIC_FIELDS, json_fields)),
    )


def _as_json(field: Any) -> Any:
    """Return a field; for a boolean, which is a number to some engines, its JSON."""
    return Case(None, [(field, "true")], "false") if isinstance(field, BooleanField) else field


def get(model: type[SessionEntry], user_id: str, session_id: str, entry_id: str) -> dict[str, Any]:
    """Return an entry of a session of the user's as the API does.

    Raises:
        NotFound: there is no such session of the user's, or it has no such entry.

    """
    with db.read_transaction():
        sessions.get(user_id, session_id)
        entry = _statements(model).get.get(id=entry_id, session_id=session_id)
    if entry is None:
        raise NotFound("session")
    return entry | {name: stored_json(entry[name]) for name in model.JSON_FIELDS}


def last_seq(model: type[SessionEntry], session_id: str) -> int:
    """Return the ``seq`` of the session's newest entry, 0 if there is none."""
    return _statements(model).last_seq.execute(session_id=session_id).fetchone()[0] or 0


def newer_seq(model: type[SessionEntry], session_id: str, last: int) -> int:
    """Return the ``seq`` of the newest entry, if the one that was the ``last`` at the start of a read is gone.

    A newer entry has replaced it then, and the read goes on up to that.

    Raises:
        DeletedDuringRead: there is no newer one, so the session has been deleted.

    """
    newest = last_seq(model, session_id)
    if newest <= last:
        raise DeletedDuringRead
    return newest


def json_page(
    model: type[SessionEntry], session_id: str, after: int, last: int, limit: int = READ_PAGE_SIZE
) -> tuple[bytes, int]:
    """Return some of the entries with ``after < seq <= last`` as JSON, and the ``seq`` of the last of them.

    The JSON is the objects, separated by commas. A page that ends before ``last`` is followed by
    another; one that ends at ``after`` is empty, because its rows have been deleted.
    """
    page = _statements(model).page.execute(session_id=session_id, after=after, last=last, limit=limit)
    end, items = page.fetchone()
    return items or b"", end or after
