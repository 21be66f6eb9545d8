"""Snippets: a piece of the text with the phrases marked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.snippets import snippet
from search.terms import phrases
from tests.helpers.texts import TEXT


@settings(max_examples=500, deadline=None)
@given(TEXT, st.integers(0, 3_000))
def test_snippet_is_a_piece_of_the_text_with_marks(text: str, filler: int) -> None:
    padded = f"{'lorem ' * (filler // 6)}{text} {'ipsum ' * (filler // 6)}"
    for query in text.split():
        wanted = phrases(query)
        if not wanted:
            continue
        shown = snippet(padded, wanted)
        plain = shown.replace("<mark>", "").replace("</mark>", "")
        assert "<mark>" in shown
        for escaped, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
            plain = plain.replace(escaped, character)
        assert plain.removeprefix("…").removesuffix("…") in padded or plain in padded
        assert len(plain) < 300


@pytest.mark.parametrize("gap", [1, 100, 3_000])
@pytest.mark.parametrize("position", [0, 30, 2_000, 40_000])
def test_snippet_shows_a_match_anywhere_in_the_text(gap: int, position: int) -> None:
    for piece in ("zebra" + "-" * gap + "lion", "北京" * 20 + "大", "x" * 2_500, "/".join("abcdefgh" * 40)):
        text = "word " * (position // 5) + piece + " word" * 1_000
        wanted = phrases(piece)
        shown = snippet(text, wanted)
        assert "<mark>" in shown
        assert len(shown) < 300


@pytest.mark.parametrize("text", ["lorem ipsum " * 4_000 + "walrus", "walrus " + "lorem ipsum " * 4_000])
@pytest.mark.parametrize("query", ["lorem walrus", "walrus lorem", "ipsum lorem walrus"])
def test_snippet_prefers_a_piece_with_all_words(text: str, query: str) -> None:
    shown = snippet(text, phrases(query))
    assert all(f"<mark>{word}</mark>" in shown for word in query.split())
