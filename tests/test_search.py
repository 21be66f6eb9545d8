"""Searching sessions: queries, matches and their order."""

from __future__ import annotations

import re
from html import unescape
from itertools import chain
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import search
from database import db
from search import postgresql, sqlite
from search.index import current_index
from search.terms import Phrase, phrases, terms
from tests.helpers.client import ApiClient, message
from tests.helpers.search_index import assert_index_complete, find_sessions, find_titles
from tests.helpers.texts import CORPUS


def test_finds_titles_and_messages(owner: ApiClient, other: ApiClient) -> None:
    owner.imported(message("The payment queue is full."), title="checkout")
    owner.imported(message("nothing"), message("A queue of payment, once more", role="assistant"), title="second")
    owner.imported(message("nothing"), title="Payment queue")
    other.imported(message("payment queue"), title="not mine")
    assert find_titles(owner, "payment queue")[0] == "Payment queue"  # a title counts more
    assert set(find_titles(owner, "payment queue")) == {"Payment queue", "checkout", "second"}
    assert find_titles(owner, "payment zebra") == []
    assert find_titles(owner, "checkout") == ["checkout"]
    (item,) = find_sessions(owner, "full")
    assert item["match"] == "The payment queue is <mark>full</mark>."
    assert {key: item[key] for key in item if key != "match"} == next(
        each for each in owner.get("/api/sessions").get_json()["items"] if each["id"] == item["id"]
    )
    assert_index_complete()


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ("Zoe", True),
        ("ZOË", True),
        ("zoë resume", True),
        ("résumé", True),
        ("resu", True),  # the beginning of a word
        ("resu zoe", False),  # only of the last
        ("zo re", False),
        ("node-7", True),
        ("7", True),
        ("🔥", True),
        ("🔥 zoe", True),
        ("🚀", False),
        ("日本", True),
        ("Ünïcode", True),
        ("U\u0308nicode", True),  # as two characters
        ("under_score", True),
        ("score", True),
    ],
)
def test_matches_words(owner: ApiClient, query: str, hit: bool) -> None:
    owner.imported(message("Zoë's résumé, node-7 on 🔥, 日本語 unïcode under_score"))
    assert bool(find_sessions(owner, query)) is hit


def test_text_is_found_by_each_word_and_by_itself(owner: ApiClient) -> None:
    ids = {text: owner.imported(message(text))["id"] for text in CORPUS}
    for text, words in CORPUS.items():
        for query in (*words.split(), words, text, text.upper(), f"  {text[:10_000]} "):
            items = {item["id"]: item["match"] for item in find_sessions(owner, query[:10_000], "&limit=200")}
            assert ids[text] in items, (text, query)
            match = items[ids[text]]
            assert "<mark>" in match, (text, query)
            plain = unescape(re.sub("</?mark>", "", match)).strip("…")
            assert plain in text
            if query in words.split():
                assert any(set(terms(marked)) & set(terms(query)) for marked in re.findall("<mark>(.*?)</mark>", match))


@pytest.mark.parametrize(
    "query",
    ['"', '""', "*", "queue*", '"queue', "NEAR(", "NEAR(queue, 2)", "AND", "OR NOT", "queue AND (", "owner:x",
     "text : x", "-queue", "^queue", "{a b}: c", "a + b", "\\", "'", "%", "_", ";", "--", "\u200d", "\ufe0f", "ﬀ",
     "²", "\ue000", "😀😀",
     "x" * 10_000, "queue " * 1_600, "?!." * 3_000, " ".join(str(n) for n in range(2_000)), "\t\n"],
)  # fmt: skip
def test_query_has_no_operators(owner: ApiClient, query: str) -> None:
    owner.imported(message("the queue, and or not near"))
    assert len(find_sessions(owner, query)) <= 1
    (hit,) = find_sessions(owner, "queue")
    assert hit["match"] == "the <mark>queue</mark>, and or not near"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_any_text_is_a_valid_query(owner: ApiClient, query: str) -> None:
    response = owner.get(f"/api/sessions?q={quote(query.encode(errors='surrogatepass'))}")
    assert response.status_code == (400 if "\0" in query else 200)


