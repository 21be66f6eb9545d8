"""Parley's own export document."""

from __future__ import annotations

from typing import Any


def matches(item: dict[str, Any]) -> bool:
    """Return whether an item is one of this kind."""
    return "session" in item
