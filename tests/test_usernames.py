"""Usernames: which are allowed, which are the same, and older ones that would not be allowed now."""

from __future__ import annotations

import unicodedata

import pytest
from flask import Flask
from hypothesis import example, given, settings
from hypothesis import strategies as st
from precis_i18n import get_profile

from tests.helpers.client import PASSWORD, ApiClient, add_user, can_log_in, invoke
from tests.helpers.database import query_db
from text import printable
from usernames import name_key, normalize_name

# A name, and how it is stored, None if it is not allowed.
VALID = [
    ("alice", "alice"),
    ("Alice", "Alice"),
    ("Anna Maria", "Anna Maria"),
    ("o'brien-smith_2", "o'brien-smith_2"),
    ("zoe+ops@example.org", "zoe+ops@example.org"),
    ("DOMAIN\\zoe", "DOMAIN\\zoe"),
    ("Zoe\u0308", "Zo\u00eb"),
    ("\uff21\uff22\uff23\uff11", "ABC1"),
    ("Ωμέγα", "Ωμέγα"),
    ("ỌLÁṢẸ", "ỌLÁṢẸ"),
    ("straße", "straße"),
    ("İpek", "İpek"),
    ("Жанна", "Жанна"),
    ("שרה", "שרה"),
    ("سارة ١٢", None),  # right-to-left, a word must not start with digits
    ("سارة", "سارة"),
    ("अनुष्का", "अनुष्का"),
    ("สมชาย", "สมชาย"),
    ("王小明", "王小明"),
    ("田中・太郎", "田中・太郎"),
    ("한국", "한국"),
    ("Nguyễn Ấ", "Nguyễn Ấ"),
    ("ᾅ", "ᾅ"),
    ("\u1112\u1161\u11ab", "한"),
]
INVALID = {
    "a tab": "a\tb",
    "a newline": "alice\n2026-01-01T00:00:00.000Z  root",
    "a return": "a\rb",
    "escape": "a\x1b[2Kb",
    "delete": "a\x7f",
    "a C1 control": "a\x9bb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "zero width space": "alice\u200b",
    "zero width no-break space": "alice\ufeff",
    "word joiner": "al\u2060ice",
    "zero width joiner": "alice\u200d",
    "zero width joiner where Indic scripts have it": "\u0915\u094d\u200d\u0937",
    "zero width non-joiner where Indic scripts have it": "\u0915\u094d\u200c\u0937",
    "soft hyphen": "ali\u00adce",
    "left-to-right mark": "alice\u200e",
    "Arabic letter mark": "alice\u061c",
    "right-to-left override": "\u202eecila",
    "isolate": "\u2066alice\u2069",
    "combining grapheme joiner": "a\u034fb",
    "variation selector": "a\ufe0f",
    "supplementary variation selector": "王\U000e0100",
    "Mongolian vowel separator": "a\u180eb",
    "Hangul filler": "\u3164",
    "halfwidth Hangul filler": "\uffa0",
    "Hangul choseong filler": "\u115f",
    "Khmer inherent vowel": "\u17b4",
    "tag": "a\U000e0041",
    "Braille blank": "\u2800",
    "a leading space": " alice",
    "a trailing space": "alice ",
    "two spaces": "anna  maria",
    "nothing but a space": " ",
    "no-break space": "anna\u00a0maria",
    "ideographic space": "王\u3000明",
    "em space": "anna\u2003maria",
    "ligature": "\ufb01ona",
    "superscript": "alice\u00b2",
    "Roman numeral": "\u2167",
    "both directions in a word": "aliceשרה",
    "emoji": "🚀",
    "private use": "\ue000",
    "unassigned": "\u0378",
    "noncharacter": "\uffff",
    "lone surrogate": "a\udcff",
    "a letter's tail": "l\u00b7",
    "a null": "a\0b",
    "a mark twice": "zoe\u0308\u0308",
    "a mark twice, once within a letter": "\u00eb\u0308",
    "a flood of marks": "a" + "".join(map(chr, range(0x300, 0x310))),
    "marks that are no letter's": "\u0301" * 60,
}
names = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=("L", "M", "N", "P", "Zs", "Cf")),
        st.sampled_from("aAbß ẞİıſKÅσςΣ\u0301\u200d\u094d\u0915١a\u00b7l"),
    ),
    min_size=1,
    max_size=8,
)


def normalize_or_none(name: str) -> str | None:
    try:
        return normalize_name(name)
    except ValueError:
        return None


@pytest.mark.parametrize(("name", "stored"), VALID)
def test_add_stores_the_normal_form(app: Flask, name: str, stored: str | None) -> None:
    result = invoke(app, "users", "add", name, "--password", PASSWORD)
    assert (result.exit_code == 0) is (stored is not None), result.output
    assert query_db("SELECT username FROM users") == ([(stored,)] if stored else [])
    for spelling in (name, name.upper(), unicodedata.normalize("NFD", name)) if stored else ():
        assert query_db("SELECT username FROM users WHERE name_key = ?", name_key(spelling)) == [(stored,)]


