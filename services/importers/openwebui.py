"""Open WebUI's export of chats: in ``history.messages`` by id, of which ``currentId`` ends the branch shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.importers.common import branch, count_files, head, is_empty, message, newest_leaf

LEFT_OUT = {"reasoning": "thoughts", "tool_calls": "tool_calls", "code_interpreter": "tool_calls"}
_DETAILS = re.compile(
    r"""(?P<open><details(?P<attributes>(?:\s++[\w:-]++(?:="[^"]*+")?)*+)\s*+>)|(?P<close></details>\s*+)"""
)
_TYPE = re.compile(rf'\stype="({"|".join(LEFT_OUT)})"')


def matches(item: dict[str, Any]) -> bool:
    """Return whether an item is one of this kind."""
    history = _chat(item).get("history")
    return isinstance(history, dict) and isinstance(history.get("messages"), dict)


def session(item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
    """Return the document's session, and its system prompt."""
    chat = _chat(item)
    created = item.get("created_at") or chat.get("timestamp")
    title = item.get("title") or chat.get("title")
    prompt = (chat.get("params") or {}).get("system") or chat.get("system")
    return head(item.get("id") or chat.get("id"), title, created, left_out), prompt


def messages(item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is said on the way to the current message."""
    history = _chat(item)["history"]
    nodes = history["messages"]
    shown = branch(nodes, newest_leaf(nodes, history.get("currentId"), "parentId", "timestamp"), "parentId")
    left_out["branches"] += len(nodes) - len(shown)
    for name in shown:
        said = nodes[name]
        before = left_out.total()
        count_files(said.get("files"), "type", left_out)
        left_out["tool_calls"] += len(said.get("tool_calls") or ())
        if said["role"] == "tool":
            left_out["tool_calls"] += 1
            continue
        text = said.get("content")
        if said["role"] == "assistant" and isinstance(text, str) and "<details" in text:
            text = _without_blocks(text, left_out)
        if not is_empty(text, left_out, before):
            yield f"history.messages.{name}", message(said["role"], text, said.get("timestamp"), said.get("model"))


def _without_blocks(text: str, left_out: Counter[str]) -> str:
    """Return an answer without the blocks that stand in it for thoughts and calls of tools, with all in them.

    One that is not closed goes to the end: the answer was cut off in it. Other ``<details>`` stay.
    """
    kept, start, depth = [], 0, 0
    for tag in _DETAILS.finditer(text):
        if depth:
            depth += 1 if tag["open"] else -1
            start = tag.end()
        elif tag["open"] and (kind := _TYPE.search(tag["attributes"])) and _begins_line(text, tag.start()):
            left_out[LEFT_OUT[kind[1]]] += 1
            kept.append(text[start : tag.start()])
            depth = 1
    if not kept:
        return text
    return "".join(kept if depth else [*kept, text[start:]]).strip()


def _begins_line(text: str, at: int) -> bool:
    """Return whether there are at most three spaces before an offset in its line, as Markdown has it."""
    _, newline, before = (text[at - 4 : at] if at >= 4 else f"\n{text[:at]}").rpartition("\n")
    return bool(newline) and not before.strip(" ")


def _chat(item: dict[str, Any]) -> dict[str, Any]:
    chat = item.get("chat")
    return chat if isinstance(chat, dict) else item
