"""Open WebUI's export of chats: in ``history.messages`` by id, of which ``currentId`` ends the branch shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.importers.common import branch, head, message


def matches(item: dict[str, Any]) -> bool:
    """Tell whether an item is one of this kind."""
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
    shown = branch(nodes, history.get("currentId") or next(reversed(nodes), None), "parentId")
    left_out["branches"] += len(nodes) - len(shown)
    for name in shown:
        said = nodes[name]
        files = said.get("files") or []
        left_out["images"] += sum(1 for file in files if file.get("type") == "image")
        left_out["files"] += sum(1 for file in files if file.get("type") != "image")
        left_out["tool_calls"] += len(said.get("tool_calls") or ())
        if said["role"] == "tool":
            left_out["tool_calls"] += 1
            continue
        made = message(said["role"], said.get("content"), said.get("timestamp"), said.get("model"))
        yield f"history.messages.{name}", made


def _chat(item: dict[str, Any]) -> dict[str, Any]:
    chat = item.get("chat")
    return chat if isinstance(chat, dict) else item
