"""Pages of lists. A cursor marks where the next page starts.

It is signed, and valid for its list, its order and its user only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, g, request
from itsdangerous import BadData, URLSafeSerializer

from errors import ApiError
from limits import DEFAULT_PAGE_SIZE

Cursor = TypeVar("Cursor")


def _serializer(query: dict[str, Any]) -> URLSafeSerializer:
    salt = f"cursor {g.user_id} {request.path}"
    if query.get("order") == "desc":
        salt += "?order=desc"
    return URLSafeSerializer(
        current_app.config["JWT_SECRET_KEY"], salt=salt, signer_kwargs={"digest_method": hashlib.sha256}
    )


def is_paginated(query: dict[str, Any]) -> bool:
    """Return whether the client asks for a page of the list."""
    return query["limit"] is not None or query["cursor"] is not None


def page_size(query: dict[str, Any]) -> int:
    """Return how many items the page may have."""
    return query["limit"] or DEFAULT_PAGE_SIZE


def decode_cursor(query: dict[str, Any], kind: Callable[[Any], Cursor]) -> Cursor | None:
    """Return the value that a cursor encodes, as the result of ``kind``, None if there is no cursor.

    Raises:
        ApiError: ``validation_error`` if it is not a cursor of this list.

    """
    if query["cursor"] is None:
        return None
    try:
        return kind(_serializer(query).loads(query["cursor"]))
    except (BadData, TypeError):  # TypeError: from an earlier version
        raise ApiError(
            "validation_error", {"cursor": ["Not valid for this list: start again with the first page."]}
        ) from None


def encode_cursor(cursor: Any, query: dict[str, Any]) -> str | None:
    """Return the value of a cursor as signed text, None if there is no next page."""
    return None if cursor is None else str(_serializer(query).dumps(cursor))
