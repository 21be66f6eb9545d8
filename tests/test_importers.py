"""What other programs export, told apart by its shape. The fixtures are made up after their formats."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from flask import Flask

from services import importers
from tests.helpers import openapi_checker
from tests.helpers.client import ApiClient
from tests.helpers.process import ROOT as REPOSITORY
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


def claude(name: str, parent: str | None, sender: str, *blocks: Any, **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"uuid": name, "sender": sender, "text": "all of it, flat", "content": list(blocks)}
    said |= {"created_at": f"2026-01-31T09:30:0{len(name)}.000000Z", "attachments": [], "files": []}
    return said | ({"parent_message_uuid": parent} if parent else {}) | more


ROOT = "00000000-0000-4000-8000-000000000000"
SAID = {"type": "text", "text": "The queue.", "citations": [{"url": "x"}]}
CLAUDE: dict[str, Any] = {
    "uuid": "claude-1",
    "name": "A chat",
    "summary": "",
    "created_at": "2026-01-31T09:30:00.000000Z",
    "updated_at": "2026-01-31T09:30:00.000000Z",
    "account": {"uuid": "u"},
    "chat_messages": [
        claude("q", ROOT, "human", {"type": "text", "text": "What broke?"}, created_at="2026-01-31T09:30:00.1Z",
               attachments=[{"file_name": "", "extracted_content": "pasted"}],
               files=[{"file_kind": "image"}, {"file_kind": "document"}]),
        claude("old", "q", "assistant", {"type": "text", "text": "An answer that was replaced."}),
        claude("a", "q", "assistant", {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": " "},
               {"type": "tool_use"}, {"type": "tool_result"}, SAID, {"type": "text", "text": "It is full."}),
        claude("upload", "a", "human", files=[{}], text=""),
        claude("nothing", "upload", "assistant", text=""),
        claude("question", "nothing", "human", text="And now?"),
    ],
}  # fmt: skip
FLAT = CLAUDE | {
    "chat_messages": [
        {key: value for key, value in each.items() if key != "parent_message_uuid"}
        for each in CLAUDE["chat_messages"]
        if each["uuid"] != "old"
    ]
}
CLAUDE_SAID = [("user", "What broke?"), ("assistant", "The queue.\n\nIt is full."), ("user", "And now?")]
CLAUDE_LEFT = {"files": 3, "images": 1, "thoughts": 1, "tool_calls": 2, "citations": 1, "empty_messages": 1}

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


KINDS += [(CLAUDE, CLAUDE_SAID, None, CLAUDE_LEFT | {"branches": 1}), (FLAT, CLAUDE_SAID, None, CLAUDE_LEFT)]


@pytest.mark.parametrize(("item", "said", "prompt", "left_out"), KINDS)
@pytest.mark.parametrize("as_array", [True, False])
def test_each_kind(
    owner: ApiClient, item: Any, said: Any, prompt: str | None, left_out: dict[str, int], as_array: bool
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


def test_they_may_be_mixed(owner: ApiClient) -> None:
    report = send(owner, [CHATGPT, OPEN_WEBUI, LIBRECHAT, {"session": {}, "messages": []}, {"what": 1}, 5])
    assert [each["status"] for each in report["sessions"]] == ["imported"] * 4 + ["refused"] * 2


@pytest.mark.parametrize(
    ("item", "path", "key"),
    [
        (chatgpt(node("q", "root", "critic", "x")), "mapping.q", "role"),
        (chatgpt(node("q", "root", "user", "x" * 50_001)), "mapping.q", "content"),
        (chatgpt(node("q", "root", "user", "\0")), "mapping.q", "content"),
        ({"id": "a", "history": {"currentId": "1", "messages": {"1": {"role": "user", "content": "\0"}}}},
         "history.messages.1", "content"),
        ({"conversationId": "a", "messages": [libre("a", NOBODY, "\0", True, "x")]}, "messages.0", "content"),
        ({"conversationId": "a", "messages": [libre("a", NOBODY, "x", True, "x")
          | {"children": [libre("b", "a", "y" * 50_001, False, "x")]}]}, "messages.0.children.0", "content"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_told_by_its_path(owner: ApiClient, item: Any, path: str, key: str) -> None:
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
        {"chat_messages": []},
    ],
)
def test_odd_ones_are_imported_as_far_as_they_go(owner: ApiClient, item: Any) -> None:
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
        {"chat_messages": [5]},
        {"chat_messages": [{"text": "x"}]},
        {"chat_messages": [{"sender": "human", "content": "x"}]},
    ],
)
def test_broken_ones_are_refused(owner: ApiClient, item: Any) -> None:
    (report,) = send(owner, item)["sessions"]
    assert (report["status"], report["error"]) == ("refused", "validation_error")


def webui(**said: Any) -> dict[str, Any]:
    nodes = {"1": {"role": "user", "content": "x"}, "2": {"role": "assistant", "parentId": "1"} | said}
    return {"history": {"messages": nodes, "currentId": "2"}}


def librechat(**said: Any) -> dict[str, Any]:
    nodes = [libre("1", NOBODY, "x", True, "x"), libre("2", "1", "", False, "y") | said]
    return {"conversationId": "a", "messages": nodes}


@pytest.mark.parametrize(
    ("item", "left_out"),
    [
        (webui(content="", error={"content": "The model is not there."}), {"empty_messages": 1}),
        (webui(content=None), {"empty_messages": 1}),
        (webui(), {"empty_messages": 1}),
        (webui(role="user", content="", files=[{"type": "image"}]), {"images": 1}),
        (librechat(), {"empty_messages": 1}),
        (librechat(text=None), {"empty_messages": 1}),
        (librechat(content=[]), {"empty_messages": 1}),
        (librechat(content=[{"type": "tool_call"}]), {"tool_calls": 1}),
        (librechat(content=[{"type": "think"}]), {"thoughts": 1}),
        (librechat(isCreatedByUser=True, files=[{"type": "image/png"}]), {"images": 1}),
        ({"chat_messages": [claude("1", None, "human", text="x"), claude("2", None, "assistant", text="")]},
         {"empty_messages": 1}),
    ],
)  # fmt: skip
def test_a_message_without_text_is_left_out(owner: ApiClient, item: Any, left_out: dict[str, int]) -> None:
    """An answer that has failed, or was of nothing but a tool's call; a question that was an image."""
    (report,) = send(owner, item)["sessions"]
    assert (report["status"], report.get("left_out")) == ("imported", left_out), report
    assert [each["content"] for each in conversation(owner, report)["messages"]] == ["x"]


