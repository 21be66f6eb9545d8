"""Texts and their terms, in batches for the index."""

from __future__ import annotations

import time
from collections.abc import Iterable

from search.terms import terms

# Rows and characters per transaction: 2 to 10 ms, 30 for the longest texts.
INDEX_BATCH_SIZE, INDEX_BATCH_CHARACTERS = 128, 50_000
# Splitting a text holds the interpreter lock, which other threads get only after 5 ms: so it is released earlier.
MAX_HOLD_SECONDS, YIELD_SECONDS = 0.0005, 0.0001


def owner_term(user_id: str) -> str:
    """Return the term by which the index finds a user's texts; no text contains it."""
    return f"={user_id.replace('-', '')}"


def index_terms(user_id: str, text: str) -> str:
    """Return what the index stores of a text: the owner and the terms, separated by spaces."""
    return " ".join((owner_term(user_id), *terms(text)))


def padded_terms(stored: str) -> str:
    """Return the terms that the index has of a text, without the owner, with a space before and after each."""
    return f" {stored.partition(' ')[2]} "


def read_batch(rows: Iterable[tuple[int, str | None, str]]) -> tuple[int, list[tuple[int, str]]]:
    """Return the number of the last row of a batch, 0 if there is none, and the rows for the index.

    ``rows`` are ``(number, owner, text)``. Those without an owner are skipped. A batch is read and
    split outside the transaction that stores it: others can write in the meantime.
    """
    end, batch, characters = 0, [], 0
    held_since = time.monotonic()
    for number, user_id, text in rows:
        if time.monotonic() - held_since > MAX_HOLD_SECONDS:
            time.sleep(YIELD_SECONDS)
            held_since = time.monotonic()
        end = number
        if user_id is not None:
            batch.append((number, index_terms(user_id, text)))
            characters += len(text)
            if characters > INDEX_BATCH_CHARACTERS:
                break
    return end, batch
