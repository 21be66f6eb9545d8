"""Sizes of what is parsed at once, and limits of what is parsed at all."""

from __future__ import annotations

import re

from errors import ApiError

# A document that is smaller is parsed in one go.
LARGE_BYTES = 1_048_576
# A large array or object is parsed in slices of about this size.
SLICE_BYTES = 131_072
# Values of one document that are in memory at once; as arrays or objects, about 120 MB.
MAX_VALUES = 1_000_000
# Of one string, as an upper limit: one of 60 MB takes the interpreter lock for 0.3 s, whatever is done with it.
MAX_STRING_BYTES = 16_777_216
MAX_NUMBER_DIGITS = 262_144  # approximately
MAX_DEPTH = 1_024  # orjson's own
GUESS_BYTES = 32_768  # the last part of a slice, in which a guess looks for its end
MAX_WRONG_GUESSES = 2  # in a row; after them, no more guesses are made

STRING_REST = rb'[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+'
"""A string after its opening quotation mark, up to the closing one."""
_STRING = re.compile(rb'"' + STRING_REST + rb'"', re.DOTALL)
_VALUE_STARTS = (b",", b"[", b"{")


def check_values(text: bytes, max_values: int) -> None:
    """Check the number of values in a JSON text: elements, members, arrays and objects together.

    Raises:
        ApiError: ``validation_error``, if it has more than ``max_values``.

    """
    if count_values(text, max_values) > max_values:
        raise too_many_values(max_values)


def count_values(text: bytes, enough: int) -> int:
    """Return the number of values in a JSON text, or a higher one that is still within ``enough``."""
    count = sum(map(text.count, _VALUE_STARTS))
    if count > enough:  # many may be in strings
        count -= sum(text.count(each, *string.span()) for string in _STRING.finditer(text) for each in _VALUE_STARTS)
    return count


def too_many_values(max_values: int) -> ApiError:
    """Return the error for a document with too many values."""
    return _limit_error(f"Has more than {max_values:,} values.")


def string_too_long() -> ApiError:
    """Return the error for a document with a string that is too long."""
    return _limit_error(f"Has a string of more than {MAX_STRING_BYTES:,} bytes.")


def _limit_error(message: str) -> ApiError:
    return ApiError("validation_error", {"_schema": [message]})
