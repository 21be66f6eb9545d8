"""Names of users (RFC 8265): how a new one is stored, and when two are the same."""

from __future__ import annotations

import unicodedata

from precis_i18n import get_profile

from text import printable

MAX_MARKS = 4  # in a row: more are taken for fewer, and cover the lines around them

_PROFILE = get_profile("UsernameCasePreserved")


def name_key(username: str) -> str:
    """Return what all spellings of one name have in common.

    No two names that RFC 8265 takes for the same have different keys: folding is what its case
    mapping does, and more. Names from before that profile have keys, too.
    """
    folded = unicodedata.normalize("NFKC", username).casefold()
    return unicodedata.normalize("NFKC", folded)


def normalize_name(name: str) -> str:
    """Return a new user's name as it is stored (RFC 8265, section 3): in NFC, its case as given.

    It consists of words of letters, digits, marks and ASCII punctuation, with one space between them.

    Raises:
        ValueError: it has anything else, or could be taken for another name.

    """
    try:
        name = " ".join(map(_PROFILE.enforce, name.split(" ")))
    except UnicodeEncodeError as error:
        reason = error.reason.removeprefix("DISALLOWED/")
        explained = {"empty": "A single space may stand between words.", "bidi_rule": "Mixes directions of writing."}
        raise ValueError(explained.get(reason) or _not_allowed(error.object[error.start : error.end])) from None
    for char in name:
        if printable(char) != char:  # a joiner, which the profile takes beside some letters of Indic scripts
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
