"""The prompt: its parts, their order, and its limits."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from services.actions import Actions
from services.docs_index import DocsIndex
from services.prompt import PromptBuilder
from tests.helpers.client import ApiClient, message
from tests.helpers.process import ROOT
from tests.helpers.webhook_receiver import SECRET

EXAMPLES = ROOT / "examples"


@pytest.fixture
def settings(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("RESTART_SECRET", SECRET)
    return settings | {"PARLEY_LLM_CONTEXT_CHARS": 100}


def prompt(client: ApiClient, session: dict[str, Any], content: str | None = None) -> list[tuple[str, str]]:
    query = "" if content is None else f"?content={quote(content)}"
    response = client.get(f"/api/sessions/{session['id']}/prompt{query}")
    assert response.status_code == 200
    return [(part["role"], part["content"]) for part in response.get_json()["messages"]]


class TestConversation:
    def test_empty_parts_are_omitted(self, owner: ApiClient) -> None:
        session = owner.session()
        assert prompt(owner, session) == []
        assert prompt(owner, session, "hi") == [("user", "hi")]
        owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "Be brief."})
        assert prompt(owner, session, "hi") == [("system", "Be brief."), ("user", "hi")]
        assert owner.get(f"/api/sessions/{session['id']}").get_json()["messages"] == []

    @pytest.mark.parametrize(
        ("lengths", "next_length", "expected"),
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
    def test_oldest_messages_of_a_long_conversation_are_omitted(
        self, owner: ApiClient, lengths: list[int], next_length: int | None, expected: list[int]
    ) -> None:
        session = owner.imported(*(message("é" * length) for length in lengths))
        owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "s" * 8_000})
        parts = prompt(owner, session, "é" * next_length if next_length else None)
        assert [len(content) for _, content in parts] == [8_000, *expected]

    @pytest.mark.parametrize("content", ["", "x" * 50_001, "\0"])
    def test_rejects_an_invalid_next_message(self, owner: ApiClient, content: str) -> None:
        session = owner.session()
        for target in (session["id"], "nothing"):
            response = owner.get(f"/api/sessions/{target}/prompt?content={quote(content)}")
            assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
            assert "content" in response.get_json()["details"]


class TestOrder:
    @pytest.fixture
    def settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings | {
            "PARLEY_SYSTEM_PROMPT": "You are the assistant.",
            "PARLEY_DOCS_DIR": str(EXAMPLES / "docs"),
            "PARLEY_ACTIONS_FILE": str(EXAMPLES / "actions.toml"),
        }

    def test_order_of_the_parts(self, owner: ApiClient) -> None:
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

    def test_docs_match_the_last_user_message(self, owner: ApiClient) -> None:
        session = owner.imported(
            message("Who is called for severity 2?"), message("checkout is slow", role="assistant")
        )
        context = prompt(owner, session)[1][1]
        assert "[escalation.md: Who to call]" in context
        assert context.index("escalation.md") < context.find("checkout.md") % len(context)

    def test_no_docs_without_a_word_to_search(self, owner: ApiClient) -> None:
        context = prompt(owner, owner.session(), "?!")[1][1]
        assert "Documentation" not in context
        assert "restart_service" in context


class TestExplanation:
    @pytest.fixture
    def docs(self, tmp_path: Path) -> Path:
        folder = tmp_path / "docs"
        (folder / "runbooks").mkdir(parents=True)
        (folder / "runbooks" / "checkout.md").write_text("# Payment queue\nThe queue is full. queue queue\n")
        (folder / "notes.md").write_text("The queue again.\n")
        return folder

    @pytest.fixture
    def settings(self, settings: dict[str, Any], docs: Path) -> dict[str, Any]:
        return settings | {
            "PARLEY_SYSTEM_PROMPT": "You are the assistant.",
            "PARLEY_DOCS_DIR": str(docs),
            "PARLEY_DOCS_CHARS": 200,
            "PARLEY_ACTIONS_FILE": str(EXAMPLES / "actions.toml"),
        }

    def explain(self, client: ApiClient, session: dict[str, Any], content: str | None = None) -> dict[str, Any]:
        """Return the explanation, which has the messages of the prompt as they are."""
        path = f"/api/sessions/{session['id']}/prompt"
        query = {} if content is None else {"content": content}
        plain = client.get(path, query_string=query).get_json()
        explained: dict[str, Any] = client.get(path, query_string=query | {"explain": "1"}).get_json()
        assert [{key: each[key] for key in ("role", "content")} for each in explained["messages"]] == plain["messages"]
        assert set(plain) == {"messages"}
        for each in explained["messages"]:
            assert each["characters"] == len(each["content"])
            parts = each.get("parts", [each])
            assert "".join(part["content"] for part in parts) == each["content"]
            assert [part["characters"] for part in parts] == [len(part["content"]) for part in parts]
        assert explained["limits"] == {"conversation": 100, "docs": 200}
        return explained

    def test_each_part_has_its_kind_and_source(self, owner: ApiClient) -> None:
        session = owner.imported(message("🚀 hello"), message("Well?", role="assistant"))
        owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "Be brief."})
        ids = [each["id"] for each in owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]]
        explained = self.explain(owner, session, "Is the queue full?")
        parts = [part for each in explained["messages"] for part in each.get("parts", [each])]
        assert [(part["kind"], part["source"]) for part in parts] == [
            ("base", "PARLEY_SYSTEM_PROMPT"),
            ("override", None),
            ("docs", "runbooks/checkout.md › Payment queue"),
            ("docs", "notes.md"),
            ("actions", "PARLEY_ACTIONS_FILE"),
            ("message", ids[0]),
            ("message", ids[1]),
            ("message", None),
        ]
        assert [each["kind"] for each in explained["messages"]] == ["base", "override", "docs", *["message"] * 3]
        assert explained["messages"][2]["source"] is None
        assert "The queue is full" in parts[2]["content"]
        assert explained["left_out"] == []

    def test_a_message_of_one_part_has_no_parts(self, owner: ApiClient) -> None:
        explained = self.explain(owner, owner.session(), "?!")
        assert [each["kind"] for each in explained["messages"]] == ["base", "actions", "message"]
        assert not any("parts" in each for each in explained["messages"])

    def test_sections_that_are_cut_or_do_not_fit_are_left_out(self, owner: ApiClient, docs: Path) -> None:
        (docs / "notes.md").write_text(f"queue {'x' * 500}\n")
        explained = self.explain(owner, owner.session(), "queue queue")
        cut = next(part for part in explained["messages"][1]["parts"] if part["source"] == "notes.md")
        assert explained["left_out"] == [
            {
                "kind": "docs",
                "source": "notes.md",
                "characters": 506 - len(cut["content"].partition("]\n")[2]),
                "reason": "docs_limit",
            }
        ]

    def test_more_sections_than_a_prompt_has_are_left_out(self, owner: ApiClient, docs: Path) -> None:
        (docs / "many.md").write_text("".join(f"# Part {n}\nqueue {'x ' * 10 * n}\n" for n in range(40)))
        explained = self.explain(owner, owner.session(), "queue")
        docs_parts = [part for part in explained["messages"][1]["parts"] if part["kind"] == "docs"]
        by_reason = [each["source"] for each in explained["left_out"] if each["reason"] == "section_limit"]
        assert 1 <= len(docs_parts) <= 4
        assert len(by_reason) == 16  # of 20 that are looked at
        assert not set(by_reason) & {part["source"] for part in docs_parts}
        assert all(each["characters"] > 0 for each in explained["left_out"])

    def test_left_out_messages_are_summed_up(self, owner: ApiClient) -> None:
        session = owner.imported(*(message("é🚀" * 5) for _ in range(300)))
        other = owner.imported(message("another session's"))
        ids = [each["id"] for each in owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]]
        explained = self.explain(owner, session)
        assert [each["source"] for each in explained["messages"] if each["kind"] == "message"] == ids[-10:]
        assert explained["left_out"] == [
            {
                "kind": "message",
                "source": None,
                "count": 290,
                "characters": 2_900,
                "first_id": ids[0],
                "last_id": ids[289],
                "reason": "conversation_limit",
            }
        ]
        assert self.explain(owner, session, "x" * 100)["left_out"][0]["count"] == 300
        assert self.explain(owner, other)["left_out"] == []

    def test_not_explained_unless_asked(self, owner: ApiClient, other: ApiClient) -> None:
        path = f"/api/sessions/{owner.session()['id']}/prompt"
        assert owner.get(f"{path}?explain=0").data == owner.get(path).data
        response = owner.get(f"{path}?explain=maybe")
        assert (response.status_code, list(response.get_json()["details"])) == (400, ["explain"])
        assert other.get(f"{path}?explain=1").get_json() == {"error": "session_not_found"}


class TestDocsContext:
    @given(
        st.dictionaries(
            st.text("abcdé", min_size=1, max_size=30),
            st.lists(st.tuples(st.integers(0, 12), st.integers(0, 200)), min_size=1, max_size=3),
            max_size=5,
        ),
        st.integers(100, 1_000),
    )
    @settings_of_hypothesis(max_examples=60, deadline=None)
    def test_docs_context_has_at_most_the_characters_allowed(
        self, docs: dict[str, list[tuple[int, int]]], max_characters: int
    ) -> None:
        with TemporaryDirectory() as folder:
            for name, parts in docs.items():
                text = "".join(f"# H {'heading ' * heading}\nqueue {'wörd ' * words}\n\n" for heading, words in parts)
                Path(folder, f"{name}.md").write_text(text)
            context = docs_context(Path(folder), max_characters)
            everything = docs_context(Path(folder), 1_000_000)
        assert len(context) <= max_characters
        assert (context == everything) if len(everything) <= max_characters else context != everything
        introduction, *sections = context.split("\n\n")
        assert introduction == ("Documentation that may help:" if sections else "")
        assert all(re.fullmatch(r"\[\w+\.md: [^]]+\]\n(.|\n)+", part) for part in sections)  # a heading is never cut

    def test_section_whose_heading_is_too_long_is_skipped(self, tmp_path: Path) -> None:
        (tmp_path / "a.md").write_text(f"# queue {'queue ' * 20}\nqueue\n# Short\nqueue it\n")
        assert docs_context(tmp_path, 100) == "Documentation that may help:\n\n[a.md: Short]\nqueue it"


def docs_context(folder: Path, max_characters: int) -> str:
    config = {"PARLEY_SYSTEM_PROMPT": None, "PARLEY_LLM_CONTEXT_CHARS": 1, "PARLEY_DOCS_CHARS": max_characters}
    parts, _ = PromptBuilder(config, DocsIndex(folder), Actions()).docs_context("queue")
    return "".join(part.content for part in parts)
