"""The values that the service keeps: their limits, and times, ids and JSON as they are stored."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import aniso8601
import orjson
from precis_i18n import get_profile
from uuid_utils import uuid7

ROLES = ("user", "assistant", "system")
RUN_STATUSES = ("running", "succeeded", "failed", "interrupted")
USERNAME_LENGTH = 64
PASSWORD_LENGTH = (8, 1_024)
TITLE_LENGTH = 120
PROMPT_LENGTH = 8_000
CONTENT_LENGTH = 50_000
INPUT_LENGTH = 65_536  # of an action, as JSON text
ORIGIN_LENGTH = 255
QUESTION_LENGTH = 10_000
FOUND_LENGTH = 20  # sessions that a search finds, where no limit is given
METADATA_DEPTH = 200
PAGE_LENGTH = (50, 200)  # of a list: where none is asked for, and at most

_CANONICAL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_MINUS_ZERO = re.compile(r"-(00:?(?:00)?)$")  # RFC 3339, section 4.3, has it; ISO 8601 has only +00
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_USERNAME = get_profile("UsernameCasePreserved")
# Printable to Python, yet not to be seen: fillers, joiners and variation selectors
# (Default_Ignorable_Code_Point, https://www.unicode.org/reports/tr44/).
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
MARKS_LENGTH = 4  # most marks in a row in a name: more are taken for fewer, and cover the lines around them
_LONG_NUMBER = b"0" * 19  # the shortest integer that may not fit into 64 bits has nineteen digits


def new_id() -> str:
    """Return a fresh id: a UUID of version 7, so that new rows go to the end of an index."""
    return str(uuid7())


def timestamp(moment: datetime) -> str:
    """Write a moment the way all times are stored and sent; as text, it sorts by time."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def now() -> str:
    """Return the present moment as a timestamp."""
    return timestamp(datetime.now(UTC))


def ago(**time: float) -> str:
    """Return the moment that was so long ago, in the words of timedelta."""
    return timestamp(datetime.now(UTC) - timedelta(**time))


def later_than(moment: str) -> str:
    """Return the present moment, or the one just after ``moment`` where the clock is not past it."""
    present = now()
    if present > moment:
        return present
    return timestamp(datetime.fromisoformat(moment) + timedelta(milliseconds=1))


def parse_time(text: str) -> str:
    """Return a time, given in any form of ISO 8601, as a timestamp. No zone means UTC.

    Raises:
        ValueError: for anything else, or a moment outside the years 1 to 9999 of UTC.

    """
    try:
        if _CANONICAL_TIME.fullmatch(text):  # what our own exports hold: 1 µs instead of 30
            datetime.fromisoformat(text)
            return text
        if not text.isascii() or len(text) > 64:
            raise ValueError("not a time")
        day, separator, time = text.upper().replace(" ", "T", 1).partition("T")
        time = _MINUS_ZERO.sub(r"+\1", time)
        moment = aniso8601.parse_datetime(f"{day}T{time if separator else '00'}")
        if time.startswith("24"):  # the end of the day, which the parser takes for its beginning
            moment += timedelta(days=1)
        return timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ArithmeticError, NotImplementedError) as error:  # out of range; a leap second
        raise ValueError(str(error)) from None


def parse_json(raw: bytes) -> Any:
    """Return what a JSON text says, integers of any size exactly as they stand.

    Raises:
        ValueError: for what is not JSON in UTF-8 (RFC 8259), or is nested absurdly deep.

    """
    value = orjson.loads(raw)
    if _LONG_NUMBER not in raw.translate(_DIGITS):
        return value
    try:
        # orjson turns an integer of more than 64 bits into a float, which is another number.
        return json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def metadata_text(value: dict[str, Any]) -> str:
    """Return a metadata object as the JSON text that is stored.

    Raises:
        ValueError: where it is nested too deeply, or has U+0000 in a string.

    """
    if not value:
        return "{}"
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # too deep for it, or an integer of more than 64 bits
        _check_metadata(value)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if "\\u0000" in text or text.count("[") + text.count("{") > METADATA_DEPTH:
        _check_metadata(value)
    return text


def _check_metadata(value: dict[str, Any]) -> None:
    """Refuse what is nested too deeply, or has texts that cannot be stored.

    A level at a time, ten times as fast as value by value: 1 MB may be 300,000 of them.
    """
    level: list[Any] = [value]
    for _ in range(METADATA_DEPTH):
        objects = [item for item in level if type(item) is dict]
        check_text("".join([key for item in objects for key in item]))
        parts = [part for item in level for part in (item.values() if type(item) is dict else item)]
        check_text("".join([part for part in parts if type(part) is str]))
        level = [part for part in parts if type(part) is dict or type(part) is list]
        if not level:
            return
    raise ValueError("Nested too deeply.")


def clean_text(text: str, longest: int) -> str:
    """Return text from elsewhere as one that can be stored: U+0000 replaced, cut to a length."""
    return text[:longest].replace("\0", "\ufffd")


def check_text(text: str) -> None:
    """Refuse what cannot be stored everywhere.

    Raises:
        ValueError: for U+0000, which PostgreSQL cannot hold, and surrogates, which UTF-8 cannot.

    """
    if "\0" in text:
        raise ValueError("U+0000 is not allowed.")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        raise ValueError("Lone surrogates are not allowed.") from None


def normalize_username(name: str) -> str:
    """Return a new user's name as it is stored (RFC 8265, section 3): in NFC, its case as given.

    It consists of words of letters, digits, marks and ASCII punctuation, with one space between them.

    Raises:
        ValueError: if it has anything else, or could be taken for another name.

    """
    try:
        name = " ".join(map(_USERNAME.enforce, name.split(" ")))
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
    """Refuse what stands upon itself (https://www.unicode.org/reports/tr39/#Optional_Detection).

    Raises:
        ValueError: if a mark is repeated, or there are too many in a row.

    """
    marks = ""
    for char in unicodedata.normalize("NFD", name):
        marks = marks + char if unicodedata.category(char) in ("Mn", "Me") else ""
        if len(marks) > MARKS_LENGTH or char in marks[:-1]:
            raise ValueError("Has too many marks on a letter.")


def _not_allowed(text: str) -> str:
    if len(text) == 1:
        return f"U+{ord(text):04X} {unicodedata.name(text, '')}".rstrip() + " is not allowed."
    return "Has no stable form."


def printable(text: str) -> str:
    r"""Return text for a terminal or a log: control, format and invisible characters as ``\u202e``."""
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(
        char if char.isprintable() and not _INVISIBLE.match(char) else char.encode("unicode_escape").decode()
        for char in text
    )
