"""Checks and conversions of text: for the database, and for a terminal or a log."""

from __future__ import annotations

import re

# Printable to Python, yet invisible: fillers, joiners and variation selectors
# (Default_Ignorable_Code_Point, https://www.unicode.org/reports/tr44/).
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")


def sanitize_text(text: str, max_length: int) -> str:
    """Return text from another service as it can be stored: without U+0000, and no longer than ``max_length``."""
    return text[:max_length].replace("\0", "\ufffd")


def check_text(text: str) -> None:
    """Check that a text can be stored in any database.

    Raises:
        ValueError: it has U+0000, which PostgreSQL cannot hold, or surrogates, which UTF-8 cannot.

    """
    if "\0" in text:
        raise ValueError("U+0000 is not allowed.")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        raise ValueError("Lone surrogates are not allowed.") from None


def printable(text: str) -> str:
    r"""Return text for a terminal or a log, with control, format and invisible characters escaped (``\u202e``)."""
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(
        char if char.isprintable() and not _INVISIBLE.match(char) else char.encode("unicode_escape").decode()
        for char in text
    )
