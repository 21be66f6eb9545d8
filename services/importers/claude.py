"""Claude's ``conversations.json``: messages in ``chat_messages``, each a list of blocks in ``content``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.importers.common import (
    count_files,
    count_if_empty,
    find_leaf,
    message_fields,
    path_to_leaf,
    session_fields,
)

ROLES = {"human": "user"}
LEFT_OUT_BY_TYPE = {"thinking": "thoughts", "redacted_thinking": "thoughts", "image": "images", "document": "files"}


def matches(item: dict[str, Any]) -> bool:
    """Return whether an item is a conversation of Claude's."""
    return isinstance(item.get("chat_messages"), list)


def convert_session(item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
    """Return the document's session, and no system prompt: there is none in an export."""
    return session_fields(item.get("uuid"), item.get("name"), item.get("created_at"), left_out), None


def convert_messages(item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the messages from the root to the current leaf; if none has a parent, all of them in their order."""
    nodes = {raw.get("uuid") or str(at): raw | {"at": at} for at, raw in enumerate(item["chat_messages"])}
    branch = list(nodes)
    if any(raw.get("parent_message_uuid") for raw in nodes.values()):
        leaf = find_leaf(nodes, item.get("current_leaf_message_uuid"), "parent_message_uuid", "created_at")
        branch = path_to_leaf(nodes, leaf, "parent_message_uuid")
    left_out["branches"] += len(item["chat_messages"]) - len(branch)
    for name in branch:
        raw = nodes[name]
        before = left_out.total()
        text = _text(raw, left_out)
        if not count_if_empty(text, left_out, before):
            role = ROLES.get(raw["sender"], raw["sender"])
            yield f"chat_messages.{raw['at']}", message_fields(role, text, raw.get("created_at"), None)


def _text(raw: dict[str, Any], left_out: Counter[str]) -> str:
    """Return the text of a message, all its blocks, and count what is not text."""
    count_files(raw.get("attachments"), "file_type", left_out)
    count_files(raw.get("files") or raw.get("files_v2"), "file_kind", left_out)
    blocks = raw.get("content") or [{"type": "text", "text": raw.get("text")}]
    texts = [block for block in blocks if block.get("type") == "text"]
    left_out.update(LEFT_OUT_BY_TYPE.get(block.get("type"), "tool_calls") for block in blocks if block not in texts)
    left_out["citations"] += sum(len(block.get("citations") or ()) for block in texts)
    return "\n\n".join(block["text"] for block in texts if block.get("text") and block["text"].strip())
