"""The rows that belong to a session (messages, webhook runs): get one by its id, or a page of them as JSON."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

from peewee import Asc, BooleanField, Case, Desc, fn

from database import Statement, db, param
from errors import NotFound
from json_values import stored_json
from models import SessionEntry
from store import sessions
from store.fields import public

# A session is read in pages of this many messages, so that a long one takes no more memory than a short one.
READ_PAGE_SIZE = 128
# … or fewer, if they have more characters than this together: 60 with 1 MB of metadata each took 0.3 s.
MAX_PAGE_CHARACTERS = 1_048_576


class Direction(NamedTuple):
    """How entries are read in an order: from which ``seq``, how they are sorted, and which is the last one."""

    start: int
    sorted_by: Callable[[Any], Any]
    is_after: Callable[[Any, Any], Any]
    is_up_to: Callable[[Any, Any], Any]
    last_of: Callable[[Any], Any]


DIRECTIONS = {
    "asc": Direction(0, Asc, operator.gt, operator.le, fn.MAX),
    "desc": Direction(2**63 - 1, Desc, operator.lt, operator.ge, fn.MIN),
}


class DeletedDuringRead(Exception):
    """A session was deleted while it was being sent: the body is cut short, which its client can detect."""


class EntryStatements(NamedTuple):
    """The queries of an entry by its id, and in each order: of the last ``seq``, and of a page."""

    get: Statement
    last_seq: dict[str, Statement]
    page: dict[str, Statement]


@cache
def _statements(model: Any) -> EntryStatements:
    of_session = model.session == param("session_id")
    return EntryStatements(
        Statement(model.select(*public(model)).where(model.id == param("id"), of_session)),
        {
            order: Statement(model.select(direction.last_of(model.seq)).where(of_session))
            for order, direction in DIRECTIONS.items()
        },
        {order: Statement(partial(_page, model, direction)) for order, direction in DIRECTIONS.items()},
    )


def _page(model: Any, direction: Direction) -> Any:
    """Return the query of a page: the ``seq`` of its last entry, and its entries as JSON objects, as bytes.

    It steps from entry to entry and adds up their sizes, so that it reads none beyond the page. All of it is one row:
    a thread that reads row by row hands over the interpreter lock at each of them, and beside a busy thread a page
    of 50 took 20 ms instead of 2.
    """
    rows = (
        model.select(model.seq, _item(model).alias("item"))
        .where(
            model.session == param("session_id"),
            direction.is_after(model.seq, param("after")),
            direction.is_up_to(model.seq, param("last")),
        )
        .order_by(direction.sorted_by(model.seq))
        .limit(param("limit"))
    )
    return rows.select_from(fn.coalesce(direction.last_of(rows.c.seq), param("after")), db.join_json(rows.c.item))


def _item(model: Any) -> Any:
    """Return the expression of an entry as a JSON object."""
    fields = {name: getattr(model, name) for name in model.PUBLIC_FIELDS}
    booleans = [name for name, field in fields.items() if isinstance(field, BooleanField)]
    values = {name: _as_json(field) for name, field in fields.items()}
    return db.to_json(values, [*model.JSON_FIELDS, *booleans])


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


def last_seq(model: type[SessionEntry], session_id: str, order: str = "asc") -> int:
    """Return the ``seq`` of the last of a session's entries in this order, 0 if there is none."""
    return _statements(model).last_seq[order].execute(session_id=session_id).fetchone()[0] or 0


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
    model: type[SessionEntry],
    session_id: str,
    after: int | None,
    last: int,
    limit: int = READ_PAGE_SIZE,
    order: str = "asc",
) -> tuple[bytes, int]:
    """Return some of the entries behind the ``seq`` of ``after`` up to ``last``, as JSON, and the ``seq`` of the last.

    The JSON is the objects, separated by commas. A page that ends before ``last`` is followed by
    another; one that ends at ``after`` is empty, because its rows have been deleted. It has ``limit``
    entries at most, and fewer if they are long.
    """
    after = DIRECTIONS[order].start if after is None else after
    page = _statements(model).page[order].execute(session_id=session_id, after=after, last=last, limit=limit)
    end, items = page.fetchone()
    return (items.encode() if isinstance(items, str) else items or b""), end
