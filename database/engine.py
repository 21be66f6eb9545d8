"""What an engine has to do for the rest, which knows nothing of the one it runs on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import peewee


class Engine(Protocol):
    """A Peewee database that has these besides. Threads have a connection each."""

    location: str
    """Where the database is, for the operator; without secrets."""

    def ensure_connection(self) -> None:
        """Give this thread a connection that is known to be good.

        Raises:
            ApiError: ``database_unavailable``.

        """

    def read_transaction(self) -> AbstractContextManager[None]:
        """Run the block in a read transaction: all reads see one snapshot."""

    def write_transaction(self, durable: bool = True, frees_space: bool = False) -> AbstractContextManager[None]:
        """Run the block in a write transaction: all of it, or nothing; within another one, in a savepoint.

        One that is not ``durable`` is on the disk for certain only with the next one that is; one
        that ``frees_space`` is let through on a full disk.

        Raises:
            ApiError: ``database_busy`` if it waits too long for its turn.

        """

    def bulk_insert(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows with a statement for one; they have been validated."""

    def json_page(self, rows: Any, fields: Sequence[str], json_fields: Sequence[str]) -> peewee.BaseQuery:
        """Return the query of a page: the last ``seq`` of ``rows``, and their ``fields`` as JSON objects, as bytes."""

    def error_code(self, error: BaseException) -> str:
        """Return the API's code for an error of the database, ``internal_error`` if it is none that can be expected."""

    def is_healthy(self) -> bool:
        """Return whether the database is in its place and can be read."""

    def backup(self, target: Path) -> None:
        """Write a copy of the database, as it is at this moment, to a file that does not exist yet."""
