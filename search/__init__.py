"""Search in titles and messages: entries of the index, ranked and shown with a snippet.

``terms`` splits a text into terms, an index (``index``; ``sqlite``, ``postgresql``) stores them, ``indexer``
updates it, and ``snippets`` shows where in a text the terms are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from database import db
from search.index import Entry, SearchIndex, current_index
from search.indexer import run_indexer, update_index
from search.snippets import snippet
from search.terms import Phrase, count, opened, phrases
from store import sessions as stored_sessions

__all__ = ["run_indexer", "search", "update_index"]

# Seconds that a search waits for the index to be up to date.
INDEX_TIMEOUT = 2.0
# The newest entries are ranked, only some of one session, so that it leaves room for others; after
# those one entry of each further session, until there are as many sessions as asked for.
MAX_CANDIDATES, MAX_RANKED, MAX_RANKED_PER_SESSION = 20_000, 400, 5
TITLE_WEIGHT = 4
SATURATION, LENGTH_WEIGHT = 1.2, 0.75  # BM25's usual k1 and b


class Hit(NamedTuple):
    """An entry that matches, how often it has each phrase, and its length."""

    entry: Entry
    counts: tuple[int, ...]
    length: int

    @property
    def session_id(self) -> str:
        """The id of its session."""
        return self.entry[0]

    @property
    def is_title(self) -> bool:
        """Whether it is a title, not a message."""
        return self.entry[1] < 0


def search(user_id: str, query: str, limit: int) -> list[dict[str, Any]]:
    """Return the user's sessions that contain all words of a query, best first, each with its ``match``.

    The ``match`` is a piece of the text as HTML, with ``<mark>`` round the words found. The last word
    of the query may be the beginning of a word. There are ``limit`` sessions, if as many match.
    """
    wanted = phrases(query)
    if not wanted:
        return []
    db.check_requirement()  # now, since a failed update is no reason not to search
    update_index(INDEX_TIMEOUT, user_id)
    with db.read_transaction():
        index = current_index()
        limit = min(limit, stored_sessions.count(user_id, limit))
        hits = _hits(index, user_id, wanted, limit)
        as_prefix = [*wanted[:-1], opened(wanted[-1])]
        if as_prefix != wanted and len({hit.session_id for hit in hits}) < limit:  # a prefix takes longer to find
            wanted = as_prefix
            hits = _hits(index, user_id, wanted, limit)
        best: dict[str, Hit] = {}
        for hit in sorted(hits, key=_scorer(hits), reverse=True):
            best.setdefault(hit.session_id, hit)
        entries = [hit.entry for hit in list(best.values())[:limit]]
        return [
            stored_sessions.get(user_id, session_id) | {"match": snippet(text, wanted)}
            for (session_id, _), text in zip(entries, index.entry_texts(entries), strict=True)
        ]


def _hits(index: SearchIndex, user_id: str, wanted: list[Phrase], limit: int) -> list[Hit]:
    """Return the entries to be ranked, of ``limit`` sessions if as many match."""
    entries: list[Entry] = []
    sessions: set[str] = set()
    for matching in index.find(user_id, wanted):
        ranked, ranked_per_session = 0, Counter[str]()
        for candidates, (session_id, number) in enumerate(matching):
            if (ranked >= MAX_RANKED or candidates >= MAX_CANDIDATES) and len(sessions) >= limit:
                break
            if session_id not in sessions or (
                ranked < MAX_RANKED and ranked_per_session[session_id] < MAX_RANKED_PER_SESSION
            ):
                entries.append((session_id, number))
                sessions.add(session_id)
                ranked_per_session[session_id] += 1
                ranked += 1
    return [
        Hit(entry, tuple(count(stored, phrase) for phrase in wanted), stored.count(" "))
        for entry, stored in zip(entries, index.entry_terms(entries), strict=True)
    ]


def _scorer(hits: list[Hit]) -> Callable[[Hit], float]:
    """Return BM25 as a function of a hit.

    Every hit has all phrases, so none of these is rarer than another, and BM25's inverse document
    frequency is left out.
    """
    average = sum(hit.length for hit in hits) / max(len(hits), 1)

    def score(hit: Hit) -> float:
        saturation = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * hit.length / average)
        total = sum(frequency * (SATURATION + 1) / (frequency + saturation) for frequency in hit.counts)
        return total * (TITLE_WEIGHT if hit.is_title else 1)

    return score
