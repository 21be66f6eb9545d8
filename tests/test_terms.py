"""What a text consists of: the same for the index, the query and the snippet."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.snippets import snippet
from search.terms import MAX_QUERY_TERMS, _fold, _split, count, locate, phrases, terms

# What clients write, and what drew attention elsewhere: letters with marks, joiners, flags, runs, symbols, code.
PIECES = (
    "aZ9_-./+#: \n\tß€°─│éİıŁ\u0301\u0323\u200d\u200b\ufe0f🚀👍🏽🇩🇪👩北京ガが\u3099ﾊﾞ한\u1100\u1161\u11a8"
    "ก็\u0e33हि्مَ\u0640שָ½²₂™℃①ﬃ\x1f\x02\0\U000e0067\ufffe"
)
TEXT = st.one_of(st.text(max_size=60), st.text(st.sampled_from(PIECES), max_size=40))


def fits(text: str, query: str, typing: bool = False) -> bool:
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
def test_terms_of_scripts(text: str, expected: str) -> None:
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
def test_precision(text: str, query: str, found: bool) -> None:
    assert fits(text, query) is found


@settings(max_examples=500, deadline=None)
@given(TEXT, TEXT, TEXT)
def test_a_text_is_found_by_itself_and_by_its_pieces(before: str, piece: str, after: str) -> None:
    text = f"{before} {piece}\n{after}"
    for query in (text, *text.split(), *terms(piece)):
        if phrases(query):
            assert fits(text, query)
    for place in range(1, len(piece)):  # while it is typed
        typed = piece[:place]
        if phrases(typed) and (piece[place].isascii() or piece[place] in "北京"):
            assert fits(text, typed, typing=True)


@settings(max_examples=500, deadline=None)
@given(TEXT)
def test_the_places_are_where_the_terms_stand(text: str) -> None:
    located = locate(text)
    assert [term.text for term in located] == terms(text)
    assert all(0 <= term.start < term.end <= len(text) for term in located)
    assert [term.start for term in located] == sorted(term.start for term in located)
    for term in located:
        assert term.text in ("++", "#") or term.text in "".join(terms(text[term.start : term.end]))


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_terms_are_what_the_index_leaves_as_it_is(text: str) -> None:
    for term in terms(text):
        assert term == "++" or term == "#" or all(not c.isascii() or (c.isalnum() and c == c.lower()) for c in term)
        assert not term.isspace()
    assert sum(len(phrase.terms) for phrase in phrases(text)) <= MAX_QUERY_TERMS


@given(st.text(st.characters(max_codepoint=127)))
def test_the_short_way_for_ascii_is_the_same(text: str) -> None:
    assert terms(text) == [term for term, _, _ in _split(_fold(text))]


@settings(max_examples=500, deadline=None)
@given(TEXT, st.integers(0, 3_000))
def test_a_snippet_is_a_piece_of_the_text_with_its_marks(text: str, filler: int) -> None:
    whole = f"{'lorem ' * (filler // 6)}{text} {'ipsum ' * (filler // 6)}"
    for query in text.split():
        wanted = phrases(query)
        if not wanted:
            continue
        shown = snippet(whole, wanted)
        plain = shown.replace("<mark>", "").replace("</mark>", "")
        assert "<mark>" in shown
        for escaped, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
            plain = plain.replace(escaped, character)
        assert plain.removeprefix("…").removesuffix("…") in whole or plain in whole
        assert len(plain) < 300


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
def test_the_longest_texts_take_no_longer_than_they_are_long(piece: str) -> None:
    text = (piece * 50_000)[:50_000]
    began = time.process_time()
    terms(text), locate(text)
    wanted = phrases(text[:10_000])
    if wanted:
        snippet(text, wanted)
    assert time.process_time() - began < 3


@pytest.mark.parametrize("gap", [1, 100, 3_000])
@pytest.mark.parametrize("place", [0, 30, 2_000, 40_000])
def test_what_is_found_is_shown_wherever_it_stands(gap: int, place: int) -> None:
    for piece in ("zebra" + "-" * gap + "lion", "北京" * 20 + "大", "x" * 2_500, "/".join("abcdefgh" * 40)):
        text = "word " * (place // 5) + piece + " word" * 1_000
        wanted = phrases(piece)
        shown = snippet(text, wanted)
        assert "<mark>" in shown
        assert len(shown) < 300


@pytest.mark.parametrize("text", ["lorem ipsum " * 4_000 + "walrus", "walrus " + "lorem ipsum " * 4_000])
@pytest.mark.parametrize("question", ["lorem walrus", "walrus lorem", "ipsum lorem walrus"])
def test_a_rare_word_is_shown_beside_a_frequent_one(text: str, question: str) -> None:
    shown = snippet(text, phrases(question))
    assert all(f"<mark>{word}</mark>" in shown for word in question.split())
