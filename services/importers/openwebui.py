"""Open WebUI's export of chats: ``history.messages`` by id; ``history.currentId`` is the end of the branch shown."""

from __future__ import annotations

import re
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

LEFT_OUT_BY_TYPE = {"reasoning": "thoughts", "tool_calls": "tool_calls", "code_interpreter": "tool_calls"}
_DETAILS = re.compile(
    r"""(?P<open><details(?P<attributes>(?:\s++[\w:-]++(?:="[^"]*+")?)*+)\s*+>)|(?P<close></details>\s*+)"""
)
_TYPE = re.compile(rf'\stype="({"|".join(LEFT_OUT_BY_TYPE)})"')


def matches(item: dict[str, Any]) -> bool:
    """Return whether an item is a chat of Open WebUI's."""
    history = _chat(item).get("history")
    return isinstance(history, dict) and isinstance(history.get("messages"), dict)


def convert_session(item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
    """Return the document's session, and its system prompt."""
    chat = _chat(item)
    created_at = item.get("created_at") or chat.get("timestamp")
    title = item.get("title") or chat.get("title")
    system_prompt = (chat.get("params") or {}).get("system") or chat.get("system")
    return session_fields(item.get("id") or chat.get("id"), title, created_at, left_out), system_prompt


def convert_messages(item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the messages from the root to the current one."""
    history = _chat(item)["history"]
    nodes = history["messages"]
    branch = path_to_leaf(nodes, find_leaf(nodes, history.get("currentId"), "parentId", "timestamp"), "parentId")
    left_out["branches"] += len(nodes) - len(branch)
    for name in branch:
        raw = nodes[name]
        before = left_out.total()
        count_files(raw.get("files"), "type", left_out)
        left_out["tool_calls"] += len(raw.get("tool_calls") or ())
        if raw["role"] == "tool":
            left_out["tool_calls"] += 1
            continue
        text = raw.get("content")
        if raw["role"] == "assistant" and isinstance(text, str) and "<details" in text:
            text = _without_blocks(text, left_out)
        if not count_if_empty(text, left_out, before):
            message = message_fields(raw["role"], text, raw.get("timestamp"), raw.get("model"))
            yield f"history.messages.{name}", message


def _without_blocks(text: str, left_out: Counter[str]) -> str:
    """Return a response without the ``<details>`` blocks that hold its thoughts and tool calls.

    A block that is not closed extends to the end: the response was cut off in it. Other ``<details>`` stay.
    """
    parts, start, depth = [], 0, 0
    for tag in _DETAILS.finditer(text):
        if depth:
            depth += 1 if tag["open"] else -1
            start = tag.end()
        elif tag["open"] and (kind := _TYPE.search(tag["attributes"])) and _starts_line(text, tag.start()):
            left_out[LEFT_OUT_BY_TYPE[kind[1]]] += 1
            parts.append(text[start : tag.start()])
            depth = 1
    if not parts:
        return text
    return "".join(parts if depth else [*parts, text[start:]]).strip()


def _starts_line(text: str, at: int) -> bool:
    """Return whether at most three spaces precede an offset in its line, as Markdown has it for a block."""
    _, newline, before = (text[at - 4 : at] if at >= 4 else f"\n{text[:at]}").rpartition("\n")
    return bool(newline) and not before.strip(" ")


def _chat(item: dict[str, Any]) -> dict[str, Any]:
    chat = item.get("chat")
    return chat if isinstance(chat, dict) else item
