"""Ids of rows."""

from __future__ import annotations

from uuid_utils import uuid7


def new_id() -> str:
    """Return a new id: a UUID of version 7 (RFC 9562), so that new rows go to the end of an index."""
    return str(uuid7())