@pytest.mark.parametrize("name", INVALID.values(), ids=INVALID)
def test_add_rejects_names_that_look_like_others(app: Flask, name: str) -> None:
    result = invoke(app, "users", "add", name, "--password", PASSWORD)
    assert (result.exit_code, query_db("SELECT * FROM users")) == (1, [])
    message = result.output.removesuffix("\n")
    assert message.startswith("Error: username: ")
    assert printable(message) == message
    assert message.isascii()


def test_error_names_the_character(app: Flask) -> None:
    result = invoke(app, "users", "add", "alice\u200b", "--password", PASSWORD)
    assert result.output == "Error: username: U+200B ZERO WIDTH SPACE is not allowed.\n"


@settings(derandomize=True, max_examples=1_000)
@given(names)
def test_normal_form_is_visible_and_stable(name: str) -> None:
    stored = normalize_or_none(name)
    if stored is not None:
        assert normalize_name(stored) == stored
        assert unicodedata.normalize("NFKC", stored) == stored
        assert stored == stored.strip()
        assert printable(stored) == stored
        assert {unicodedata.category(char)[0] for char in stored.replace(" ", "")} <= set("LMNPS")


def case_mapped(name: str) -> str | None:
    """Return the form in which RFC 8265 compares names."""
    try:
        return " ".join(map(get_profile("UsernameCaseMapped").enforce, name.split(" ")))
    except UnicodeEncodeError:
        return None


@settings(derandomize=True, max_examples=1_000)
@given(names)
@example("ẞ")
@example("İI\u0307")
def test_names_that_the_profile_compares_as_equal_have_one_key(name: str) -> None:
    stored = normalize_or_none(name)
    if stored is not None:
        spellings = {name, stored, stored.lower(), unicodedata.normalize("NFD", stored), case_mapped(stored) or stored}
        assert {name_key(spelling) for spelling in spellings} == {name_key(stored)}


@pytest.mark.parametrize(
    ("one", "another"),
    [("Zoë", "ZOE\u0308"), ("straße", "STRASSE"), ("ﾔ", "ヤ"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("Kelvin", "\u212aelvin")],
)
def test_add_rejects_another_spelling_of_a_taken_name(app: Flask, one: str, another: str) -> None:
    assert invoke(app, "users", "add", one, "--password", PASSWORD).exit_code == 0
    result = invoke(app, "users", "add", another, "--password", PASSWORD)
    assert (result.exit_code, "already" in result.output) == (1, True)


# Names that could be created before the profile.
OLDER = [
    "alice\u200b",
    "\u202eecila",
    "bob\t2026-01-01T00:00:00.000Z  root",
    "bob\n2026-01-01T00:00:00.000Z  root",
    "\u3164",
    "a\x1b[2Kb",
    "🚀",
]


@pytest.mark.parametrize("name", OLDER)
def test_older_names_stay_usable(app: Flask, anonymous: ApiClient, name: str) -> None:
    add_user(app, "alice")
    add_user(app, "bob")
    add_user(app, name)
    assert can_log_in(anonymous, name, PASSWORD)
    listed = invoke(app, "users", "list").output
    assert len(listed.splitlines()) == 3
    shown = {line.split("  ", 1)[1] for line in listed.splitlines()}
    (spelled,) = shown - {"alice", "bob"}
    for spelling in (name, spelled):
        outputs = [invoke(app, "users", "add", name, "--password", PASSWORD).output]
        assert invoke(app, "users", "token", spelling).exit_code == 0
        outputs.append(invoke(app, "users", "remove", spelling, input="n\n").output)
        assert all(printable(line) == line for output in outputs for line in output.split("\n"))
    assert spelled in invoke(app, "users", "passwd", spelling, "--password", "another one").output
    assert can_log_in(anonymous, name, "another one")
    assert invoke(app, "users", "remove", spelling, "--yes").output == f"Removed the user {spelled}.\n"
    assert query_db("SELECT username FROM users ORDER BY username") == [("alice",), ("bob",)]


def test_older_names_are_listed_unambiguously(app: Flask) -> None:
    add_user(app, "alice\u200b")
    add_user(app, "alice\\u200b")
    lines = invoke(app, "users", "list").output.splitlines()
    assert sorted(line.split()[1] for line in lines) == ["alice\\\\u200b", "alice\\u200b"]


@pytest.mark.parametrize("name", [*OLDER, "a\udcff", "alice\udcff"])
def test_unknown_names_are_reported(app: Flask, name: str) -> None:
    add_user(app, "alice")
    for command in (("passwd", "--password", PASSWORD), ("remove", "--yes"), ("token",)):
        result = invoke(app, "users", command[0], name, *command[1:])
        assert (result.exit_code, f"Error: There is no user '{printable(name)}'" in result.output) == (1, True)
    assert query_db("SELECT username FROM users") == [("alice",)]
