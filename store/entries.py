"""The rows that belong to a session (messages, webhook runs): get one by its id, or a page of them as JSON."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

from peewee import SQL, Asc, BooleanField, Case, Desc, Select, fn

from database import Statement, db, param
from errors import NotFound
from json_values import stored_json
from models import Session, SessionEntry, is_long, length
from store import sessions
from store.fields import public

# A session is read in pages of this many entries, so that a long one takes no more memory than a short one.
READ_PAGE_SIZE = 128
# … or fewer, if its long ones have more characters than this together: 60 with 1 MB of metadata each took 0.3 s.
# The others have 2 MB together at most, since each has LONG_ENTRY at most: 7 ms.
MAX_LONG_CHARACTERS = 1_048_576
_MAX_LONG = SQL(str(MAX_LONG_CHARACTERS))


class Direction(NamedTuple):
    """How entries are read in an order: the ``seq`` before all and after all, how they are sorted, which is last."""

    start: int
    end: int
    sorted_by: Callable[[Any], Any]
    is_after: Callable[[Any, Any], Any]
    is_up_to: Callable[[Any, Any], Any]
    last_of: Callable[[Any], Any]


DIRECTIONS = {
    "asc": Direction(0, 2**63 - 1, Asc, operator.gt, operator.le, fn.MAX),
    "desc": Direction(2**63 - 1, 0, Desc, operator.lt, operator.ge, fn.MIN),
}


class Page(NamedTuple):
    """Some of a session's entries, as JSON objects separated by commas.

    ``end`` is the ``seq`` of the last of them, None if there is none, and ``last`` that of the last one to be read.
    """

    items: bytes
    end: int | None
    last: int


class DeletedDuringRead(Exception):
    """A session was deleted while it was being sent: the body is cut short, which its client can detect."""


class EntryStatements(NamedTuple):
    """The queries of an entry by its id, of the newest ``seq``, and of a page: without its session, and with it."""

    get: Statement
    last_seq: Statement
    page: Statement
    session_and_page: dict[str, Statement]


@cache
def _statements(model: Any) -> EntryStatements:
    of_session = model.session == param("session_id")
    return EntryStatements(
        Statement(model.select(*public(model)).where(model.id == param("id"), of_session)),
        Statement(model.select(fn.MAX(model.seq)).where(of_session)),
        Statement(partial(_page, model, DIRECTIONS["asc"], param("session_id"))),
        {order: Statement(partial(_session_and_page, model, direction)) for order, direction in DIRECTIONS.items()},
    )


def _session_and_page(model: Any, direction: Direction) -> Any:
    """Return the query of a session of the user's, the ``seq`` of its last entry in this order, and a page.

    It is one statement, which needs no transaction to see one snapshot: a round trip, where there would be five.
    """
    own = Session.select(Session.id).where(sessions.IS_OWN).cte("own")
    session_id = Select([own], [own.c.id])
    last = model.select(direction.last_of(model.seq)).where(model.session == session_id)
    page = _page(model, direction, session_id).alias("page")
    columns = (*sessions.PUBLIC, last, page.c.items, page.c.last)
    return Session.select(*columns).from_(Session, page).where(Session.id == session_id).with_cte(own)


def _page(model: Any, direction: Direction, session_id: Any) -> Any:
    """Return the query of a page: its entries as JSON objects, joined, and the ``seq`` of the last of them.

    It goes from one long entry to the next, which an index has, until they are too long together: that is the end of
    the page at the latest, so that nothing beyond is read. Most sessions have no long entry.

    All of it is one row: a thread that reads row by row hands over the interpreter lock at each of them, and beside
    a busy thread a page of 50 took 20 ms instead of 2.
    """
    start = Select(columns=[param("after").cast("bigint"), SQL("0")])
    long = start.cte("long", recursive=True, columns=("seq", "characters"))
    entry, next_entry = model.alias("entry"), model.alias("next_entry")

    def is_between(entry: Any, after: Any, last: Any) -> Any:
        return (
            (entry.session == session_id) & direction.is_after(entry.seq, after) & direction.is_up_to(entry.seq, last)
        )

    next_seq = (
        next_entry.select(next_entry.seq)
        .where(is_between(next_entry, long.c.seq, param("last")), is_long(next_entry))
        .order_by(direction.sorted_by(next_entry.seq))
        .limit(1)
    )
    step = (
        Select([long], [entry.seq, long.c.characters + length(entry)])
        .join(entry, on=(entry.session == session_id) & (entry.seq == next_seq))
        .where(long.c.characters < _MAX_LONG)
    )
    long = (start + step).cte("long", recursive=True, columns=("seq", "characters"))
    is_full = fn.MAX(long.c.characters) >= _MAX_LONG
    last = Select([long], [Case(None, [(is_full, direction.last_of(long.c.seq))], param("last"))])
    rows = (
        model.select(model.seq, _item(model).alias("item"))
        .where(is_between(model, param("after"), last))
        .order_by(direction.sorted_by(model.seq))
        .limit(param("limit"))
    )
    columns = db.join_json(rows.c.item).alias("items"), direction.last_of(rows.c.seq).alias("last")
    return rows.select_from(*columns).with_cte(long)


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
    sessions.get(user_id, session_id)
    entry = _statements(model).get.get(id=entry_id, session_id=session_id)
    if entry is None:
        raise NotFound("session")
    return entry | {name: stored_json(entry[name]) for name in model.JSON_FIELDS}


def last_seq(model: type[SessionEntry], session_id: str) -> int:
    """Return the ``seq`` of the newest of a session's entries, 0 if there is none."""
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


def read(
    model: type[SessionEntry],
    user_id: str,
    session_id: str,
    after: int | None = None,
    limit: int = READ_PAGE_SIZE,
    order: str = "asc",
) -> tuple[dict[str, Any], Page]:
    """Return a session of the user's, and a page of its entries.

    The page has those behind the ``seq`` of ``after``, ``limit`` at most, and fewer if they are long.

    Raises:
        NotFound: there is no such session of the user's.

    """
    direction, statement = DIRECTIONS[order], _statements(model).session_and_page[order]
    after = direction.start if after is None else after
    values = {"id": session_id, "user_id": user_id, "after": after, "last": direction.end, "limit": limit}
    row = statement.execute(**values).fetchone()
    if row is None:
        raise NotFound("session")
    *_, last, items, end = row
    return statement.to_dict(row), Page(_to_bytes(items), end, last or 0)


def read_more(model: type[SessionEntry], session_id: str, after: int, last: int) -> Page:
    """Return a page of a session's entries behind the ``seq`` of ``after`` up to ``last``, oldest first.

    A page that ends before ``last`` is followed by another one. If it is empty, its rows have been deleted.
    """
    values = {"session_id": session_id, "after": after, "last": last, "limit": READ_PAGE_SIZE}
    items, end = _statements(model).page.execute(**values).fetchone()
    return Page(_to_bytes(items), end, last)


def _to_bytes(items: bytes | str | None) -> bytes:
    return items.encode() if isinstance(items, str) else items or b""
