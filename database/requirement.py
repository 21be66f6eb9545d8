"""A query that must return a row, and goes to the server as a part of the next one: the thread waits once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

JOINED_COLUMNS = 2
"""How many columns a joined query has before those of the other one."""


class Requirement(NamedTuple):
    """A query with its parameters, and the error that it is to return no row."""

    sql: str
    params: list[Any]
    error: Exception

    def join(self, sql: str) -> str:
        """Return a query for this one and another; its parameters are this one's, then the other's.

        Before the other's columns it has whether this one returns a row, and NULL if the other returns none.
        """
        return _join(self.sql, sql)


@lru_cache(1_000)
def _join(required: str, sql: str) -> str:
    # A loop over one row, which keeps the order of the other query's rows.
    return (
        f"SELECT EXISTS ({required}), found.* FROM (SELECT) AS once "  # noqa: S608  # of our own statements
        f"LEFT JOIN LATERAL (SELECT TRUE, other.* FROM ({sql}) AS other) AS found ON TRUE"
    )
