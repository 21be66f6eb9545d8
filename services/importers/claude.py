"""Claude's ``conversations.json``: messages in ``chat_messages``, each a list of blocks in ``content``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.importers.common import branch, count_files, head, is_empty, message, newest_leaf

ROLES = {"human": "user"}
LEFT_OUT = {"thinking": "thoughts", "redacted_thinking": "thoughts", "image": "images", "document": "files"}


def matches(item: dict[str, Any]) -> bool:
    """Return whether an item is one of this kind."""
    return isinstance(item.get("chat_messages"), list)


def session(item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
    """Return the document's session, and no system prompt: there is none in an export."""
    return head(item.get("uuid"), item.get("name"), item.get("created_at"), left_out), None


def messages(item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is said on the way to the current leaf; without parents, all of it in its order."""
    nodes = {said.get("uuid") or str(at): said | {"at": at} for at, said in enumerate(item["chat_messages"])}
    shown = list(nodes)
    if any(said.get("parent_message_uuid") for said in nodes.values()):
        leaf = newest_leaf(nodes, item.get("current_leaf_message_uuid"), "parent_message_uuid", "created_at")
        shown = branch(nodes, leaf, "parent_message_uuid")
    left_out["branches"] += len(item["chat_messages"]) - len(shown)
    for name in shown:
        said = nodes[name]
        before = left_out.total()
        text = _text(said, left_out)
        if not is_empty(text, left_out, before):
            role = ROLES.get(said["sender"], said["sender"])
            yield f"chat_messages.{said['at']}", message(role, text, said.get("created_at"), None)


def _text(said: dict[str, Any], left_out: Counter[str]) -> str:
    """Return the text of a message, all its blocks, and count what is not text."""
    count_files(said.get("attachments"), "file_type", left_out)
    count_files(said.get("files") or said.get("files_v2"), "file_kind", left_out)
    blocks = said.get("content") or [{"type": "text", "text": said.get("text")}]
    texts = [block for block in blocks if block.get("type") == "text"]
    left_out.update(LEFT_OUT.get(block.get("type"), "tool_calls") for block in blocks if block not in texts)
    left_out["citations"] += sum(len(block.get("citations") or ()) for block in texts)
    return "\n\n".join(block["text"] for block in texts if block.get("text") and block["text"].strip())
