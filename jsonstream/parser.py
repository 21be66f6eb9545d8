"""Values of JSON, parsed a slice at a time."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import IO, Any

import json_values
from jsonstream import limits
from jsonstream.limits import count_values, string_too_long, too_many_values
from jsonstream.reader import WHITESPACE, Reader
from jsonstream.scanner import InvalidJsonError
from jsonstream.splitter import Slice, split

CLOSING = {b"[": b"]", b"{": b"}"}
_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")  # of an array, or in a string
_PLACEHOLDER = secrets.token_hex(16)  # stands for a large member among the small ones before it
_QUOTED_PLACEHOLDER = f'"{_PLACEHOLDER}"'.encode()

Compact = Callable[[Any], Any]
"""Returns a compact form of an element, which takes its place, or None if it has none."""


def load(file: IO[bytes], compact: Compact | None = None) -> Any:
    """Return the JSON value that a seekable file consists of.

    ``compact`` is called with each element of a large array that is a member of the value.

    Raises:
        ValueError: if it is not one value of JSON.
        ApiError: ``validation_error``, if it has more than MAX_VALUES, or a string of more than MAX_STRING_BYTES.

    """
    reader = Reader(file)
    start = reader.skip_whitespace(0)
    if reader.size - start <= limits.LARGE_BYTES or reader.read(start, start + 1) not in CLOSING:
        return json_values.parse_json(reader.read(0, reader.size))
    value, end = Parser(reader, compact).parse_value(start)
    if reader.skip_whitespace(end) < reader.size:
        raise InvalidJsonError("more than one value")
    return value


class Parser:
    """Parses the arrays and objects of a file."""

    def __init__(self, reader: Reader, compact: Compact | None = None):
        self._reader = reader
        self._compact = compact

    def parse_value(self, start: int) -> tuple[Any, int]:
        """Return the array or object that starts at an offset, and the offset after it.

        Raises:
            InvalidJsonError: if it is not JSON.
            ApiError: ``validation_error``, if it has more than MAX_VALUES.

        """
        value, end, _ = self._parse_value(start, limits.MAX_VALUES, is_root=True)
        return value, end

    def _parse_value(
        self, start: int, budget: int, compact: Compact | None = None, is_root: bool = False
    ) -> tuple[Any, int, int]:
        """Return the value, the offset after it, and what is left of the budget of values."""
        reader = self._reader
        opening = reader.read(start, start + 1)
        is_array = opening == b"["
        value: Any = [] if is_array else {}
        end, is_first, is_last, wrong_guesses = start + 1, True, False, 0
        while not is_last:
            guess = self._guess_slice(end, is_first) if is_array and wrong_guesses < limits.MAX_WRONG_GUESSES else None
            wrong_guesses = 0 if guess else wrong_guesses + 1
            if guess:
                members, count, end = guess
            else:
                part = next(split(reader, end, to_list=is_root and not is_array))
                members, count = self.parse_slice(part, opening, is_first, limits.MAX_VALUES if compact else budget)
                end, is_last = part.end, part.is_last
                if part.has_large:
                    key = len(members) - 1 if is_array else _placeholder_name(members)
                    nested_compact = self._compact if is_root else None
                    members[key], end, budget = self._parse_value(part.small_end, budget, nested_compact)
            if compact and is_array:
                compacted = [compact(member) for member in members]
                if None not in compacted:
                    members, count = compacted, len(compacted)
            budget -= count
            if budget < 0:
                raise too_many_values(limits.MAX_VALUES)
            if is_array:
                value += members
            else:
                value |= members
            is_first = False
        if reader.read(end, end + 1) != CLOSING[opening]:
            raise InvalidJsonError("another bracket")
        return value, end + 1, budget

    def _guess_slice(self, start: int, is_first: bool) -> tuple[list[Any], int, int] | None:
        """Return some elements of an array from an offset on, their number of values, and the offset after them.

        The end is guessed. If the guess is wrong, or there is nothing to guess at, return None.
        """
        text = self._reader.read(start, start + limits.SLICE_BYTES)
        ends = [found.start() for found in _BETWEEN_OBJECTS.finditer(text, limits.SLICE_BYTES - limits.GUESS_BYTES)]
        if not ends:
            return None
        end = start + ends[-1] + 1
        try:
            elements, count = self.parse_slice(Slice(start, end, end, False), b"[", is_first, limits.MAX_VALUES)
        except InvalidJsonError:
            return None
        return elements, count, end

    def parse_slice(self, part: Slice, opening: bytes, is_first: bool, max_values: int) -> tuple[Any, int]:
        """Return the small members of a slice, with a placeholder for the large one, and how many values they have.

        Raises:
            InvalidJsonError: if they are not JSON.
            ApiError: ``validation_error``, if they have more than ``max_values``, or a string is too long.

        """
        if part.small_end - part.start > limits.MAX_STRING_BYTES:
            raise string_too_long()
        text = self._reader.read(part.start, part.small_end).lstrip(WHITESPACE)
        count = count_values(text, max_values)
        if count > max_values:
            raise too_many_values(limits.MAX_VALUES)
        if not is_first and (text or part.has_large):
            comma, text = text[:1], text[1:].lstrip(WHITESPACE)
            if comma != b"," or not (text or part.has_large):
                raise InvalidJsonError("no comma, or nothing after it")
        placeholder = _QUOTED_PLACEHOLDER if part.has_large else b""
        try:
            return json_values.parse_json(opening + text + placeholder + CLOSING[opening]), count
        except ValueError as error:
            raise InvalidJsonError(str(error)) from None


def _placeholder_name(members: dict[str, Any]) -> str:
    return next(name for name, member in members.items() if member == _PLACEHOLDER)
