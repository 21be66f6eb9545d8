"""What a model is sent: its parts, their order, and what is left out of a long conversation."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from config import StartupError
from services import docs_index
from services.actions import Actions
from services.docs_index import DocsIndex, Section, split_sections
from services.prompt import PromptBuilder
from tests.helpers.client import ApiClient, message
from tests.helpers.process import ROOT
from tests.helpers.webhook_receiver import SECRET

EXAMPLES = ROOT / "examples"


@pytest.fixture
def settings(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("RESTART_SECRET", SECRET)
    return settings | {"PARLEY_LLM_CONTEXT_CHARS": 100}


def prompt(caller: ApiClient, session: dict[str, Any], content: str | None = None) -> list[tuple[str, str]]:
    query = "" if content is None else f"?content={quote(content)}"
    answer = caller.get(f"/api/sessions/{session['id']}/prompt{query}")
    assert answer.status_code == 200
    return [(part["role"], part["content"]) for part in answer.get_json()["messages"]]


def test_what_is_empty_is_left_out(owner: ApiClient) -> None:
    session = owner.session()
    assert prompt(owner, session) == []
    assert prompt(owner, session, "hi") == [("user", "hi")]
    owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "Be brief."})
    assert prompt(owner, session, "hi") == [("system", "Be brief."), ("user", "hi")]
    assert owner.get(f"/api/sessions/{session['id']}").get_json()["messages"] == []


@pytest.mark.parametrize(
    ("lengths", "following", "left"),
    [
        ([50, 50], None, [50, 50]),
        ([1, 50, 50], None, [50, 50]),
        ([1, 99, 1], None, [99, 1]),
        ([1, 101], None, [101]),
        ([1, 5_000], None, [5_000]),
        ([10, 101, 20, 30], None, [20, 30]),
        ([10, 20], 70, [10, 20, 70]),
        ([10, 20], 80, [20, 80]),
        ([10, 20], 500, [500]),
    ],
)
def test_of_a_long_conversation_the_oldest_messages_are_left_out(
    owner: ApiClient, lengths: list[int], following: int | None, left: list[int]
) -> None:
    session = owner.imported(*(message("é" * length) for length in lengths))
    owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "s" * 8_000})
    parts = prompt(owner, session, "é" * following if following else None)
    assert [len(content) for _, content in parts] == [8_000, *left]


@pytest.mark.parametrize("content", ["", "x" * 50_001, "\0"])
def test_a_next_message_has_its_limits(owner: ApiClient, content: str) -> None:
    session = owner.session()
    for target in (session["id"], "nothing"):
        answer = owner.get(f"/api/sessions/{target}/prompt?content={quote(content)}")
        assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
        assert "content" in answer.get_json()["details"]


class TestContext:
    @pytest.fixture
    def settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings | {
            "PARLEY_SYSTEM_PROMPT": "You are the assistant.",
            "PARLEY_DOCS_DIR": str(EXAMPLES / "docs"),
            "PARLEY_ACTIONS_FILE": str(EXAMPLES / "actions.toml"),
        }

    def test_the_parts_come_in_their_order(self, owner: ApiClient) -> None:
        session = owner.imported(message("hello"), message("Well?", role="assistant"))
        owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "Be brief."})
        base, override, context, *conversation = prompt(owner, session, "The payment queue is full, what now?")
        assert base == ("system", "You are the assistant.")
        assert override == ("system", "Be brief.")
        assert context[0] == "system"
        assert context[1].index("[runbooks/checkout.md: Checkout > The payment queue is full]") < context[1].index(
            "- restart_service: Restart a service"
        )
        assert "payctl provider use b" in context[1]
        assert '"required":["service"]' in context[1]
        assert "127.0.0.1" not in context[1]
        assert [role for role, _ in conversation] == ["user", "assistant", "user"]

    def test_the_docs_fit_the_last_user_message(self, owner: ApiClient) -> None:
        session = owner.imported(
            message("Who is called for severity 2?"), message("checkout is slow", role="assistant")
        )
        context = prompt(owner, session)[1][1]
        assert "[escalation.md: Who to call]" in context
        assert context.index("escalation.md") < context.find("checkout.md") % len(context)

    def test_no_words_no_docs(self, owner: ApiClient) -> None:
        context = prompt(owner, owner.session(), "?!")[1][1]
        assert "Documentation" not in context
        assert "restart_service" in context


def documentation(folder: Path, budget: int) -> str:
    config = {"PARLEY_SYSTEM_PROMPT": None, "PARLEY_LLM_CONTEXT_CHARS": 1, "PARLEY_DOCS_CHARS": budget}
    return PromptBuilder(config, DocsIndex(folder), Actions()).docs_context("queue")


@given(
    st.dictionaries(
        st.text("abcdé", min_size=1, max_size=30),
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 200)), min_size=1, max_size=3),
        max_size=5,
    ),
    st.integers(100, 1_000),
)
@settings_of_hypothesis(max_examples=60, deadline=None)
def test_the_budget_of_the_docs_is_that_of_all_that_is_put_in(
    docs: dict[str, list[tuple[int, int]]], budget: int
) -> None:
    with TemporaryDirectory() as folder:
        for name, parts in docs.items():
            text = "".join(f"# H {'heading ' * heading}\nqueue {'wörd ' * words}\n\n" for heading, words in parts)
            Path(folder, f"{name}.md").write_text(text)
        told = documentation(Path(folder), budget)
        everything = documentation(Path(folder), 1_000_000)
    assert len(told) <= budget
    assert (told == everything) if len(everything) <= budget else told != everything
    introduction, *sections = told.split("\n\n")
    assert introduction == ("Documentation that may help:" if sections else "")
    assert all(re.fullmatch(r"\[\w+\.md: [^]]+\]\n(.|\n)+", part) for part in sections)  # no half of a heading


def test_a_heading_that_does_not_fit_keeps_no_other_out(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"# queue {'queue ' * 20}\nqueue\n# Short\nqueue it\n")
    assert documentation(tmp_path, 100) == "Documentation that may help:\n\n[a.md: Short]\nqueue it"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="PARLEY_DOCS_DIR"):
        DocsIndex(tmp_path / "nothing")


def test_markdown_is_split_at_its_headings() -> None:
    text = "before\r\n# A\r\none\r\n\r\n## B *em*\n```\n# no heading\n```\n### C\n\n"
    text += "## D\nfour\n\nE\n=\nfive\u2028six\n- # not E"
    assert list(split_sections("f.md", text)) == [
        Section("f.md", "", "before"),
        Section("f.md", "A", "one"),
        Section("f.md", "A > B *em*", "```\n# no heading\n```"),
        Section("f.md", "A > D", "four"),
        Section("f.md", "E", "five\u2028six\n- # not E"),
    ]


class TestRetrieval:
    @pytest.fixture
    def docs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DocsIndex:
        monkeypatch.setattr(docs_index, "SCAN_INTERVAL", 0)
        folder = tmp_path / "docs"
        (folder / "sub").mkdir(parents=True)
        (folder / "a.md").write_text(
            "# Queue\nword word word\n# Other\nthe queue, once\n# Lion\nroars\n# Owl\nsleeps\n"
        )
        (folder / "sub" / "b.md").write_text("# Latency\nrestarting helps\n")
        return DocsIndex(folder)

    def headings(self, docs: DocsIndex, question: str) -> list[str]:
        return [section.heading for section in docs.search(question)]

    def test_the_best_come_first_and_headings_count_more(self, docs: DocsIndex) -> None:
        assert self.headings(docs, "QUEUE, why?")[:2] == ["Queue", "Other"]
        assert self.headings(docs, "restart") == ["Latency"]  # by its stem
        assert self.headings(docs, "zebra") == []

    @pytest.mark.parametrize(
        "question", ['"', "queue AND NOT (", "heading:queue", "queue*", "-queue", "NEAR(a b)", "_", "^"]
    )
    def test_any_question_is_safe(self, docs: DocsIndex, question: str) -> None:
        assert set(self.headings(docs, question)) <= {"Queue", "Other"}

    def test_files_that_change_come_and_go_are_noticed(self, docs: DocsIndex, tmp_path: Path) -> None:
        assert self.headings(docs, "zebra") == []
        path = tmp_path / "docs" / "sub" / "b.md"
        path.write_text("# Animals\nzebra\n")
        assert self.headings(docs, "zebra") == ["Animals"]
        assert self.headings(docs, "latency") == []
        (tmp_path / "docs" / "c.markdown").write_text("# More\nzebra zebra\n")
        assert set(self.headings(docs, "zebra")) == {"Animals", "More"}
        path.unlink()
        assert self.headings(docs, "zebra") == ["More"]

    def test_what_is_none_of_them(self, docs: DocsIndex, tmp_path: Path) -> None:
        folder = tmp_path / "docs"
        (folder / ".hidden").mkdir()
        for name in (".hidden/a.md", ".a.md", "a.txt"):
            (folder / name).write_text("# X\nzebra\n")
        (folder / "large.md").write_bytes(b"zebra " * 200_000)
        (folder / "gone.md").symlink_to(folder / "nowhere")
        (folder / "odd.md").write_bytes(b"# X\ntiger \xff\0 tiger\n")
        os.mkfifo(folder / "fifo.md")
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.md")).write_text("# Y\nlynx\n")
        assert self.headings(docs, "zebra") == []
        assert docs.search("tiger")[0].text == "tiger \ufffd\ufffd tiger"
        assert docs.search("lynx") == [Section("\ufffd.md", "Y", "lynx")]  # its name is not UTF-8


def test_the_docs_are_looked_at_by_one_at_a_time(app: Flask, tmp_path: Path) -> None:
    """Threads that ask at the same time all get their answer."""
    from concurrent.futures import ThreadPoolExecutor

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Queue\nfull\n")
    docs = DocsIndex(tmp_path / "docs")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: docs.search("queue"), range(100)))
    assert answers == [[Section("a.md", "Queue", "full")]] * 100
