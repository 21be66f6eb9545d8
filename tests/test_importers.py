"""What other programs export, told apart by its shape. The fixtures are made up after their formats."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Caller
from tests.test_transfer import conversation, send

SECOND = 1_769_851_800.25  # 2026-01-31T09:30:00.250Z


def node(name: str, parent: str | None, role: str = "user", *parts: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    said: dict[str, Any] = {"author": {"role": role}, "create_time": SECOND, "metadata": more.pop("metadata", {})}
    said |= {"content": {"content_type": "text", "parts": list(parts)}, "recipient": "all"} | more
    return name, {"id": name, "message": said, "parent": parent, "children": []}


def chatgpt(*nodes: tuple[str, dict[str, Any]], current: str | None = None, **more: Any) -> dict[str, Any]:
    root: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    return {
        "title": "A chat",
        "create_time": SECOND,
        "update_time": SECOND,
        "mapping": root | dict(nodes),
        "current_node": current or nodes[-1][0],
        "conversation_id": "gpt-1",
    } | more


CHATGPT = chatgpt(
    node("sys", "root", "system", "hidden", metadata={"is_visually_hidden_from_conversation": True}),
    node("q", "sys", "user", "What ", "broke?"),
    node("empty", "q", "assistant", ""),
    node("old", "q", "assistant", "An answer that was replaced."),
    node("call", "empty", "assistant", "search()", recipient="browser"),
    node("tool", "call", "tool", "found"),
    node("image", "tool", "user", {"content_type": "image_asset_pointer", "asset_pointer": "x"}, "This."),
    node("a", "image", "assistant", "The queue.", metadata={"model_slug": "gpt-4"}),
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
                "1": {"id": "1", "parentId": None, "role": "user", "content": "Well?", "timestamp": 1_769_851_800,
                      "files": [{"type": "image", "url": "data:"}, {"type": "file"}]},
                "2": {"id": "2", "parentId": "1", "role": "assistant", "content": "No.", "timestamp": 1_769_851_801},
                "3": {"id": "3", "parentId": "1", "role": "assistant", "content": "Yes.", "model": "llama",
                      "timestamp": 1_769_851_802},
            },
        },
        "messages": [],
        "timestamp": 1_769_851_800_000,
    },
}  # fmt: skip


def libre(name: str, parent: str, text: str, by_user: bool, moment: str, **more: Any) -> dict[str, Any]:
    return {"messageId": name, "parentMessageId": parent, "text": text, "isCreatedByUser": by_user,
            "createdAt": moment, "sender": "x"} | more  # fmt: skip


NOBODY = "00000000-0000-0000-0000-000000000000"
LIBRE_MESSAGES = [
    libre("c", "b", "newest", True, "2026-01-31T09:33:00.000Z"),  # before its parent
    libre("a", NOBODY, "Well?", True, "2026-01-31T09:30:00.000Z"),
    libre("x", "a", "replaced", False, "2026-01-31T09:31:00.000Z"),
    libre("b", "a", "", False, "2026-01-31T09:32:00.000Z", model="gpt-4",
          content=[{"type": "text", "text": "One."}, {"type": "tool_call", "tool_call": {}},
                   {"type": "text", "text": {"value": "Two."}}, {"type": "image_file"}, {"type": "think"}]),
]  # fmt: skip
LIBRECHAT = {"conversationId": "libre-1", "title": "A chat", "exportAt": "10:00", "branches": True,
             "recursive": False, "options": {"promptPrefix": "Be kind."}, "messages": LIBRE_MESSAGES}  # fmt: skip
BARE = [{key: value for key, value in each.items() if key != "parentMessageId"} for each in LIBRE_MESSAGES]
RECURSIVE = LIBRECHAT | {
    "recursive": True,
    "messages": [BARE[1] | {"children": [BARE[2] | {"children": []}, BARE[3] | {"children": [BARE[0]]}]}],
}

KINDS: list[tuple[Any, list[tuple[str, str]], str | None, dict[str, int]]] = [
    (
        CHATGPT,
        [("user", "What \n\nbroke?"), ("user", "This."), ("assistant", "The queue.")],
        None,
        {"branches": 1, "tool_calls": 2, "images": 1},
    ),
    (OPEN_WEBUI, [("user", "Well?"), ("assistant", "Yes.")], "Be brief.", {"branches": 1, "images": 1, "files": 1}),
    (OPEN_WEBUI["chat"], [("user", "Well?"), ("assistant", "Yes.")], "Be brief.",
     {"branches": 1, "images": 1, "files": 1}),
    (LIBRECHAT, [("user", "Well?"), ("assistant", "One.\n\nTwo."), ("user", "newest")], "Be kind.",
     {"branches": 1, "tool_calls": 1, "images": 1, "thoughts": 1}),
]  # fmt: skip
KINDS += [(RECURSIVE, *KINDS[-1][1:])]
KINDS += [(RECURSIVE | {"messagesTree": RECURSIVE["messages"]}, *KINDS[-1][1:])]


@pytest.mark.parametrize(("item", "said", "prompt", "left_out"), KINDS)
@pytest.mark.parametrize("as_array", [True, False])
def test_each_kind(
    owner: Caller, item: Any, said: Any, prompt: str | None, left_out: dict[str, int], as_array: bool
) -> None:
    (report,) = send(owner, [item] if as_array else item)["sessions"]
    assert report["status"] == "imported", report
    assert report["left_out"] == left_out
    session = conversation(owner, report)
    assert [(each["role"], each["content"]) for each in session["messages"]] == said
    assert (session["title"], session["system_prompt"]) == ("A chat", prompt)
    assert session["messages"][0]["created_at"].startswith("2026-01-31T09:30:00.")
    assert [each["metadata"] for each in session["messages"]][1] in ({"model": "llama"}, {"model": "gpt-4"}, {})
    again = send(owner, item)
    assert again["counts"]["skipped"] == 1


def test_they_may_be_mixed(owner: Caller) -> None:
    report = send(owner, [CHATGPT, OPEN_WEBUI, LIBRECHAT, {"session": {}, "messages": []}, {"what": 1}, 5])
    assert [each["status"] for each in report["sessions"]] == ["imported"] * 4 + ["refused"] * 2


@pytest.mark.parametrize(
    ("item", "path", "key"),
    [
        (chatgpt(node("q", "root", "critic", "x")), "mapping.q", "role"),
        (chatgpt(node("q", "root", "user", "x" * 50_001)), "mapping.q", "content"),
        (chatgpt(node("q", "root", "user", "\0")), "mapping.q", "content"),
        ({"id": "a", "history": {"currentId": "1", "messages": {"1": {"role": "user", "content": ""}}}},
         "history.messages.1", "content"),
        ({"conversationId": "a", "messages": [libre("a", NOBODY, "", True, "x")]}, "messages.0", "content"),
        ({"conversationId": "a", "messages": [libre("a", NOBODY, "x", True, "x")
          | {"children": [libre("b", "a", "y" * 50_001, False, "x")]}]}, "messages.0.children.0", "content"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_told_by_its_path(owner: Caller, item: Any, path: str, key: str) -> None:
    (report,) = send(owner, item)["sessions"]
    assert (report["status"], report["error"]) == ("refused", "validation_error")
    assert set(report["details"]) == {path}
    assert set(report["details"][path]) == {key}
    assert owner.get("/api/sessions").get_json() == {"items": []}


@pytest.mark.parametrize(
    "item",
    [
        chatgpt(("q", {"message": {"author": {"role": "user"}, "content": {"parts": ["x"]}}, "parent": "q"})),
        chatgpt(node("a", "b", "user", "x"), node("b", "a", "assistant", "y")),
        chatgpt(node("a", "root", "user", "x"), create_time=1e300, title=None),
        chatgpt(node("a", "root", "user", "x"), current="missing"),
        {"mapping": {}, "current_node": None},
        {"conversationId": "a", "messages": []},
        {"history": {"messages": {}, "currentId": None}},
    ],
)
def test_odd_ones_are_imported_as_far_as_they_go(owner: Caller, item: Any) -> None:
    (report,) = send(owner, item)["sessions"]
    assert report["status"] == "imported"


@pytest.mark.parametrize(
    "item",
    [
        {"mapping": {"a": 5}, "current_node": "a"},
        {"mapping": {"a": {"message": {"author": None}}}, "current_node": "a"},
        {"mapping": {"a": {"message": "x"}}, "current_node": "a"},
        {"history": {"messages": {"1": {"content": "x"}}, "currentId": "1"}},
        {"history": {"messages": {"1": []}, "currentId": "1"}},
        {"conversationId": "a", "messages": [5]},
        {"conversationId": "a", "messages": [{"messageId": [], "children": 5}]},
        {"conversationId": "a", "messages": [{"content": [5]}]},
    ],
)
def test_broken_ones_are_refused(owner: Caller, item: Any) -> None:
    (report,) = send(owner, item)["sessions"]
    assert (report["status"], report["error"]) == ("refused", "validation_error")


def test_a_title_that_is_too_long_is_cut_and_counted(owner: Caller) -> None:
    (report,) = send(owner, chatgpt(node("a", "root", "user", "x"), title="t" * 150))["sessions"]
    assert report["left_out"] == {"title_characters": 30}
    assert conversation(owner, report)["title"] == "t" * 120


def test_a_deep_tree(owner: Caller) -> None:
    nodes = [node(str(number), str(number - 1) if number else "root", "user", "x") for number in range(5_000)]
    (report,) = send(owner, chatgpt(*nodes))["sessions"]
    assert len(conversation(owner, report)["messages"]) == 5_000
