"""Lists in parts. A cursor says where the next part begins; it is signed, and good for its list and user alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, g, request
from itsdangerous import BadData, URLSafeSerializer

from errors import ApiError
from values import PAGE_LENGTH

Place = TypeVar("Place")


def _serializer() -> URLSafeSerializer:
    salt = f"cursor {g.user_id} {request.path}"
    return URLSafeSerializer(
        current_app.config["JWT_SECRET_KEY"], salt=salt, signer_kwargs={"digest_method": hashlib.sha256}
    )


def is_asked(wanted: dict[str, Any]) -> bool:
    """Tell whether the client wants a part of the list."""
    return wanted["limit"] is not None or wanted["cursor"] is not None


def limit(wanted: dict[str, Any]) -> int:
    """Return how many items the part may have."""
    return wanted["limit"] or PAGE_LENGTH[0]


def place(wanted: dict[str, Any], kind: Callable[[Any], Place]) -> Place | None:
    """Return what the cursor was made of, as this kind of place, None where there is none.

    Raises:
        ApiError: ``validation_error``, where it is not one of this list's.

    """
    if wanted["cursor"] is None:
        return None
    try:
        return kind(_serializer().loads(wanted["cursor"]))
    except (BadData, TypeError):  # TypeError: it was made by an earlier version
        raise ApiError("validation_error", {"cursor": ["Not a cursor of this list."]}) from None


def cursor(place: Any) -> str | None:
    """Return the cursor of a place, None where there is nothing more."""
    return None if place is None else str(_serializer().dumps(place))