def test_a_title_that_is_too_long_is_cut_and_counted(owner: ApiClient) -> None:
    (report,) = send(owner, chatgpt(node("a", "root", "user", "x"), title="t" * 150))["sessions"]
    assert report["left_out"] == {"title_characters": 30}
    assert conversation(owner, report)["title"] == "t" * 120


def test_a_deep_tree(owner: ApiClient) -> None:
    nodes = [node(str(number), str(number - 1) if number else "root", "user", "x") for number in range(5_000)]
    (report,) = send(owner, chatgpt(*nodes))["sessions"]
    assert len(conversation(owner, report)["messages"]) == 5_000


def test_the_programs_are_named_wherever_one_looks(owner: ApiClient, app: Flask) -> None:
    (report,) = send(owner, {"what": 1})["sessions"]
    operation = openapi_checker.DOCUMENT["paths"]["/api/import"]["post"]
    readme = (REPOSITORY / "README.md").read_text()
    texts = [
        str(report["details"]),
        operation["summary"],
        readme.partition("**From elsewhere.**")[2].partition("\n\n")[0],
    ]
    texts.append(" ".join(app.test_cli_runner().invoke(args=["import", "--help"]).output.split()))
    for name in importers.KINDS:
        assert all(name in text for text in texts), name


@pytest.mark.parametrize("current", ["missing", None, "", 5])
def test_without_its_current_node_the_newest_leaf_is_taken(owner: ApiClient, current: Any) -> None:
    """Whichever way the nodes are ordered."""
    nodes = [
        node("q", "root", "user", "What?"),
        node("a", "q", "assistant", "Newest.", create_time=SECOND + 9),
        node("b", "q", "assistant", "Older.", create_time=SECOND + 5),
        node("c", "b", "user", "Older still.", create_time=SECOND + 7),
        node("d", "q", "assistant", "Of no time.", create_time=None),
    ]
    for order in itertools.permutations(nodes):
        (report,) = send(owner, chatgpt(*order) | {"current_node": current}, query="?duplicate=1")["sessions"]
        assert [each["content"] for each in conversation(owner, report)["messages"]] == ["What?", "Newest."]
        assert report["left_out"] == {"branches": 3}


@pytest.mark.parametrize(
    ("parts", "more", "text", "left_out"),
    [
        (["It broke \ue200cite\ue202turn0search1\ue202turn0search2\ue201."], {}, "It broke .", {"citations": 1}),
        (["\ue203It broke\ue204 \ue200filecite\ue202turn0file0\ue201\ue206!"], {}, "It broke !", {"citations": 1}),
        (['At \ue200entity\ue202["company","OpenAI"]\ue201.'], {}, "At OpenAI.", {}),
        (["See \ue200url\ue202the docs\ue202https://x.y\ue201."], {}, "See the docs.", {"citations": 1}),
        (["Left \ue200open, and \ue2ff."], {}, "Left \ue200open, and \ue2ff.", {}),
        (["See 【3†source】."], {"metadata": {"citations": [{}]}}, "See .", {"citations": 1}),
        (["See 【3†source】."], {}, "See 【3†source】.", {}),
        (["a", {"content_type": "image_asset_pointer"}, {"content_type": "audio_asset_pointer"}, None], {}, "a",
         {"images": 1, "audio": 1}),
        ([{"content_type": "audio_transcription", "text": "spoken"}], {}, "spoken", {}),
    ],
)  # fmt: skip
def test_marks_in_an_answer(owner: ApiClient, parts: Any, more: Any, text: str, left_out: Any) -> None:
    (report,) = send(owner, chatgpt(node("a", "root", "assistant", *parts, **more)))["sessions"]
    assert [each["content"] for each in conversation(owner, report)["messages"]] == [text]
    assert report.get("left_out", {}) == left_out


