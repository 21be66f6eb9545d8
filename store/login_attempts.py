"""Attempts to log in that have failed, or are in progress, of the last minutes. All times are by the database's clock.

Clients and names are stored as digests: what is typed as a name may be a password, and has any length.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from database import Statement, db, param
from ids import new_id
from models import LoginAttempt
from store.expiry import delete_batches, delete_up_to, end_of_batch
from store.fields import params

WINDOW_SECONDS = 300.0


class Attempt(NamedTuple):
    """An attempt: the digest of its name, and the times at which it was made and at which it was read."""

    name: str
    attempted_at: str
    now: str


NEWEST = Statement(
    lambda: (
        LoginAttempt.select(LoginAttempt.name, LoginAttempt.attempted_at, db.timestamp())
        .where(LoginAttempt.client == param("client"), LoginAttempt.attempted_at > db.timestamp(-WINDOW_SECONDS))
        .order_by(LoginAttempt.attempted_at.desc())
        .limit(param("limit"))
    )
)
INSERT = Statement(
    lambda: LoginAttempt.insert(
        params(LoginAttempt, "id", "client", "name") | {LoginAttempt.attempted_at: db.timestamp()}
    )
)
DELETE = Statement(LoginAttempt.delete().where(LoginAttempt.id == param("id")))
END_OF_BATCH = end_of_batch(LoginAttempt.attempted_at, WINDOW_SECONDS)
DELETE_UP_TO = delete_up_to(LoginAttempt.attempted_at)


def digest(text: str) -> str:
    """Return by what a client or a name is found."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def list_newest(client: str, limit: int) -> list[Attempt]:
    """Return the newest attempts of a client, by its digest, within the window."""
    return [Attempt(*row) for row in NEWEST.execute(client=client, limit=limit).fetchall()]


def create(client: str, name: str) -> str:
    """Record an attempt of a client with a name, by their digests, and return its id."""
    attempt_id = new_id()
    INSERT.execute(id=attempt_id, client=client, name=name)
    return attempt_id


def delete(attempt_id: str) -> None:
    """Delete an attempt, which then counts no more."""
    DELETE.execute(id=attempt_id)


def delete_expired() -> None:
    """Delete the attempts that are too old to count, in transactions of its own."""
    delete_batches(lambda: END_OF_BATCH.execute().fetchone()[0], DELETE_UP_TO)
