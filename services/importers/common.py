"""What the importers have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import timestamps
from limits import MAX_TITLE_LENGTH

MILLISECONDS_FROM = 100_000_000_000  # as seconds, the year 5138


def path_to_leaf(nodes: Mapping[str, Any], leaf: Any, parent_key: str) -> list[str]:
    """Return the ids from the root to a leaf, in that order."""
    ids: dict[str, None] = {}
    while isinstance(leaf, str) and leaf in nodes and leaf not in ids:  # exports with a cycle have been seen
        ids[leaf] = None
        leaf = nodes[leaf].get(parent_key)
    return list(ids)[::-1]


def find_leaf(nodes: Mapping[str, Any], current: Any, parent_key: str, time_key: str) -> str | None:
    """Return the leaf that an export has as its current one, or the newest one if that is not among the nodes."""
    if isinstance(current, str) and current in nodes:
        return current
    parents = {node.get(parent_key) for node in nodes.values()}
    leaves = [name for name in nodes if name not in parents] or list(nodes)
    return max(reversed(leaves), key=lambda name: parse_timestamp(nodes[name].get(time_key)) or "", default=None)


def count_files(files: Any, type_key: str, left_out: Counter[str]) -> None:
    """Count the files of a message, images apart."""
    for file in files or ():
        left_out["images" if str(file.get(type_key, "")).startswith("image") else "files"] += 1


def count_if_empty(text: Any, left_out: Counter[str], before: int) -> bool:
    """Return whether a message has no text, and count it, unless a part of it was counted since ``before``."""
    left_out["empty_messages"] += not text and left_out.total() == before
    return not text


def parse_timestamp(value: Any) -> str | None:
    """Return the timestamp of a time in seconds, in milliseconds or as text; None if it is none."""
    try:
        if isinstance(value, str):
            return timestamps.parse_timestamp(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1_000 if value >= MILLISECONDS_FROM else value
            return timestamps.timestamp(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        pass
    return None


def session_fields(external_id: Any, title: Any, created_at: Any, left_out: Counter[str]) -> dict[str, Any]:
    """Return the session of a document; a title that is too long is cut."""
    title = title if isinstance(title, str) else ""
    left_out["title_characters"] += max(len(title) - MAX_TITLE_LENGTH, 0)
    created = parse_timestamp(created_at)
    return {"id": external_id, "title": title[:MAX_TITLE_LENGTH]} | ({"created_at": created} if created else {})


def message_fields(role: Any, content: str, created_at: Any, model: Any) -> dict[str, Any]:
    """Return a message of a document."""
    created = parse_timestamp(created_at)
    metadata = {"model": model} if isinstance(model, str) and model else {}
    return {"role": role, "content": content, "metadata": metadata} | ({"created_at": created} if created else {})
