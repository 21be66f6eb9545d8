"""What is done from time to time beside the requests: old rows deleted, and what ended processes have left finished.

Every process does it: each job looks by the age of the rows, and does in short transactions what others have not done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import database
from database import db
from store import drafts, idempotency, imports, login_attempts, moves, webhook_runs

log = logging.getLogger("parley")


class Job(NamedTuple):
    """A function that opens its own transactions, and the seconds between two calls."""

    name: str
    run: Callable[[], None]
    interval: float
    is_for_others: bool = False
    """Whether it finishes only what other processes have begun; one that is alone keeps its own."""


JOBS = (
    Job("answers of ended processes", drafts.finish_stale, 15.0, is_for_others=True),
    Job("webhook runs of ended processes", webhook_runs.mark_stale, 15.0),
    Job("imports of ended processes", imports.delete_stale_orphans, 600.0),
    Job("expired idempotency keys", idempotency.delete_expired, 60.0),
    Job("old login attempts", login_attempts.delete_expired, 60.0),
    Job("old moves", moves.delete_old, 3_600.0),
)


def recover() -> None:
    """Finish what ended processes have left: if this is the only one that serves, without waiting until it is old."""
    if not db.is_shared:
        with db.write_transaction(frees_space=True):
            imports.delete_orphans()
            webhook_runs.mark_interrupted()
            drafts.expire()
    drafts.finish_stale()


def run() -> None:
    """Run the jobs, each at its interval, forever."""
    due = {job: 0.0 for job in JOBS if db.is_shared or not job.is_for_others}
    while True:
        for job in due:
            if time.monotonic() >= due[job]:
                due[job] = time.monotonic() + job.interval
                run_job(job)
        time.sleep(max(min(due.values()) - time.monotonic(), 0))


def run_job(job: Job) -> None:
    """Run a job; if it fails, it is for the next time to do the rest."""
    try:
        db.ensure_connection()
        job.run()
    except Exception as error:
        is_bug = database.error_code(error) == "internal_error"
        log.log(logging.ERROR if is_bug else logging.WARNING, "%s: %s", job.name, error, exc_info=is_bug)
    finally:
        db.release_connection()
