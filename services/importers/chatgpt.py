"""ChatGPT's ``conversations.json``: a tree of nodes in ``mapping``, of which ``current_node`` ends the one shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.importers.common import branch, head, message


def matches(item: dict[str, Any]) -> bool:
    """Tell whether an item is one of this kind."""
    return isinstance(item.get("mapping"), dict)


def session(item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
    """Return the document's session, and no system prompt: theirs is in hidden nodes."""
    origin = item.get("conversation_id") or item.get("id")
    return head(origin, item.get("title"), item.get("create_time"), left_out), None


def messages(item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is said on the way to the current node. Hidden and empty nodes say nothing."""
    nodes = item["mapping"]
    shown = branch(nodes, item.get("current_node") or next(reversed(nodes), None), "parent")
    left_out["branches"] += sum(1 for name in nodes.keys() - set(shown) if _said(nodes[name], Counter()))
    for name in shown:
        text = _said(nodes[name], left_out)
        if text:
            said = nodes[name]["message"]
            model = (said.get("metadata") or {}).get("model_slug")
            yield f"mapping.{name}", message(said["author"]["role"], text, said.get("create_time"), model)


def _said(node: dict[str, Any], left_out: Counter[str]) -> str:
    """Return the text of a node, all its parts, and count what is not text."""
    said = node.get("message")
    if not said or (said.get("metadata") or {}).get("is_visually_hidden_from_conversation"):
        return ""
    content = said.get("content") or {}
    if said["author"]["role"] == "tool" or said.get("recipient") not in (None, "all"):
        left_out["tool_calls"] += 1
        return ""
    if content.get("content_type") in ("thoughts", "reasoning_recap", "user_editable_context"):
        left_out["thoughts"] += 1
        return ""
    parts = content.get("parts") or [content.get("text") or content.get("result") or ""]
    left_out["images"] += sum(1 for part in parts if isinstance(part, dict) and not part.get("text"))
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n\n".join(text for text in texts if isinstance(text, str) and text.strip())
