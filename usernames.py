"""Usernames (RFC 8265): how a new one is stored, and when two are the same."""

from __future__ import annotations

import unicodedata

from precis_i18n import get_profile

from text import printable

MAX_MARKS = 4  # in a row: more look like fewer, and cover the lines around them

_PROFILE = get_profile("UsernameCasePreserved")


def name_key(username: str) -> str:
    """Return the key that all spellings of a name share.

    Two names that RFC 8265 compares as equal have the same key: folding includes its case mapping.
    Names from before that profile have keys, too.
    """
    folded = unicodedata.normalize("NFKC", username).casefold()
    return unicodedata.normalize("NFKC", folded)


def normalize_name(name: str) -> str:
    """Return a new user's name as it is stored (RFC 8265, section 3): in NFC, its case preserved.

    It consists of words of letters, digits, marks and ASCII punctuation, separated by single spaces.

    Raises:
        ValueError: it has other characters, or could be mistaken for another name.

    """
    try:
        name = " ".join(map(_PROFILE.enforce, name.split(" ")))
    except UnicodeEncodeError as error:
        reason = error.reason.removeprefix("DISALLOWED/")
        messages = {
            "empty": "Only single spaces between words are allowed.",
            "bidi_rule": "Mixes directions of writing.",
        }
        raise ValueError(messages.get(reason) or _not_allowed(error.object[error.start : error.end])) from None
    for char in name:
        if printable(char) != char:  # a joiner, which the profile allows after some letters of Indic scripts
            raise ValueError(_not_allowed(char))
    _check_marks(name)
    return name


def _check_marks(name: str) -> None:
    """Check that marks do not pile up (https://www.unicode.org/reports/tr39/#Optional_Detection).

    Raises:
        ValueError: a mark is repeated, or there are too many in a row.

    """
    marks = ""
    for char in unicodedata.normalize("NFD", name):
        marks = marks + char if unicodedata.category(char) in ("Mn", "Me") else ""
        if len(marks) > MAX_MARKS or char in marks[:-1]:
            raise ValueError("Has too many marks on a letter.")


def _not_allowed(text: str) -> str:
    if len(text) == 1:
        return f"U+{ord(text):04X} {unicodedata.name(text, '')}".rstrip() + " is not allowed."
    return "Has no stable form."
