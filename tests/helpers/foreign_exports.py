"""Conversations as other programs export them, made up in their formats."""

from __future__ import annotations

from typing import Any

CREATE_TIME = 1_769_851_800.25  # 2026-01-31T09:30:00.250Z


def gpt_node(name: str, parent: str | None, role: str = "user", *parts: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    raw: dict[str, Any] = {"author": {"role": role}, "create_time": CREATE_TIME, "metadata": more.pop("metadata", {})}
    raw |= {"content": {"content_type": "text", "parts": list(parts)}, "recipient": "all"} | more
    return name, {"id": name, "message": raw, "parent": parent, "children": []}


def gpt_conversation(*nodes: tuple[str, dict[str, Any]], current: str | None = None, **more: Any) -> dict[str, Any]:
    root: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    return {
        "title": "A chat",
        "create_time": CREATE_TIME,
        "update_time": CREATE_TIME,
        "mapping": root | dict(nodes),
        "current_node": current or nodes[-1][0],
        "conversation_id": "gpt-1",
    } | more


CHATGPT = gpt_conversation(
    gpt_node("sys", "root", "system", "hidden", metadata={"is_visually_hidden_from_conversation": True}),
    gpt_node("q", "sys", "user", "What ", "broke?"),
    gpt_node("empty", "q", "assistant", ""),
    gpt_node("old", "q", "assistant", "An answer that was replaced."),
    gpt_node("call", "empty", "assistant", "search()", recipient="browser"),
    gpt_node("tool", "call", "tool", "found"),
    gpt_node("image", "tool", "user", {"content_type": "image_asset_pointer", "asset_pointer": "x"}, "This."),
    gpt_node("a", "image", "assistant", "The queue.", metadata={"model_slug": "gpt-4"}),
)

OPEN_WEBUI = {
    "id": "owui-1",
    "user_id": "u",
    "title": "A chat",
    "created_at": 1_769_851_800,
    "chat": {
        "title": "A chat",
        "params": {"system": "Be brief."},
        "history": {
            "currentId": "3",
            "messages": {
                "1": {
                    "id": "1",
                    "parentId": None,
                    "role": "user",
                    "content": "Well?",
                    "timestamp": 1_769_851_800,
                    "files": [{"type": "image", "url": "data:"}, {"type": "file"}],
                },
                "2": {"id": "2", "parentId": "1", "role": "assistant", "content": "No.", "timestamp": 1_769_851_801},
                "3": {
                    "id": "3",
                    "parentId": "1",
                    "role": "assistant",
                    "content": "Yes.",
                    "model": "llama",
                    "timestamp": 1_769_851_802,
                },
            },
        },
        "messages": [],
        "timestamp": 1_769_851_800_000,
    },
}


def libre_message(name: str, parent: str, text: str, by_user: bool, created_at: str, **more: Any) -> dict[str, Any]:
    return {
        "messageId": name,
        "parentMessageId": parent,
        "text": text,
        "isCreatedByUser": by_user,
        "createdAt": created_at,
        "sender": "x",
    } | more


NO_PARENT = "00000000-0000-0000-0000-000000000000"
LIBRE_MESSAGES = [
    libre_message("c", "b", "newest", True, "2026-01-31T09:33:00.000Z"),  # before its parent
    libre_message("a", NO_PARENT, "Well?", True, "2026-01-31T09:30:00.000Z"),
    libre_message("x", "a", "replaced", False, "2026-01-31T09:31:00.000Z"),
    libre_message(
        "b",
        "a",
        "",
        False,
        "2026-01-31T09:32:00.000Z",
        model="gpt-4",
        content=[
            {"type": "text", "text": "One."},
            {"type": "tool_call", "tool_call": {}},
            {"type": "text", "text": {"value": "Two."}},
            {"type": "image_file"},
            {"type": "think"},
        ],
    ),
]
LIBRECHAT = {
    "conversationId": "libre-1",
    "title": "A chat",
    "exportAt": "10:00",
    "branches": True,
    "recursive": False,
    "options": {"promptPrefix": "Be kind."},
    "messages": LIBRE_MESSAGES,
}
WITHOUT_PARENTS = [{key: value for key, value in each.items() if key != "parentMessageId"} for each in LIBRE_MESSAGES]
LIBRECHAT_RECURSIVE = LIBRECHAT | {
    "recursive": True,
    "messages": [
        WITHOUT_PARENTS[1]
        | {"children": [WITHOUT_PARENTS[2] | {"children": []}, WITHOUT_PARENTS[3] | {"children": [WITHOUT_PARENTS[0]]}]}
    ],
}


def claude_message(name: str, parent: str | None, sender: str, *blocks: Any, **more: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {"uuid": name, "sender": sender, "text": "all of it, flat", "content": list(blocks)}
    raw |= {"created_at": f"2026-01-31T09:30:0{len(name)}.000000Z", "attachments": [], "files": []}
    return raw | ({"parent_message_uuid": parent} if parent else {}) | more


CLAUDE_ROOT = "00000000-0000-4000-8000-000000000000"
CITED = {"type": "text", "text": "The queue.", "citations": [{"url": "x"}]}
CLAUDE: dict[str, Any] = {
    "uuid": "claude-1",
    "name": "A chat",
    "summary": "",
    "created_at": "2026-01-31T09:30:00.000000Z",
    "updated_at": "2026-01-31T09:30:00.000000Z",
    "account": {"uuid": "u"},
    "chat_messages": [
        claude_message(
            "q",
            CLAUDE_ROOT,
            "human",
            {"type": "text", "text": "What broke?"},
            created_at="2026-01-31T09:30:00.1Z",
            attachments=[{"file_name": "", "extracted_content": "pasted"}],
            files=[{"file_kind": "image"}, {"file_kind": "document"}],
        ),
        claude_message("old", "q", "assistant", {"type": "text", "text": "An answer that was replaced."}),
        claude_message(
            "a",
            "q",
            "assistant",
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": " "},
            {"type": "tool_use"},
            {"type": "tool_result"},
            CITED,
            {"type": "text", "text": "It is full."},
        ),
        claude_message("upload", "a", "human", files=[{}], text=""),
        claude_message("nothing", "upload", "assistant", text=""),
        claude_message("question", "nothing", "human", text="And now?"),
    ],
}
CLAUDE_FLAT = CLAUDE | {
    "chat_messages": [
        {key: value for key, value in each.items() if key != "parent_message_uuid"}
        for each in CLAUDE["chat_messages"]
        if each["uuid"] != "old"
    ]
}


def webui_chat(**fields: Any) -> dict[str, Any]:
    nodes = {"1": {"role": "user", "content": "x"}, "2": {"role": "assistant", "parentId": "1"} | fields}
    return {"history": {"messages": nodes, "currentId": "2"}}


def libre_conversation(**fields: Any) -> dict[str, Any]:
    nodes = [libre_message("1", NO_PARENT, "x", True, "x"), libre_message("2", "1", "", False, "y") | fields]
    return {"conversationId": "a", "messages": nodes}
