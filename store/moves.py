"""Moves of sessions are forgotten after a day, in small steps beside the writers."""

from __future__ import annotations

import time

from peewee import fn

from database import Compiled, db, param
from models import Move
from values import ago

MOVE_HOURS = 24
STEP_ROWS = 256
PAUSE_SECONDS = 0.02

_next_user = Compiled(lambda: Move.select(fn.MIN(Move.user_id)).where(Move.user_id > param("user_id")))
_oldest = Compiled(
    lambda: (
        Move.select(Move.seq, Move.new_updated_at)
        .where(Move.user_id == param("user_id"))
        .order_by(Move.seq)
        .limit(STEP_ROWS + 1)
    )
)
_delete = Compiled(lambda: Move.delete().where(Move.user_id == param("user_id"), Move.seq <= param("seq")))


def delete_old(hours: float = MOVE_HOURS) -> None:
    """Delete the moves of all users that are older than so many hours, but for each user's newest."""
    before, user_id = ago(hours=hours), ""
    while user_id := _next_user(user_id=user_id).fetchone()[0]:
        while (seq := _last_old(user_id, before)) is not None:
            with db.writing(lasting=False, frees=True):
                _delete(user_id=user_id, seq=seq)
            time.sleep(PAUSE_SECONDS)


def delete_some(user_id: str) -> bool:
    """Delete some of a removed user's moves, within the caller's transaction; return whether there were any."""
    rows = _oldest(user_id=user_id).fetchall()
    if rows:
        _delete(user_id=user_id, seq=rows[-1][0])
    return bool(rows)


def _last_old(user_id: str, before: str) -> int | None:
    """Return the last of the oldest moves that are to go, if there are any."""
    rows = _oldest(user_id=user_id).fetchall()
    old = None
    for seq, moved_at in rows[:-1]:
        if moved_at >= before:
            break
        old = seq
    return old
