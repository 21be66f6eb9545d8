"""Terms: the same for the index, the query and the snippet."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.snippets import snippet
from search.terms import MAX_QUERY_TERMS, _fold, _split, count, locate, phrases, terms
from tests.helpers.texts import TEXT


def matches(text: str, query: str, typing: bool = False) -> bool:
    """Return whether the index would find a text."""
    joined = f" {' '.join(terms(text))} "
    wanted = phrases(query)
    if typing:
        wanted[-1] = wanted[-1]._replace(open=True)
    return bool(wanted) and all(count(joined, phrase) for phrase in wanted)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Deploy🚀 done", "deploy 🚀 done"),
        ("✅ok", "✅ ok"),
        ("20°C, 20℃", "20 ° c 20 ° c"),
        ("│queue│full│", "│ queue │ full │"),
        ("Windows® Windows™", "windows ® windows tm"),
        ("─" * 80 + "x", "─ x"),
        ("😀😀 👍🏽 👍", "😀 👍 👍"),
        ("👩‍💻 ❤️", "👩 💻 ❤"),
        ("🇩🇪🇫🇷", "🇩🇪 🇪🇫 🇫🇷 🇷"),
        ("1️⃣ a", "1 a"),
        ("İstanbul ISTANBUL ışık", "istanbul istanbul isik"),
        ("Résumé re\u0301sume\u0301", "resume resume"),
        ("ọ̀rọ̀ x̂ŷ Łódź Straße STRASSE", "oro xy lodz strasse strasse"),
        ("ΣΊΣΥΦΟΣ σίσυφος ᾳ", "σισυφοσ σισυφοσ α"),
        ("Ёлка ёлка", "елка елка"),
        ("مُحَمَّد محـــمد", "محمد محمد"),
        ("أحمد می\u200cخواهم", "احمد میخواهم"),
        ("שָׁלוֹם", "שלום"),
        ("हिन्दी", "हिन्दी"),
        ("北京", "北京 京"),
        ("東京タワー", "東京 京タ タワ ワー ー"),
        ("ﾊﾞｽ バス ハ\u3099ス", "バス ス バス ス バス ス"),
        ("서울", "서울 울"),
        ("\u1109\u1165\u110b\u116e\u11af", "서울 울"),  # the same in letters
        ("ｆｕｌｌ　ｗｉｄｔｈ １２", "full width 12"),
        ("١٢٣ १२३", "123 123"),
        ("ﬀ Ⅷ H₂O m² note¹ 1½", "ff viii h 2 o m 2 note 1 1 1 2"),
        ("C++ C# i++; a + b # x+y", "c ++ c # i ++ a b x y"),
        ("/var/log/x.log 10.0.0.1 ERR_404 user@host", "var log x log 10 0 0 1 err 404 user host"),
        ("x" * 130, f"{'x' * 64} {'x' * 64} xx"),
        ("2026-01-31T09:30:00Z 9t5", "2026 01 31 t 09 30 00 z 9 t 5"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("\ue000 ≠ → €5", "\ue000 ≠ → € 5"),
        ("?!. \t\x1f\x02 --- ***", ""),
    ],
)
def test_splits_text_into_terms(text: str, expected: str) -> None:
    assert terms(text) == expected.split()


@pytest.mark.parametrize(
    ("text", "query", "found"),
    [
        ("node7", "node", True),
        ("node-7", "node7", True),
        ("node-17", "node7", False),
        ("foo.bar.baz", "bar.baz", True),
        ("foo.bar.baz", "foo.baz", False),  # a piece without a space is a phrase
        ("foo.bar.baz", "foo baz", True),
        ("10.0.0.1", "10.1.0.0", False),
        ("C++ and C", "C++", True),
        ("just C", "C++", False),
        ("我在北京工作", "京", True),
        ("我在北京工作", "北 京", True),
        ("我在北京工作", "京北", False),
        ("我在京都工作，北", "北京", False),
        ("2024年度", "2024年", True),
        ("🇩🇪🇫🇷", "🇫🇷", True),
        ("🇩🇪🇫🇷", "🇩🇪", True),
        ("👍🏽", "👍", True),
        ("👩‍💻", "💻", True),
        ("क", "की", False),  # a vowel is part of the word
        ("ガ", "カ", False),
    ],
)
def test_query_matches_text(text: str, query: str, found: bool) -> None:
    assert matches(text, query) is found


@settings(max_examples=500, deadline=None)
@given(TEXT, TEXT, TEXT)
def test_text_matches_itself_and_its_pieces(before: str, piece: str, after: str) -> None:
    text = f"{before} {piece}\n{after}"
    for query in (text, *text.split(), *terms(piece)):
        # Letters that compose only without the accent that was between them are no term of a text.
        if phrases(query) and (query in text or unicodedata.is_normalized("NFC", query)):
            assert matches(text, query)
    for position in range(1, len(piece)):  # while it is typed
        typed = piece[:position]
        if phrases(typed) and (piece[position].isascii() or piece[position] in "北京"):
            assert matches(text, typed, typing=True)


@settings(max_examples=500, deadline=None)
@given(TEXT)
def test_locate_returns_positions_of_terms(text: str) -> None:
    located = locate(text)
    assert [term.text for term in located] == terms(text)
    assert all(0 <= term.start < term.end <= len(text) for term in located)
    assert [term.start for term in located] == sorted(term.start for term in located)
    for term in located:
        assert term.text in ("++", "#") or term.text in "".join(terms(text[term.start : term.end]))


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_terms_pass_the_tokenizer_of_the_index_unchanged(text: str) -> None:
    for term in terms(text):
        assert term == "++" or term == "#" or all(not c.isascii() or (c.isalnum() and c == c.lower()) for c in term)
        assert not term.isspace()
    assert sum(len(phrase.terms) for phrase in phrases(text)) <= MAX_QUERY_TERMS


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_fast_path_returns_the_same_terms(text: str) -> None:
    assert terms(text) == [term for term, _, _ in _split(_fold(text))]


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a ",
        "\u0301",
        "a\u0301",
        "─",
        "─ ",
        "👩\u200d",
        "🚀x",
        "北",
        "กั",
        "+",
        "c++",
        "1a",
        "\x1f",
        "ﾊﾞ",
        "\u1100\u1161",
        "ﷺ",
        "\u0301\u0327",
        "a\u0301\u0327" + "\u0301\u0327" * 1_000,
        "\u0345" * 1_000 + "\u0327" * 1_000,
    ],
)
def test_time_is_bounded_for_the_longest_texts(piece: str) -> None:
    text = (piece * 50_000)[:50_000]
    started_at = time.process_time()
    terms(text), locate(text)
    wanted = phrases(text[:10_000])
    if wanted:
        snippet(text, wanted)
    assert time.process_time() - started_at < 3