@pytest.mark.parametrize(
    ("content", "left_out"),
    [
        ({"content_type": "thoughts", "thoughts": [{"content": "x"}]}, "thoughts"),
        ({"content_type": "reasoning_recap", "content": "Thought for 5s"}, "thoughts"),
        ({"content_type": "user_editable_context", "user_profile": "x"}, "custom_instructions"),
        ({"content_type": "tether_quote", "text": "x", "url": "y"}, "browsing"),
        ({"content_type": "tether_browsing_display", "result": "x"}, "browsing"),
    ],
)
def test_what_is_no_text_is_counted(owner: ApiClient, content: Any, left_out: str) -> None:
    nodes = [node("q", "root", "user", "x"), node("a", "q", "assistant", content=content)]
    (report,) = send(owner, chatgpt(*nodes))["sessions"]
    assert report["left_out"] == {left_out: 1}
    assert len(conversation(owner, report)["messages"]) == 1


def details(kind: str, inner: str = "x", close: str = "</details>", **attributes: str) -> str:
    named = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<details type="{kind}" done="true"{named}>\n<summary>s</summary>\n{inner}\n{close}\n'


@pytest.mark.parametrize(
    ("content", "text", "left_out"),
    [
        (details("reasoning", "> hm") + "Answer.", "Answer.", {"thoughts": 1}),
        ("First.\n" + details("tool_calls", arguments="&quot;a &gt; b&quot; > c") + "Then.", "First.\nThen.",
         {"tool_calls": 1}),
        (details("code_interpreter", "```py\n<details>\n</details>\n```") + "So.", "So.", {"tool_calls": 1}),
        (details("reasoning", "> " + details("tool_calls")) + "So.", "So.", {"thoughts": 1}),
        (details("reasoning") + details("reasoning") + "So.", "So.", {"thoughts": 2}),
        ("So.\n" + details("reasoning", "and on", close=""), "So.", {"thoughts": 1}),
        ("<details>\n<summary>s</summary>\nmine\n</details>", ..., {}),
        ('<details type="other">\nmine\n</details>', ..., {}),
        ("<details>\n" + details("reasoning") + "mine\n</details>", "<details>\nmine\n</details>", {"thoughts": 1}),
        ('Write `<details type="reasoning">` to hide it.', ..., {}),
        ("</details>\n<details", ..., {}),
    ],
)  # fmt: skip
def test_blocks_of_open_webui_are_no_text(owner: ApiClient, content: str, text: Any, left_out: Any) -> None:
    said = {"1": {"role": "user", "content": content}, "2": {"role": "assistant", "content": content, "parentId": "1"}}
    (report,) = send(owner, {"id": "", "history": {"messages": said, "currentId": "2"}})["sessions"]
    assert report.get("left_out", {}) == left_out
    user, assistant = (each["content"] for each in conversation(owner, report)["messages"])
    assert (user, assistant) == (content, content if text is ... else text)


def test_an_answer_of_nothing_but_blocks_is_left_out(owner: ApiClient) -> None:
    said = {"1": {"role": "assistant", "content": details("reasoning")}}
    (report,) = send(owner, {"history": {"messages": said, "currentId": "1"}})["sessions"]
    assert (report["status"], report["left_out"]) == ("imported", {"thoughts": 1})
    assert conversation(owner, report)["messages"] == []


@pytest.mark.parametrize(
    "part", ['<details type="reasoning"> ', "</details>", "<details a ", "【1†", "\ue200", "\ue200a\ue202"]
)
def test_the_time_it_takes_grows_with_the_text(part: str) -> None:
    def took(length: int) -> float:
        text = part * (length // len(part))
        began = time.perf_counter()
        importers.convert({"history": {"messages": {"1": {"role": "assistant", "content": text}}}})
        said = {"author": {"role": "assistant"}, "content": {"parts": [text]}, "metadata": {"citations": [1]}}
        importers.convert({"mapping": {"a": {"message": said}}})
        return time.perf_counter() - began

    assert took(800_000) < 8 * 5 * min(took(100_000) for _ in range(3)) + 0.2
