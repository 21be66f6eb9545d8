"""Access to the database of the app within the test's process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from database import db
from tests.helpers import engine


def query_db(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    db.connect(reuse_if_open=True)  # while a stream waits, its thread has none
    cursor = db.execute_sql(engine.translate(sql), values)
    return list(cursor) if cursor.description else []


def run_in_transaction(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a function of the store that writes, in a transaction of its own."""
    db.connect(reuse_if_open=True)
    with db.write_transaction(frees_space=True):
        return function(*arguments, **named)
