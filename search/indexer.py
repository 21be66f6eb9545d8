"""Updating the index: completely before a search, in whole batches in the background."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from database import db
from errors import ApiError
from search.batch import INDEX_BATCH_SIZE
from search.index import current_index

# Seconds between two rounds in the background, and the pause after a batch as a fraction of the time that it took.
ROUND_INTERVAL, PAUSE_FRACTION = 0.5, 0.25
MAX_ROUND_SECONDS = 60.0

log = logging.getLogger("parley")


def update_index(timeout: float, user_id: str | None = None, background: bool = False) -> None:
    """Index what has changed, at least of this user, each batch in a transaction, for at most ``timeout`` seconds.

    In the ``background`` this is one round: a batch of each kind of change, and then more of them
    while they are full. What arrives during the round waits for the next one, because indexing
    messages one by one, as they are appended, costs writers a tenth of their rate. The thread pauses
    after each batch. If something fails (a full disk, a lock that another process holds) the rest
    remains to be indexed.
    """
    deadline = time.monotonic() + timeout
    min_rows = 1
    try:
        while time.monotonic() < deadline and (batches := current_index().pending_batches(min_rows, user_id)):
            for index_batch in batches:
                started_at = time.monotonic()
                index_batch(max(deadline - started_at, 0))
                if background:
                    time.sleep(PAUSE_FRACTION * (time.monotonic() - started_at))
            if background:
                min_rows = INDEX_BATCH_SIZE
    except (ApiError, *db.errors) as error:
        log.warning("the search index stays as it is: %s", error)


def run_indexer() -> None:
    """Index what has changed, forever, beside the writers."""
    while True:
        time.sleep(ROUND_INTERVAL)
        with suppress(ApiError, *db.errors):  # the database is unavailable, which requests report
            db.ensure_connection()
            update_index(MAX_ROUND_SECONDS, background=True)
            db.release_connection()