def test_rejects_invalid_parameters(owner: ApiClient, anonymous: ApiClient) -> None:
    for query, key in (("x" * 10_001, "q"), ("x&limit=0", "limit"), ("x&cursor=y", "cursor")):
        response = owner.get(f"/api/sessions?q={query}")
        assert (response.status_code, set(response.get_json()["details"])) == (400, {key})
    assert anonymous.get("/api/sessions?q=x").status_code == 401
    assert find_sessions(owner, "") == find_sessions(owner, "x") == []


def test_match_escapes_html(owner: ApiClient) -> None:
    text = "<mark>queue</mark> \x02queue\x03 & <b>"
    owner.imported(message(text))
    (item,) = find_sessions(owner, "queue")
    assert item["match"] == "&lt;mark&gt;<mark>queue</mark>&lt;/mark&gt; \x02<mark>queue</mark>\x03 &amp; &lt;b&gt;"
    assert unescape(re.sub("</?mark>", "", item["match"])) == text


def test_match_of_a_long_message_is_short(owner: ApiClient) -> None:
    owner.imported(message("word " * 5_000 + "zebra" + " word" * 4_000))
    (item,) = find_sessions(owner, "zebra")
    assert len(item["match"]) < 300
    assert "<mark>zebra</mark>" in item["match"]


def test_returns_each_session_once_up_to_the_limit(owner: ApiClient) -> None:
    for number in range(25):
        owner.imported(*[message("a zebra")] * 3, title=str(number))
    assert len(find_sessions(owner, "zebra")) == 20
    assert len(find_sessions(owner, "zebra", "&limit=200")) == 25
    assert len(find_sessions(owner, "zebra", "&limit=3")) == 3
    assert len({item["id"] for item in find_sessions(owner, "zebra", "&limit=200")}) == 25


@pytest.mark.parametrize(
    ("sessions", "texts", "limit"),
    [
        (230, ["zebra"] * 10, 200),
        (230, ["zebra"] * 10, 20),
        (30, ["zebra " + "a long message " * 3_300], 20),
        (12, ["zebra " * 8_000], 10),
        (25, ["nothing", "a zebr", "zebra"], 200),  # fewer than asked for: all there are
    ],
)
def test_returns_as_many_sessions_as_match(owner: ApiClient, sessions: int, texts: list[str], limit: int) -> None:
    for _ in range(sessions):
        owner.imported(*map(message, texts))
    owner.imported(message("lion"), title="zebra")
    for query in ("zebra", "zeb", "zebra zebra", "ZEBRA"):
        items = find_sessions(owner, query, f"&limit={limit}")
        assert len({item["id"] for item in items}) == len(items) == min(limit, sessions + 1)
        assert all("<mark>zebra</mark>" in item["match"] for item in items)
    assert find_sessions(owner, "zebra", f"&limit={limit}")[0]["title"] == "zebra"  # a title counts more


def test_session_with_many_hits_leaves_room_for_others(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.imported(message("zebra"), title="old")
    owner.imported(*[message("zebra")] * 2_400, title="much")
    assert set(find_titles(owner, "zebra")) == {"old", "much"}
    monkeypatch.setattr(search, "MAX_CANDIDATES", 100)
    assert set(find_titles(owner, "zebra")) == {"old", "much"}


def test_prefix_is_found_in_old_messages(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the newest texts are searched first, and then all."""
    constants = [(sqlite, "MAX_SCANNED"), (postgresql, "MAX_SCANNED"), (postgresql, "MAX_SCANNED_FOR_SHORT")]
    owner.imported(message("xylophone 北京 old"), title="xy")
    owner.imported(*[message(f"nothing {number}") for number in range(20)], title="new")
    for scanned in (1, 2, 20, 21, 22, 1_000):
        for module, name in constants:
            monkeypatch.setattr(module, name, scanned)
        for query in ("x", "xy", "xyloph", "old x", "old xylo", "北", "北 old", "京 xy"):
            (item,) = find_sessions(owner, query)
            assert item["title"] == "xy"
        assert set(find_titles(owner, "n")) == {"new"}
        with db.read_transaction():
            entries = [*chain.from_iterable(current_index().find(str(owner.user_id), [Phrase(("n",), True)]))]
        assert len(entries) == len(set(entries)) == 21  # and the title


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60))
def test_any_text_is_found_by_itself(owner: ApiClient, text: str) -> None:
    owner.delete("/api/sessions")
    owner.imported(message(text))
    for query in (text, *text.split()):
        assert len(find_sessions(owner, query)) == bool(phrases(query)), query
