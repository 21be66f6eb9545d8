"""Deletion of rows that are too old, in batches beside the writers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from peewee import Field, fn

from database import Statement, db, param

BATCH_ROWS = 256
PAUSE_SECONDS = 0.02


def end_of_batch(time_field: Field, max_age: float) -> Statement:
    """Return the query of the time up to which a batch of the oldest rows reaches, older than ``max_age`` seconds.

    Their age is by the database's clock. The time is null if there are none.
    """

    def query() -> Any:
        expired = time_field.model.select(time_field.alias("at")).where(time_field <= db.timestamp(-max_age))
        batch = expired.order_by(time_field).limit(BATCH_ROWS)
        return batch.select_from(fn.MAX(batch.c.at))

    return Statement(query)


def delete_up_to(time_field: Field) -> Statement:
    """Return the query that deletes the rows up to the time ``end``."""
    return Statement(time_field.model.delete().where(time_field <= param("end")))


def delete_batches(end_of_batch: Callable[[], Any], delete: Statement, **values: Any) -> None:
    """Delete batches up to each end, until there is none, in transactions of its own with pauses between them."""
    while (end := end_of_batch()) is not None:
        with db.write_transaction(durable=False, frees_space=True):
            delete.execute(end=end, **values)
        time.sleep(PAUSE_SECONDS)
