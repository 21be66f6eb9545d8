"""Responses to requests with an Idempotency-Key, stored for as long as the requests may be repeated."""

from __future__ import annotations

from typing import NamedTuple

import orjson

import timestamps
from database import Statement, param
from errors import ApiError
from models import IdempotencyRecord, is_short
from store.expiry import delete_batches, delete_up_to, end_of_batch
from store.fields import params

IDEMPOTENCY_TTL_HOURS = 24

_OF_USER = IdempotencyRecord.user == param("user_id")

GET = Statement(
    IdempotencyRecord.select(IdempotencyRecord.fingerprint, IdempotencyRecord.response).where(
        _OF_USER, IdempotencyRecord.key == param("key"), IdempotencyRecord.created_at > param("oldest")
    )
)
# A key that is too old may still have its row: it counts as absent. One that another request is using at this moment
# is waited for, on engines with several writers.
INSERT = Statement(
    IdempotencyRecord.insert(
        params(IdempotencyRecord, "user_id", "key", "fingerprint", "response", "created_at")
    ).on_conflict(
        conflict_target=[IdempotencyRecord.user, IdempotencyRecord.key],
        preserve=[IdempotencyRecord.fingerprint, IdempotencyRecord.response, IdempotencyRecord.created_at],
        where=IdempotencyRecord.created_at <= param("oldest"),
    )
)
END_OF_BATCH = end_of_batch(IdempotencyRecord.created_at, IDEMPOTENCY_TTL_HOURS * 3_600)
DELETE_UP_TO = delete_up_to(IdempotencyRecord.created_at)
REPLACE = Statement(
    IdempotencyRecord.update({IdempotencyRecord.response: param("new")}).where(
        _OF_USER, is_short(IdempotencyRecord), IdempotencyRecord.response == param("old")
    )
)


class Outcome(NamedTuple):
    """What has become of a chat: its answer, if there is one, and the code of the error that it ended with."""

    question_id: str
    answer_id: str | None
    error: str | None

    def to_json(self) -> str:
        """Return it as it is stored. Before the end of the chat, only the question is."""
        created = {"id": self.question_id, "answer_id": self.answer_id}
        return orjson.dumps(created | ({"error": self.error} if self.error else {})).decode()


class KeyTaken(Exception):
    """Another request with this key was committed after ``find`` found none."""


def find(user_id: str, key: str, fingerprint: str) -> str | None:
    """Return the response stored under a key, as JSON text, None if there is none.

    Raises:
        ApiError: ``conflict`` if it is stored for a different request.

    """
    record = GET.get(user_id=user_id, key=key, oldest=_oldest())
    if record is None:
        return None
    if record["fingerprint"] != fingerprint:
        raise ApiError("conflict")
    return str(record["response"])


def save(user_id: str, key: str, fingerprint: str, response: str) -> None:
    """Store the response under a key.

    Raises:
        KeyTaken: a response is stored under it already.

    """
    values = {"user_id": user_id, "key": key, "fingerprint": fingerprint, "response": response}
    if not INSERT.execute(**values, created_at=timestamps.now(), oldest=_oldest()).rowcount:
        raise KeyTaken


def delete_expired() -> None:
    """Delete the responses that are too old, in transactions of its own."""
    delete_batches(lambda: END_OF_BATCH.execute().fetchone()[0], DELETE_UP_TO)


def set_outcome(user_id: str, outcome: Outcome, former: Outcome | None = None) -> None:
    """Add to the response stored for a user's message, if there is one, the model's message or the error code.

    If the outcome corrects a ``former`` one, that is replaced.
    """
    old = former.to_json() if former else orjson.dumps({"id": outcome.question_id}).decode()
    REPLACE.execute(user_id=user_id, old=old, new=outcome.to_json())


def _oldest() -> str:
    return timestamps.timestamp_before_now(hours=IDEMPOTENCY_TTL_HOURS)
