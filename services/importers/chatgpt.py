"""ChatGPT's ``conversations.json``: a tree of nodes in ``mapping``; ``current_node`` is the end of the branch shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from services.importers.common import find_leaf, message_fields, path_to_leaf, session_fields

LEFT_OUT_BY_TYPE = {
    "thoughts": "thoughts",
    "reasoning_recap": "thoughts",
    "user_editable_context": "custom_instructions",
    "model_editable_context": "custom_instructions",
    "tether_quote": "browsing",
    "tether_browsing_display": "browsing",
    "sonic_webpage": "browsing",
}

# A marker in the text, in characters for private use: a kind, and after each U+E202 something that it refers to.
_MARKER = re.compile("\ue200([^\ue200\ue201\ue202]*)((?:\ue202[^\ue200\ue201]*)?)\ue201")
_BORDERS = re.compile("[\ue203-\ue206]")  # of the text that a marker is for
_OLD_MARKER = re.compile(r"【\d+†[^【】\n]*】")


def matches(item: dict[str, Any]) -> bool:
    """Return whether an item is a conversation of ChatGPT's."""
    return isinstance(item.get("mapping"), dict)


def convert_session(item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
    """Return the document's session, and no system prompt: theirs is in hidden nodes."""
    external_id = item.get("conversation_id") or item.get("id")
    return session_fields(external_id, item.get("title"), item.get("create_time"), left_out), None


def convert_messages(item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the messages from the root to the current node, without hidden and empty nodes.

    Exports whose current node is not among the nodes have been seen: then the newest leaf is taken.
    """
    nodes = item["mapping"]
    times = {name: {"parent": node.get("parent"), "time": _create_time(node)} for name, node in nodes.items()}
    branch = path_to_leaf(nodes, find_leaf(times, item.get("current_node"), "parent", "time"), "parent")
    left_out["branches"] += sum(1 for name in nodes.keys() - set(branch) if _text(nodes[name], Counter()))
    for name in branch:
        text = _text(nodes[name], left_out)
        if text:
            raw = nodes[name]["message"]
            model = (raw.get("metadata") or {}).get("model_slug")
            yield f"mapping.{name}", message_fields(raw["author"]["role"], text, raw.get("create_time"), model)


def _create_time(node: dict[str, Any]) -> Any:
    return (node.get("message") or {}).get("create_time")


def _text(node: dict[str, Any], left_out: Counter[str]) -> str:
    """Return the text of a node, all its parts, and count what is not text."""
    raw = node.get("message")
    metadata = (raw or {}).get("metadata") or {}
    if not raw or metadata.get("is_visually_hidden_from_conversation"):
        return ""
    content = raw.get("content") or {}
    kind = LEFT_OUT_BY_TYPE.get(str(content.get("content_type")))
    if kind is None and (raw["author"]["role"] == "tool" or raw.get("recipient") not in (None, "all")):
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
    if raw["author"]["role"] == "assistant":
        text = _without_citations(text, bool(metadata.get("citations")), left_out)
    return text


def _without_citations(text: str, has_citations: bool, left_out: Counter[str]) -> str:
    """Return a text without its citations, which refer to what an export does not have.

    What a marker shows to a reader, the name of a thing or of a link, stays.
    """

    def shown_text(marker: re.Match[str]) -> str:
        kind, fields = marker[1], marker[2].split("\ue202")[1:]
        if kind == "entity" and fields:
            try:
                return str(orjson.loads(fields[0])[1])
            except (ValueError, LookupError, TypeError):
                pass
        left_out["citations"] += 1
        return fields[0] if kind in ("url", "link_title") and fields else ""

    if "\ue200" in text:
        text = _BORDERS.sub("", _MARKER.sub(shown_text, text))
    if has_citations:
        text, count = _OLD_MARKER.subn("", text)
        left_out["citations"] += count
    return text if text.strip() else ""
