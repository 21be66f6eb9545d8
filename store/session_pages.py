"""The list of a user's sessions in pages that contain each session once, whatever is updated between two pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from peewee import Tuple

from database import Statement, db, param
from errors import ApiError
from models import Move, Session
from store import moves
from store.sessions import PUBLIC, owned

# About how many characters a page has at most: a system prompt may have 8,000, and 200 of them took 80 ms.
MAX_PAGE_CHARACTERS = 500_000
# About how many characters the fields of a session have without its system prompt.
SESSION_CHARACTERS = 200
# A page reads through at most this many moves, which takes 4 ms.
MAX_MOVES_PER_PAGE = 20_000
FIRST = ("~", "", "")  # sorts after every session
_SYSTEM_PROMPT = Session.PUBLIC_FIELDS.index("system_prompt")


class SessionCursor(NamedTuple):
    """The end of a page: the position of its last session in the list's order, and the last move included."""

    after: Sequence[str]
    last_move: int


class CursorExpired(ApiError):
    """The moves since the previous page have been deleted."""

    def __init__(self) -> None:
        super().__init__("validation_error", {"cursor": ["Too old: start again with the first page."]})


def _position(updated_at: Any = Session.updated_at) -> Any:
    return Tuple(updated_at, Session.created_at, Session.id)


_CURSOR_POSITION = Tuple(param("updated_at"), param("created_at"), param("id"))

# With the user's last move, so that a first page and its cursor come from one statement.
LIST_AFTER = Statement(
    Session.select(*PUBLIC, moves.LAST_OF_USER)
    .where(owned(_position() < _CURSOR_POSITION))
    .order_by(Session.updated_at.desc(), Session.created_at.desc(), Session.id.desc())
    .limit(param("limit"))
)
MOVED_PAST = Statement(
    Session.select(*PUBLIC, Move.seq)
    .join(Move, on=(Move.session_id == Session.id))
    .where(
        Move.user_id == param("user_id"),
        Move.seq > param("seq"),
        Move.seq <= param("last_seq"),
        Move.old_updated_at <= param("updated_at"),  # follows from the next, but needs the move alone
        _position(Move.old_updated_at) < _CURSOR_POSITION,
        _position(Move.new_updated_at) >= _CURSOR_POSITION,
        owned(),
    )
    .order_by(Move.seq)
    .limit(param("limit"))
)


def list_page(
    user_id: str, limit: int, cursor: SessionCursor | None, max_characters: int = MAX_PAGE_CHARACTERS
) -> tuple[list[dict[str, Any]], SessionCursor | None]:
    """Return a page of the user's sessions and the cursor of the next page, None if it is the last one.

    The pages together contain every session that existed at the first page and still exists, once.
    They go down the list. A session only ever moves up, so it passes the cursor's position at most
    once, and its move is stored: those that have passed it since the previous page come first. After
    very many moves a page may be shorter than the limit although there is a next one.

    Raises:
        CursorExpired: moves since the previous page have been deleted.

    """
    after = cursor.after if cursor else FIRST
    position = {"user_id": user_id} | dict(zip(("updated_at", "created_at", "id"), after, strict=True))
    if cursor is None:  # one statement, which needs no transaction
        rows, _, more = _read(LIST_AFTER, limit, max_characters, **position)
        items = [LIST_AFTER.to_dict(row) for row in rows]
        return items, SessionCursor(_sort_key(items[-1]), rows[-1][-1] or 0) if more else None
    with db.read_transaction():
        first_move, last_move = moves.seq_range(user_id)
        if cursor.last_move < first_move - 1:
            raise CursorExpired
        seq_range = {"seq": cursor.last_move, "last_seq": min(last_move, cursor.last_move + MAX_MOVES_PER_PAGE)}
        rows, max_characters, more = _read(MOVED_PAST, limit, max_characters, **seq_range, **position)
        moved = sorted(map(LIST_AFTER.to_dict, rows), key=_sort_key, reverse=True)
        if more:
            return moved, SessionCursor(after, rows[-1][-1])
        if seq_range["last_seq"] < last_move:
            return moved, SessionCursor(after, seq_range["last_seq"])
        rows, _, more = _read(LIST_AFTER, limit - len(moved), max_characters, **position)
    items = [LIST_AFTER.to_dict(row) for row in rows]
    return moved + items, SessionCursor(_sort_key(items[-1]) if items else after, last_move) if more else None


def _sort_key(session: dict[str, Any]) -> tuple[str, str, str]:
    return session["updated_at"], session["created_at"], session["id"]


def _read(
    statement: Statement, limit: int, max_characters: int, **values: Any
) -> tuple[list[tuple[Any, ...]], int, bool]:
    """Read rows of sessions up to a limit; return them, the characters that remain, and whether there are more rows."""
    rows: list[tuple[Any, ...]] = []
    more = False
    cursor = statement.execute(limit=limit + 1, **values)
    for row in cursor:
        more = len(rows) == limit or max_characters <= 0
        if more:
            break
        rows.append(row)
        max_characters -= SESSION_CHARACTERS + len(row[_SYSTEM_PROMPT] or "")
    cursor.close()
    return rows, max_characters, more
