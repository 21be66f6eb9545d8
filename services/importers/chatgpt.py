"""ChatGPT's ``conversations.json``: a tree of nodes in ``mapping``, of which ``current_node`` ends the one shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from services.importers.common import branch, head, message, newest_leaf

LEFT_OUT = {
    "thoughts": "thoughts",
    "reasoning_recap": "thoughts",
    "user_editable_context": "custom_instructions",
    "model_editable_context": "custom_instructions",
    "tether_quote": "browsing",
    "tether_browsing_display": "browsing",
    "sonic_webpage": "browsing",
}

# A mark in the text, in characters for private use: a kind, and behind U+E202 what it points at.
_MARK = re.compile("\ue200([^\ue200\ue201\ue202]*)((?:\ue202[^\ue200\ue201]*)?)\ue201")
_BORDERS = re.compile("[\ue203-\ue206]")  # of the text that a mark is for
_OLD_MARK = re.compile(r"【\d+†[^【】\n]*】")


def matches(item: dict[str, Any]) -> bool:
    """Return whether an item is one of this kind."""
    return isinstance(item.get("mapping"), dict)


def session(item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
    """Return the document's session, and no system prompt: theirs is in hidden nodes."""
    origin = item.get("conversation_id") or item.get("id")
    return head(origin, item.get("title"), item.get("create_time"), left_out), None


def messages(item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is said on the way to the current node. Hidden and empty nodes say nothing.

    Exports whose current node is not among the nodes have been seen: then the newest leaf is taken.
    """
    nodes = item["mapping"]
    times = {name: {"parent": node.get("parent"), "time": _time(node)} for name, node in nodes.items()}
    shown = branch(nodes, newest_leaf(times, item.get("current_node"), "parent", "time"), "parent")
    left_out["branches"] += sum(1 for name in nodes.keys() - set(shown) if _said(nodes[name], Counter()))
    for name in shown:
        text = _said(nodes[name], left_out)
        if text:
            said = nodes[name]["message"]
            model = (said.get("metadata") or {}).get("model_slug")
            yield f"mapping.{name}", message(said["author"]["role"], text, said.get("create_time"), model)


def _time(node: dict[str, Any]) -> Any:
    return (node.get("message") or {}).get("create_time")


def _said(node: dict[str, Any], left_out: Counter[str]) -> str:
    """Return the text of a node, all its parts, and count what is not text."""
    said = node.get("message")
    metadata = (said or {}).get("metadata") or {}
    if not said or metadata.get("is_visually_hidden_from_conversation"):
        return ""
    content = said.get("content") or {}
    kind = LEFT_OUT.get(str(content.get("content_type")))
    if kind is None and (said["author"]["role"] == "tool" or said.get("recipient") not in (None, "all")):
        kind = "tool_calls"
    if kind:
        left_out[kind] += 1
        return ""
    parts = content.get("parts") or [content.get("text") or content.get("result") or ""]
    for part in parts:
        if isinstance(part, dict) and not part.get("text"):
            left_out["audio" if "audio" in str(part.get("content_type")) else "images"] += 1
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    text = "\n\n".join(text for text in texts if isinstance(text, str) and text.strip())
    if said["author"]["role"] == "assistant":
        text = _without_marks(text, bool(metadata.get("citations")), left_out)
    return text


def _without_marks(text: str, cites: bool, left_out: Counter[str]) -> str:
    """Return a text without its citations, which point at what an export does not have.

    What a mark shows to a reader, the name of a thing or of a link, stays.
    """

    def shown(mark: re.Match[str]) -> str:
        kind, fields = mark[1], mark[2].split("\ue202")[1:]
        if kind == "entity" and fields:
            try:
                return str(orjson.loads(fields[0])[1])
            except (ValueError, LookupError, TypeError):
                pass
        left_out["citations"] += 1
        return fields[0] if kind in ("url", "link_title") and fields else ""

    if "\ue200" in text:
        text = _BORDERS.sub("", _MARK.sub(shown, text))
    if cites:
        text, count = _OLD_MARK.subn("", text)
        left_out["citations"] += count
    return text if text.strip() else ""
