"""LibreChat's export of a conversation: messages in a list, or each with its ``children`` (recursive)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.importers.common import branch, count_files, head, is_empty, message, newest_leaf


def matches(item: dict[str, Any]) -> bool:
    """Return whether an item is one of this kind."""
    return "conversationId" in item and isinstance(item.get("messages", item.get("messagesTree")), list)


def session(item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
    """Return the document's session, and its system prompt."""
    prompt = (item.get("options") or {}).get("promptPrefix")
    created = item.get("createdAt")
    return head(item["conversationId"], item.get("title"), created, left_out), prompt


def messages(item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is said on the way to the newest leaf."""
    key = "messages" if "messages" in item else "messagesTree"
    nodes, paths = {}, {}
    for path, node, parent in _flat(key, item[key]):
        name = node.get("messageId") or path
        nodes[name] = node | ({"parentMessageId": parent} if parent else {})
        paths[name] = path
    shown = branch(nodes, newest_leaf(nodes, None, "parentMessageId", "createdAt"), "parentMessageId")
    left_out["branches"] += len(nodes) - len(shown)
    for name in shown:
        said = nodes[name]
        role = "user" if said.get("isCreatedByUser") else "assistant"
        model = None if said.get("isCreatedByUser") else said.get("model")
        before = left_out.total()
        text = _text(said, left_out)
        if not is_empty(text, left_out, before):
            yield paths[name], message(role, text, said.get("createdAt"), model)


def _flat(path: str, items: list[Any]) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Yield each message with where it stands and, where that follows from it, its parent; no deeper than a list."""
    waiting: list[tuple[str, Any, str | None]] = [(f"{path}.{at}", item, None) for at, item in enumerate(items)]
    while waiting:
        path, node, parent = waiting.pop()
        yield path, node, parent
        name = node.get("messageId") or path
        waiting += [(f"{path}.children.{at}", child, name) for at, child in enumerate(node.get("children") or ())]


def _text(said: dict[str, Any], left_out: Counter[str]) -> str:
    """Return the text of a message, all its parts, and count what is not text."""
    count_files(said.get("files"), "type", left_out)
    parts = said.get("content")
    if not isinstance(parts, list):
        return said.get("text") or ""
    left_out["tool_calls"] += sum(1 for part in parts if part.get("type") == "tool_call")
    left_out["images"] += sum(1 for part in parts if "image" in str(part.get("type")))
    left_out["thoughts"] += sum(1 for part in parts if part.get("type") == "think")
    texts = (part["text"] for part in parts if part.get("type") == "text")
    joined = "\n\n".join(text.get("value", "") if isinstance(text, dict) else text for text in texts)
    return joined or said.get("text") or ""
