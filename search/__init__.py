"""Search in titles and messages: what fits is found in an index, ranked among itself and shown.

``terms`` says what a text consists of, ``index`` keeps that, ``snippets`` shows where it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from database import db
from search import index
from search.index import run_indexer, update_index
from search.snippets import snippet
from search.terms import Phrase, count, opened, phrases
from store import sessions as stored_sessions

__all__ = ["run_indexer", "search", "update_index"]

INDEX_TIMEOUT = 2.0
# The newest texts are ranked, of one session some, so that it leaves room for others; and one of
# each session beyond, until there are as many as asked for.
MAX_CANDIDATES, MAX_RANKED, MAX_RANKED_PER_SESSION = 20_000, 400, 5
TITLE_WEIGHT = 4
SATURATION, LENGTH_WEIGHT = 1.2, 0.75  # BM25's usual k1 and b


class Hit(NamedTuple):
    """A text that fits: a message, or a title if its number in the index is negative."""

    session_id: str
    number: int
    counts: tuple[int, ...]
    length: int


def search(user_id: str, question: str, limit: int) -> list[dict[str, Any]]:
    """Return the user's sessions that have all words of a question, the best first, each with its ``match``.

    That is a piece of HTML: text, with ``<mark>`` round what was looked for. The last word may be
    the beginning of one. As many sessions are returned as ``limit`` says, if there are so many.
    """
    wanted = phrases(question)
    if not wanted:
        return []
    update_index(INDEX_TIMEOUT)
    with db.read_transaction():
        limit = min(limit, index.count_sessions(user_id, limit))
        hits = _hits(user_id, wanted, limit)
        begun = [*wanted[:-1], opened(wanted[-1])]
        if begun != wanted and len({hit.session_id for hit in hits}) < limit:  # a beginning is the slower to look for
            wanted = begun
            hits = _hits(user_id, wanted, limit)
        best: dict[str, Hit] = {}
        for hit in sorted(hits, key=_scorer(hits), reverse=True):
            best.setdefault(hit.session_id, hit)
        return [
            stored_sessions.get(user_id, hit.session_id) | {"match": snippet(index.text_of(hit.number), wanted)}
            for hit in list(best.values())[:limit]
        ]


def _hits(user_id: str, wanted: list[Phrase], limit: int) -> list[Hit]:
    """Return what is to be ranked, of as many sessions as the limit says, if there are so many."""
    hits: list[Hit] = []
    sessions: set[str] = set()
    for rows in index.find(user_id, wanted):
        taken, of_one = 0, Counter[str]()
        for looked_at, (session_id, number) in enumerate(rows):
            if (taken >= MAX_RANKED or looked_at >= MAX_CANDIDATES) and len(sessions) >= limit:
                break
            if session_id not in sessions or (taken < MAX_RANKED and of_one[session_id] < MAX_RANKED_PER_SESSION):
                stored = index.stored_terms(number)
                counts = tuple(count(stored, phrase) for phrase in wanted)
                hits.append(Hit(session_id, number, counts, stored.count(" ")))
                sessions.add(session_id)
                of_one[session_id] += 1
                taken += 1
    return hits


def _scorer(hits: list[Hit]) -> Callable[[Hit], float]:
    """Return BM25 among the hits. They all have all of the phrases, so none of these counts as the rarer."""
    average = sum(hit.length for hit in hits) / max(len(hits), 1)

    def score(hit: Hit) -> float:
        brake = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * hit.length / average)
        found = sum(number * (SATURATION + 1) / (number + brake) for number in hit.counts)
        return found * (TITLE_WEIGHT if hit.number < 0 else 1)

    return score
