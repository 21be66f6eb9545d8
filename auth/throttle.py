"""Protection of logins from brute force: failed attempts are counted in the database, for all processes together."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import timestamps
from database import db
from errors import ApiError
from store import login_attempts
from store.login_attempts import WINDOW_SECONDS, Attempt, digest

USERNAME_LIMIT = 10
"""Failures with one name from one client, within WINDOW_SECONDS, and …"""
CLIENT_LIMIT = 100
"""… with any name. There are never more rows of a client: one that is blocked only reads."""

log = logging.getLogger("parley")


@contextmanager
def attempt(client: str, name: str) -> Iterator[None]:
    """Run the block as an attempt of a client to log in with a name; an ApiError is a failure.

    An attempt in progress counts as failed, so that many concurrent ones gain nothing. (Processes that check at the
    same moment may exceed a limit by one each, once.)

    Raises:
        ApiError: ``rate_limited``, with the seconds to wait in ``Retry-After``.

    """
    client, name = digest(client), digest(name)
    _check(client, name)
    # It must get through on a full disk, and need not survive a crash.
    with db.write_transaction(durable=False, frees_space=True):
        _check(client, name)  # again: another thread may have been faster
        attempt_id = login_attempts.create(client, name)
    try:
        yield
    except ApiError:
        raise
    except BaseException:
        _forget(attempt_id)  # e.g. the database failed: no wrong password
        raise
    _forget(attempt_id)


def _check(client: str, name: str) -> None:
    newest = login_attempts.list_newest(client, CLIENT_LIMIT)
    for attempts, limit in ((newest, CLIENT_LIMIT), ([each for each in newest if each.name == name], USERNAME_LIMIT)):
        if len(attempts) >= limit:
            raise ApiError("rate_limited", headers={"Retry-After": str(_seconds_left(attempts[limit - 1]))})


def _seconds_left(attempt: Attempt) -> int:
    """Return after how many seconds an attempt no longer counts."""
    return max(math.ceil(WINDOW_SECONDS - timestamps.seconds_between(attempt.attempted_at, attempt.now)), 1)


def _forget(attempt_id: str) -> None:
    """Delete an attempt. One that cannot be deleted counts as failed for a while, which is no reason to fail."""
    try:
        with db.write_transaction(durable=False, frees_space=True):
            login_attempts.delete(attempt_id)
    except (ApiError, *db.errors) as error:
        log.warning("a successful login counts as a failed one: %s", error)
