"""LibreChat's export of a conversation: messages in a list, or each with its ``children`` (recursive)."""

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


def matches(item: dict[str, Any]) -> bool:
    """Return whether an item is a conversation of LibreChat's."""
    return "conversationId" in item and isinstance(item.get("messages", item.get("messagesTree")), list)


def convert_session(item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
    """Return the document's session, and its system prompt."""
    system_prompt = (item.get("options") or {}).get("promptPrefix")
    return session_fields(item["conversationId"], item.get("title"), item.get("createdAt"), left_out), system_prompt


def convert_messages(item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the messages from the root to the newest leaf."""
    key = "messages" if "messages" in item else "messagesTree"
    nodes, paths = {}, {}
    for path, node, parent in _flatten(key, item[key]):
        name = node.get("messageId") or path
        nodes[name] = node | ({"parentMessageId": parent} if parent else {})
        paths[name] = path
    branch = path_to_leaf(nodes, find_leaf(nodes, None, "parentMessageId", "createdAt"), "parentMessageId")
    left_out["branches"] += len(nodes) - len(branch)
    for name in branch:
        raw = nodes[name]
        role = "user" if raw.get("isCreatedByUser") else "assistant"
        model = None if raw.get("isCreatedByUser") else raw.get("model")
        before = left_out.total()
        text = _text(raw, left_out)
        if not count_if_empty(text, left_out, before):
            yield paths[name], message_fields(role, text, raw.get("createdAt"), model)


def _flatten(path: str, items: list[Any]) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Yield each message with its path and, if it is a child, its parent's id; without recursion, however deep."""
    pending: list[tuple[str, Any, str | None]] = [(f"{path}.{at}", item, None) for at, item in enumerate(items)]
    while pending:
        path, node, parent = pending.pop()
        yield path, node, parent
        name = node.get("messageId") or path
        pending += [(f"{path}.children.{at}", child, name) for at, child in enumerate(node.get("children") or ())]


def _text(raw: dict[str, Any], left_out: Counter[str]) -> str:
    """Return the text of a message, all its parts, and count what is not text."""
    count_files(raw.get("files"), "type", left_out)
    parts = raw.get("content")
    if not isinstance(parts, list):
        return raw.get("text") or ""
    left_out["tool_calls"] += sum(1 for part in parts if part.get("type") == "tool_call")
    left_out["images"] += sum(1 for part in parts if "image" in str(part.get("type")))
    left_out["thoughts"] += sum(1 for part in parts if part.get("type") == "think")
    texts = (part["text"] for part in parts if part.get("type") == "text")
    joined = "\n\n".join(text.get("value", "") if isinstance(text, dict) else text for text in texts)
    return joined or raw.get("text") or ""
