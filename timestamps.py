"""Times as they are stored and sent: in UTC, ISO 8601 with milliseconds and ``Z``. As text they sort by time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import aniso8601

_CANONICAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_MINUS_ZERO = re.compile(r"-(00:?(?:00)?)$")  # RFC 3339, section 4.3, has it; ISO 8601 has only +00


def timestamp(moment: datetime) -> str:
    """Return the timestamp of a moment, which has a time zone."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def now() -> str:
    """Return the current time as a timestamp. Call it through this module, so that tests can replace it."""
    return timestamp(datetime.now(UTC))


def timestamp_before(moment: str, **duration: float) -> str:
    """Return the timestamp of a duration before another one; the arguments are those of ``timedelta``."""
    return timestamp(datetime.fromisoformat(moment) - timedelta(**duration))


def timestamp_before_now(**duration: float) -> str:
    """Return the timestamp of a duration before now; the arguments are those of ``timedelta``."""
    return timestamp(datetime.now(UTC) - timedelta(**duration))


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds from one timestamp to another."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def next_timestamp(previous: str) -> str:
    """Return the current time, or a millisecond after ``previous`` if the clock has not passed that."""
    current = now()
    if current > previous:
        return current
    return timestamp(datetime.fromisoformat(previous) + timedelta(milliseconds=1))


def parse_timestamp(text: str) -> str:
    """Return the timestamp of a time in any form of ISO 8601. Without a zone it is UTC.

    Raises:
        ValueError: it is not a time, or not within the years 1 to 9999 of UTC.

    """
    try:
        if _CANONICAL.fullmatch(text):  # as in our own exports: 1 µs instead of 30
            datetime.fromisoformat(text)
            return text
        if not text.isascii() or len(text) > 64:
            raise ValueError("not a time")
        day, separator, time = text.upper().replace(" ", "T", 1).partition("T")
        time = _MINUS_ZERO.sub(r"+\1", time)
        moment = aniso8601.parse_datetime(f"{day}T{time if separator else '00'}")
        if time.startswith("24"):  # the end of the day, which the parser reads as its start
            moment += timedelta(days=1)
        return timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ArithmeticError, NotImplementedError) as error:  # out of range; a leap second
        raise ValueError(str(error)) from None
