"""Moves of sessions in their owners' lists. They are deleted after a day, in small steps beside the writers."""

from __future__ import annotations

from functools import partial

from peewee import Select, fn

import timestamps
from database import Statement, db, param
from models import Move
from store.expiry import BATCH_ROWS, delete_batches

TTL_HOURS = 24

_OF_USER = Move.user_id == param("user_id")

LAST_OF_USER = Move.select(fn.MAX(Move.seq)).where(_OF_USER)
SEQ_RANGE = Statement(Select(columns=[Move.select(fn.MIN(Move.seq)).where(_OF_USER), LAST_OF_USER]).bind(db))
NEXT_USER = Statement(Move.select(fn.MIN(Move.user_id)).where(Move.user_id > param("user_id")))
OLDEST = Statement(Move.select(Move.seq, Move.new_updated_at).where(_OF_USER).order_by(Move.seq).limit(BATCH_ROWS + 1))
DELETE = Statement(Move.delete().where(_OF_USER, Move.seq <= param("end")))


def seq_range(user_id: str) -> tuple[int, int]:
    """Return the ``seq`` of a user's oldest move, and of the newest, 0 if there is none."""
    first, last = SEQ_RANGE.execute(user_id=user_id).fetchone()
    return first or 0, last or 0


def delete_old(hours: float = TTL_HOURS) -> None:
    """Delete older moves of all users except each user's newest, in transactions of its own."""
    before, user_id = timestamps.timestamp_before_now(hours=hours), ""
    while user_id := NEXT_USER.execute(user_id=user_id).fetchone()[0]:
        delete_batches(partial(_last_old_seq, user_id, before), DELETE, user_id=user_id)


def delete_batch(user_id: str) -> bool:
    """Delete a batch of a removed user's moves; return whether there were any."""
    rows = OLDEST.execute(user_id=user_id).fetchall()
    if rows:
        DELETE.execute(user_id=user_id, end=rows[-1][0])
    return bool(rows)


def _last_old_seq(user_id: str, before: str) -> int | None:
    """Return the ``seq`` of the last move of the next batch to delete, None if there is none."""
    rows = OLDEST.execute(user_id=user_id).fetchall()
    last = None
    for seq, moved_at in rows[:-1]:
        if moved_at >= before:
            break
        last = seq
    return last
