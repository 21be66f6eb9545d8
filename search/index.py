"""What the index of an engine does for the search, which knows nothing of the one that it runs on.

A further engine is a module beside ``sqlite`` with these functions, and an entry in ``INDEXES``
under the engine's dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from database import db
from search import postgresql, sqlite
from search.terms import Phrase

Entry = tuple[str, int]
"""The id of a session and the number of a text in the index: the ``seq`` of a message, or a negative one of a title."""


class SearchIndex(Protocol):
    """The index of messages and titles, by their terms and their owner."""

    def pending_batches(self, min_rows: int, user_id: str | None) -> list[Callable[[float], None]]:
        """Return functions that each index a batch of one kind of change, in a transaction of its own.

        A kind of change (deletions, new messages, titles…) with fewer than ``min_rows`` rows pending
        is left out, unless another one depends on it. An empty list means that there is nothing to do.
        The argument of the functions is how many seconds they may wait for others that index the same rows. With
        ``user_id`` only this user's texts matter; others may be indexed, too.
        """

    def find(self, user_id: str, wanted: Sequence[Phrase]) -> tuple[Iterator[Entry], Iterator[Entry]]:
        """Return the titles and the messages of a user that have all phrases, each newest first."""

    def entry_terms(self, entries: Sequence[Entry]) -> Iterator[str]:
        """Return the terms of each entry, with a space before and after each."""

    def entry_texts(self, entries: Sequence[Entry]) -> Iterator[str]:
        """Return the message or the title of each entry."""


INDEXES: dict[str, SearchIndex] = {"sqlite": sqlite, "postgresql": postgresql}


def current_index() -> SearchIndex:
    """Return the index of the app's database."""
    return INDEXES[db.dialect]
