"""What a search finds, compared with a reference that reads all texts: on each engine the same."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

import search
from search import postgresql, sqlite
from search.terms import count, opened, phrases, terms
from tests.helpers.client import ApiClient, message
from tests.helpers.texts import CORPUS

LIMIT = 200
SIMILAR = ("tic", "tac", "toe", "ti", "tactic", "C++", "北京", "京", "🚀", "7")
SEPARATORS = (" ", "-", ".", "/", "\n", "_", "")


class Reference:
    """The sessions of one user, by their texts."""

    def __init__(self, owner: ApiClient) -> None:
        self._owner = owner
        self._texts: list[tuple[str, str]] = []

    def add(self, title: str, *texts: str) -> None:
        session = self._owner.imported(*map(message, texts), title=title)
        self._texts += [(session["id"], f" {' '.join(terms(text))} ") for text in (title, *texts)]

    def find(self, query: str) -> set[str]:
        """Return the sessions with a text that has all phrases of a query."""
        if not (wanted := phrases(query)):
            return set()
        wanted[-1] = opened(wanted[-1])
        return {session for session, text in self._texts if all(count(text, phrase) for phrase in wanted)}

    def assert_found(self, query: str) -> int:
        """Check what a search finds, and return how many sessions that are."""
        found = {item["id"] for item in search.search(str(self._owner.user_id), query, LIMIT)}
        assert found == self.find(query), query
        return len(found)


def similar_text(chance: random.Random, length: int) -> str:
    return "".join(chance.choice(SIMILAR) + chance.choice(SEPARATORS) for _ in range(length))


def piece(chance: random.Random, texts: Sequence[str]) -> str:
    """Return a piece of a text, a word, or the beginning of one."""
    text = chance.choice(texts)
    words = text.split()
    word = chance.choice(words)
    start = chance.randrange(len(text))
    found = chance.choice(
        (
            word,
            word[: chance.randint(1, 4)],
            text[start : start + chance.randint(1, 40)],
            " ".join(chance.choices(words, k=2)),
            f"{word} {chance.choice(chance.choice(texts).split())}",
        )
    )
    return chance.choice((found, found.upper(), found.lower()))[:1_000]


@pytest.mark.parametrize("scanned", [1, 20_000], ids=["prefixes in the index", "prefixes in the newest texts"])
def test_phrases_of_similar_texts_are_found(
    owner: ApiClient, other: ApiClient, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    monkeypatch.setattr(sqlite, "MAX_SCANNED", scanned)
    monkeypatch.setattr(postgresql, "MAX_SCANNED", scanned)
    monkeypatch.setattr(postgresql, "MAX_SCANNED_FOR_SHORT", scanned)
    chance = random.Random(1)
    reference, theirs = Reference(owner), Reference(other)
    for _ in range(40):
        texts = [similar_text(chance, chance.randint(1, 9)) for _ in range(4)]
        reference.add(*texts)
        theirs.add(*texts[::-1])
    search.update_index(60)
    found = [
        each.assert_found(similar_text(chance, chance.randint(1, 4))) for each in (reference, theirs) for _ in range(60)
    ]
    assert len(set(found)) > 10


@pytest.mark.slow
def test_any_piece_of_any_text_is_found(owner: ApiClient) -> None:
    chance = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(3, 12))) for _ in range(50_000)]
    han = "".join(chr(0x4E00 + chance.randrange(20_000)) for _ in range(50_000))
    texts = [*CORPUS, han, *(" ".join(words[start : start + 2_000]) for start in range(0, 50_000, 2_000))]
    texts += ["/".join(chance.choices(words, k=3_000)), "zebra " * 8_000, "x" * 50_000, "😀" * 50_000, "ﷺ" * 50_000]
    reference = Reference(owner)
    for text in texts:
        reference.add(text[:120].strip() or "untitled", text[:50_000], text[1_000:2_000] or "short")
    search.update_index(60)
    found = [reference.assert_found(piece(chance, texts)) for _ in range(600)]
    assert sum(map(bool, found)) > 300
