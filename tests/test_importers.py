"""Conversations of other programs, converted and imported."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flask import Flask

from services import importers
from tests.helpers import openapi_checker
from tests.helpers.client import ApiClient
from tests.helpers.documents import get_imported, import_items
from tests.helpers.foreign_exports import (
    CHATGPT,
    CLAUDE,
    CLAUDE_FLAT,
    LIBRECHAT,
    LIBRECHAT_RECURSIVE,
    NO_PARENT,
    OPEN_WEBUI,
    claude_message,
    gpt_conversation,
    gpt_node,
    libre_conversation,
    libre_message,
    webui_chat,
)
from tests.helpers.process import ROOT
from tests.helpers.waits import assert_below

Messages = list[tuple[str, str]]

GPT_MESSAGES = [("user", "What \n\nbroke?"), ("user", "This."), ("assistant", "The queue.")]
GPT_LEFT_OUT = {"branches": 1, "tool_calls": 2, "images": 1}
WEBUI_MESSAGES = [("user", "Well?"), ("assistant", "Yes.")]
WEBUI_LEFT_OUT = {"branches": 1, "images": 1, "files": 1}
LIBRE_MESSAGES = [("user", "Well?"), ("assistant", "One.\n\nTwo."), ("user", "newest")]
LIBRE_LEFT_OUT = {"branches": 1, "tool_calls": 1, "images": 1, "thoughts": 1}
CLAUDE_MESSAGES = [("user", "What broke?"), ("assistant", "The queue.\n\nIt is full."), ("user", "And now?")]
CLAUDE_LEFT_OUT = {"files": 3, "images": 1, "thoughts": 1, "tool_calls": 2, "citations": 1, "empty_messages": 1}
LIBRECHAT_TREE = LIBRECHAT_RECURSIVE | {"messagesTree": LIBRECHAT_RECURSIVE["messages"]}

EXPORTS: list[tuple[str, Any, Messages, str | None, dict[str, int]]] = [
    # the program, its export, the messages, the system prompt and what is left out
    ("ChatGPT", CHATGPT, GPT_MESSAGES, None, GPT_LEFT_OUT),
    ("Open WebUI", OPEN_WEBUI, WEBUI_MESSAGES, "Be brief.", WEBUI_LEFT_OUT),
    ("Open WebUI", OPEN_WEBUI["chat"], WEBUI_MESSAGES, "Be brief.", WEBUI_LEFT_OUT),
    ("LibreChat", LIBRECHAT, LIBRE_MESSAGES, "Be kind.", LIBRE_LEFT_OUT),
    ("LibreChat", LIBRECHAT_RECURSIVE, LIBRE_MESSAGES, "Be kind.", LIBRE_LEFT_OUT),
    ("LibreChat", LIBRECHAT_TREE, LIBRE_MESSAGES, "Be kind.", LIBRE_LEFT_OUT),
    ("Claude", CLAUDE, CLAUDE_MESSAGES, None, CLAUDE_LEFT_OUT | {"branches": 1}),
    ("Claude", CLAUDE_FLAT, CLAUDE_MESSAGES, None, CLAUDE_LEFT_OUT),
]


@pytest.mark.parametrize(("program", "item", "messages", "system_prompt", "left_out"), EXPORTS)
@pytest.mark.parametrize("as_array", [True, False])
def test_export_is_imported_once(
    owner: ApiClient,
    program: str,
    item: Any,
    messages: Messages,
    system_prompt: str | None,
    left_out: dict[str, int],
    as_array: bool,
) -> None:
    assert [name for name, importer in importers.IMPORTERS.items() if importer.matches(item)] == [program]
    (report,) = import_items(owner, [item] if as_array else item)["sessions"]
    assert report["status"] == "imported", report
    assert report["left_out"] == left_out
    session = get_imported(owner, report)
    assert [(each["role"], each["content"]) for each in session["messages"]] == messages
    assert (session["title"], session["system_prompt"]) == ("A chat", system_prompt)
    assert session["messages"][0]["created_at"].startswith("2026-01-31T09:30:00.")
    assert [each["metadata"] for each in session["messages"]][1] in ({"model": "llama"}, {"model": "gpt-4"}, {})
    again = import_items(owner, item)
    assert again["counts"]["skipped"] == 1


def test_every_importer_has_an_export() -> None:
    assert {program for program, *_ in EXPORTS} == set(importers.IMPORTERS)


def test_exports_may_be_mixed(owner: ApiClient) -> None:
    report = import_items(owner, [CHATGPT, OPEN_WEBUI, LIBRECHAT, {"session": {}, "messages": []}, {"what": 1}, 5])
    assert [each["status"] for each in report["sessions"]] == ["imported"] * 4 + ["refused"] * 2


@pytest.mark.parametrize(
    ("item", "path", "key"),
    [
        (gpt_conversation(gpt_node("q", "root", "critic", "x")), "mapping.q", "role"),
        (gpt_conversation(gpt_node("q", "root", "user", "x" * 50_001)), "mapping.q", "content"),
        (gpt_conversation(gpt_node("q", "root", "user", "\0")), "mapping.q", "content"),
        (
            {"id": "a", "history": {"currentId": "1", "messages": {"1": {"role": "user", "content": "\0"}}}},
            "history.messages.1",
            "content",
        ),
        (
            {"conversationId": "a", "messages": [libre_message("a", NO_PARENT, "\0", True, "x")]},
            "messages.0",
            "content",
        ),
        (
            {
                "conversationId": "a",
                "messages": [
                    libre_message("a", NO_PARENT, "x", True, "x")
                    | {"children": [libre_message("b", "a", "y" * 50_001, False, "x")]}
                ],
            },
            "messages.0.children.0",
            "content",
        ),
    ],
)
def test_invalid_message_is_reported_by_its_path(owner: ApiClient, item: Any, path: str, key: str) -> None:
    (report,) = import_items(owner, item)["sessions"]
    assert (report["status"], report["error"]) == ("refused", "validation_error")
    assert set(report["details"]) == {path}
    assert set(report["details"][path]) == {key}
    assert owner.get("/api/sessions").get_json() == {"items": []}


@pytest.mark.parametrize(
    "item",
    [
        gpt_conversation(("q", {"message": {"author": {"role": "user"}, "content": {"parts": ["x"]}}, "parent": "q"})),
        gpt_conversation(gpt_node("a", "b", "user", "x"), gpt_node("b", "a", "assistant", "y")),
        gpt_conversation(gpt_node("a", "root", "user", "x"), create_time=1e300, title=None),
        gpt_conversation(gpt_node("a", "root", "user", "x"), current="missing"),
        {"mapping": {}, "current_node": None},
        {"conversationId": "a", "messages": []},
        {"history": {"messages": {}, "currentId": None}},
        {"chat_messages": []},
    ],
)
def test_incomplete_export_is_imported(owner: ApiClient, item: Any) -> None:
    (report,) = import_items(owner, item)["sessions"]
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
def test_broken_export_is_refused(owner: ApiClient, item: Any) -> None:
    (report,) = import_items(owner, item)["sessions"]
    assert (report["status"], report["error"]) == ("refused", "validation_error")


@pytest.mark.parametrize(
    ("item", "left_out"),
    [
        (webui_chat(content="", error={"content": "The model is not there."}), {"empty_messages": 1}),
        (webui_chat(content=None), {"empty_messages": 1}),
        (webui_chat(), {"empty_messages": 1}),
        (webui_chat(role="user", content="", files=[{"type": "image"}]), {"images": 1}),
        (libre_conversation(), {"empty_messages": 1}),
        (libre_conversation(text=None), {"empty_messages": 1}),
        (libre_conversation(content=[]), {"empty_messages": 1}),
        (libre_conversation(content=[{"type": "tool_call"}]), {"tool_calls": 1}),
        (libre_conversation(content=[{"type": "think"}]), {"thoughts": 1}),
        (libre_conversation(isCreatedByUser=True, files=[{"type": "image/png"}]), {"images": 1}),
        (
            {
                "chat_messages": [
                    claude_message("1", None, "human", text="x"),
                    claude_message("2", None, "assistant", text=""),
                ]
            },
            {"empty_messages": 1},
        ),
    ],
)
def test_message_without_text_is_left_out(owner: ApiClient, item: Any, left_out: dict[str, int]) -> None:
    """E.g. a response that has failed or is only a tool call, or a question that is only an image."""
    (report,) = import_items(owner, item)["sessions"]
    assert (report["status"], report.get("left_out")) == ("imported", left_out), report
    assert [each["content"] for each in get_imported(owner, report)["messages"]] == ["x"]


def test_long_title_is_cut_and_counted(owner: ApiClient) -> None:
    (report,) = import_items(owner, gpt_conversation(gpt_node("a", "root", "user", "x"), title="t" * 150))["sessions"]
    assert report["left_out"] == {"title_characters": 30}
    assert get_imported(owner, report)["title"] == "t" * 120


def test_deep_tree_is_imported(owner: ApiClient) -> None:
    nodes = [gpt_node(str(number), str(number - 1) if number else "root", "user", "x") for number in range(5_000)]
    (report,) = import_items(owner, gpt_conversation(*nodes))["sessions"]
    assert len(get_imported(owner, report)["messages"]) == 5_000


def test_programs_are_named_in_error_help_api_and_docs(owner: ApiClient, app: Flask) -> None:
    (report,) = import_items(owner, {"what": 1})["sessions"]
    operation = openapi_checker.DOCUMENT["paths"]["/api/import"]["post"]
    command = app.test_cli_runner().invoke(args=["import", "--help"])
    for text in (str(report["details"]), operation["summary"], " ".join(command.output.split())):
        assert all(program in text for program in importers.PROGRAMS), text
    pages = (path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
    paragraphs = (paragraph for page in pages for paragraph in page.split("\n\n"))
    assert any(all(program in paragraph for program in importers.PROGRAMS) for paragraph in paragraphs), (
        f"No paragraph of README.md or docs/ names all of {importers.PROGRAMS}: add the new one to docs/transfer.md"
    )


@pytest.mark.parametrize(
    "part", ['<details type="reasoning"> ', "</details>", "<details a ", "【1†", "\ue200", "\ue200a\ue202"]
)
def test_conversion_time_is_linear_in_length(part: str) -> None:
    def measure(length: int) -> float:
        text = part * (length // len(part))
        start = time.thread_time()
        importers.convert({"history": {"messages": {"1": {"role": "assistant", "content": text}}}})
        raw = {"author": {"role": "assistant"}, "content": {"parts": [text]}, "metadata": {"citations": [1]}}
        importers.convert({"mapping": {"a": {"message": raw}}})
        return time.thread_time() - start

    assert_below(8 * 3, lambda: measure(800_000) / measure(100_000))  # quadratic would be 64
