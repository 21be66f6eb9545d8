"""Responses to requests with an Idempotency-Key, stored for as long as the requests may be repeated."""

from __future__ import annotations

import orjson

import timestamps
from database import Statement, param
from errors import ApiError
from models import IdempotencyRecord
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
        _OF_USER, IdempotencyRecord.response == param("old")
    )
)


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


def add_answer_id(user_id: str, question_id: str, answer_id: str | None, error: str | None) -> None:
    """Add to the response stored for a user's message, if there is one, the model's message or the error code."""
    created = {"id": question_id, "answer_id": answer_id} | ({"error": error} if error else {})
    old, new = orjson.dumps({"id": question_id}).decode(), orjson.dumps(created).decode()
    REPLACE.execute(user_id=user_id, old=old, new=new)


def _oldest() -> str:
    return timestamps.timestamp_before_now(hours=IDEMPOTENCY_TTL_HOURS)
