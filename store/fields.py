"""A model's fields as the statements use them, so that one added to its table needs no change in the queries."""

from __future__ import annotations

from typing import Any

from database import param


def public(model: Any) -> list[Any]:
    """Return the fields that the API returns."""
    return [getattr(model, name) for name in model.PUBLIC_FIELDS]


def params(model: Any, *names: str) -> dict[Any, Any]:
    """Return fields with a parameter of the same name for each, to insert or update."""
    return {getattr(model, name): param(name) for name in names}


def defaults(model: Any) -> dict[str, Any]:
    """Return the defaults of the fields that the API returns, None for those without one."""
    return {name: getattr(model, name).default for name in model.PUBLIC_FIELDS}
