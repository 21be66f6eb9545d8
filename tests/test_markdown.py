"""A conversation as Markdown: to be read, and with nothing in it that acts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from services import markdown
from services.markdown import contained
from tests.conftest import Caller, message

MOMENT = "2026-01-31T09:30:00.000Z"


def html(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").parse(text)
    parts = [part for token in tokens for part in (token, *(token.children or ()))]
    return [part.content for part in parts if part.type.startswith("html")]


def test_a_conversation_as_it_is_read(owner: Caller) -> None:
    session = owner.imported(
        message("Why is *checkout* slow?", created_at=MOMENT),
        message(
            "See:\n\n```python\nif a < b:\n    pass\n```\n", role="assistant", created_at="2026-01-31T09:30:05.123Z"
        ),
        title="Checkout <b>is</b>\nslow",
        created_at=MOMENT,
    )
    answer = owner.get(f"/api/sessions/{session['id']}/export?format=markdown")
    assert answer.content_type == "text/markdown; charset=utf-8"
    head, _, rest = answer.text.partition(", exported ")
    assert head == "# Checkout &lt;b>is&lt;/b> slow\n\nBegun 2026-01-31 09:30:00 UTC"
    assert rest.partition("UTC.\n\n")[2] == (
        "## User, 2026-01-31 09:30:00 UTC\n\nWhy is *checkout* slow?\n\n"
        "## Assistant, 2026-01-31 09:30:05 UTC\n\nSee:\n\n```python\nif a < b:\n    pass\n```\n"
    )
    assert owner.get(f"/api/sessions/{session['id']}/export?format=json").get_json()["version"] == 1
    assert owner.get(f"/api/sessions/{session['id']}/export?format=html").status_code == 400
    assert owner.get(f"/api/sessions/{owner.session()['id']}/export?format=markdown").text.startswith("# Conversation")


def test_a_long_one_comes_whole(owner: Caller) -> None:
    session = owner.imported(*(message(f"message {number}") for number in range(300)))
    text = owner.get(f"/api/sessions/{session['id']}/export?format=markdown").text
    assert [line for line in text.split("\n") if line.startswith("message")] == [f"message {n}" for n in range(300)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("plain\n\ntext", "plain\n\ntext"),
        ("a < b", "a &lt; b"),
        ("`a < b` < c", "`a < b` &lt; c"),
        ("``a ` < b`` <", "``a ` < b`` &lt;"),
        ("`open <b>", "`open &lt;b>"),
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("<!-- x\n\n```\n<b>\n```", "&lt;!-- x\n\n```\n<b>\n```"),
        ("```\n<b>\n```\n<b>", "```\n<b>\n```\n&lt;b>"),
        ("```\n<b>", "```\n<b>\n```"),
        ("~~~~\n```\n<b>\n~~~", "~~~~\n```\n<b>\n~~~\n~~~~"),
        ("> ```\n> <b>", "> ```\n> <b>"),
        ("- ```\n  <b>", "- ```\n  <b>"),
        ("    <b>", "    <b>"),
        ("[1]: http://evil.example\ntext", "\\[1]: http://evil.example\ntext"),
        ("# One\n## Two ##\n###### Six", "### One\n#### Two\n###### Six"),
        ("One\n===\ntwo", "### One\n\ntwo"),
        ("## User, 2026-01-31 09:30:00 UTC", "#### User, 2026-01-31 09:30:00 UTC"),
        ("a\n\n---\n\nb", "a\n\n---\n\nb"),
        ("a\r\n<b>\r", "a\n&lt;b>"),
        ("<https://example.com>", "&lt;https://example.com>"),
        ('[a]: <b c> "`"\nx ` <script> `', None),
        ("`<b>\n\n`<b>", "`&lt;b>\n\n`&lt;b>"),
        ("\\`<b>`", "\\`&lt;b>`"),
    ],
)
def test_what_is_in_a_message_stays_in_it(content: str, expected: str | None) -> None:
    text = contained(content)
    assert html(text) == []
    if expected is not None:
        assert text == expected
    heading = "## User, 2026-01-31 09:30:00 UTC"
    tokens = MarkdownIt("commonmark").parse(f"{text}\n\n{heading}\n")
    assert tokens[-3].type == "heading_open"
    assert [token.tag for token in tokens if token.type == "heading_open" and token.level == 0][:-1] == [
        tag for tag in ("h3", "h4", "h6") if tag in {token.tag for token in tokens[:-3]}
    ]


@settings(max_examples=400, deadline=None)
@given(st.text("<>`~#=-_*[]()!\\&\"': \n\tab/!?1.", max_size=60))
def test_no_text_makes_html_or_swallows_what_follows(content: str) -> None:
    text = contained(content)
    assert html(text) == []
    tokens = MarkdownIt("commonmark").parse(f"{text}\n\n## User\n")
    assert (tokens[-3].type, tokens[-3].tag, tokens[-3].level) == ("heading_open", "h2", 0)
    assert not [
        token for token in tokens[:-3] if token.type == "heading_open" and token.level == 0 and token.tag < "h3"
    ]


@pytest.mark.parametrize("content", ["```\n" + "`" * 49_900 + "x", "`x" * 25_000, "<" * 50_000, "#" + "[" * 49_000])
def test_the_longest_messages_take_a_moment(content: str) -> None:
    began = time.process_time()
    assert html(contained(content)) == []
    assert time.process_time() - began < 20  # one took forty


def test_plain_text_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "_parser", None)
    assert contained("plain, *emphasis*, [link](x) – and more\n- a list\n") == (
        "plain, *emphasis*, [link](x) – and more\n- a list"
    )
