"""What the importers have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from limits import MAX_TITLE_LENGTH
from timestamps import parse_timestamp, timestamp

MILLISECONDS_FROM = 100_000_000_000  # as seconds, the year 5138


def branch(nodes: Mapping[str, Any], leaf: Any, parent: str) -> list[str]:
    """Return the ids from the root to a leaf, in that order."""
    ids: dict[str, None] = {}
    while isinstance(leaf, str) and leaf in nodes and leaf not in ids:  # exports with a cycle have been seen
        ids[leaf] = None
        leaf = nodes[leaf].get(parent)
    return list(ids)[::-1]


def newest_leaf(nodes: Mapping[str, Any], named: Any, parent: str, time: str) -> str | None:
    """Return the leaf that an export names, or the newest one if it names none that is there."""
    if isinstance(named, str) and named in nodes:
        return named
    parents = {node.get(parent) for node in nodes.values()}
    leaves = [name for name in nodes if name not in parents] or list(nodes)
    return max(reversed(leaves), key=lambda name: moment(nodes[name].get(time)) or "", default=None)


def count_files(files: Any, kind: str, left_out: Counter[str]) -> None:
    """Count the files of a message, images apart."""
    for file in files or ():
        left_out["images" if str(file.get(kind, "")).startswith("image") else "files"] += 1


def is_empty(text: Any, left_out: Counter[str], before: int) -> bool:
    """Return whether a message has no text; it is counted, unless something of it was left out since ``before``."""
    left_out["empty_messages"] += not text and left_out.total() == before
    return not text


def moment(given: Any) -> str | None:
    """Return a time that is given in seconds, in milliseconds or as text; None where it is none."""
    try:
        if isinstance(given, str):
            return parse_timestamp(given)
        if isinstance(given, int | float) and not isinstance(given, bool):
            seconds = given / 1_000 if given >= MILLISECONDS_FROM else given
            return timestamp(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        pass
    return None


def head(origin: Any, title: Any, created_at: Any, left_out: Counter[str]) -> dict[str, Any]:
    """Return the session of a document; of a title that is too long, the beginning."""
    title = title if isinstance(title, str) else ""
    left_out["title_characters"] += max(len(title) - MAX_TITLE_LENGTH, 0)
    created = moment(created_at)
    return {"id": origin, "title": title[:MAX_TITLE_LENGTH]} | ({"created_at": created} if created else {})


def message(role: Any, content: str, created_at: Any, model: Any) -> dict[str, Any]:
    """Return a message of a document."""
    created = moment(created_at)
    metadata = {"model": model} if isinstance(model, str) and model else {}
    return {"role": role, "content": content, "metadata": metadata} | ({"created_at": created} if created else {})
