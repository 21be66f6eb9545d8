"""Large JSON, read from a file in slices.

Parsing a large document in one go holds the interpreter lock, and with it everybody's requests
(35 MB: 0.25 s), and ``[],[],…`` takes thirty times its size in memory. Here it is parsed a slice at a
time. Where a slice may end is found by a regular expression that steps from bracket to bracket, or
guessed: if a piece of a list, put in brackets, is JSON, then it ends where an element of the list does.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from errors import ApiError
from json_values import parse_json

# What is smaller is parsed in one go.
LARGE_BYTES = 1_048_576
# A large array or object is parsed in slices of about this size.
SLICE_BYTES = 131_072
# Most values of one document that are in memory at once; as lists or objects, about 120 MB.
MOST_VALUES = 1_000_000
# Longest string, as an upper limit: one of 60 MB takes the interpreter lock for 0.3 s, whatever is done with it.
MOST_TEXT_BYTES = 16_777_216
MOST_DIGITS = 262_144  # of one number, about
MOST_DEPTH = 1_024  # the parser's own
GUESS_BYTES = 32_768  # the end of a slice, in which it looks for where it may end
MOST_MISSES = 2  # after so many wrong guesses in a row, no more are made
BOM = b"\xef\xbb\xbf"

_BLANK = b" \t\r\n"
_BETWEEN = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")  # two objects of a list, or else a string has this
_NOT_BLANK = re.compile(rb"[^ \t\r\n]")
_STRING_REST = rb'[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+'
_IN_STRING = re.compile(_STRING_REST, re.DOTALL)
_STRING = re.compile(rb'"' + _STRING_REST + rb'"', re.DOTALL)
_TEXT = rb'[^"\[\]{}]*+(?:"' + _STRING_REST + rb'"[^"\[\]{}]*+)*+'  # without brackets, but for those in strings
_FLAT = rb"[\[{]" + _TEXT + rb"[\]}]"
_SHALLOW = rb"[\[{]" + _TEXT + rb"(?:" + _FLAT + _TEXT + rb")*+[\]}]"
# Up to the next bracket, or up to the end of an array or object with no more than one level in it, or of
# a run of these: a message is less than one step then, and not four. Nothing, if the text ends before that.
_ONE = re.compile(_TEXT + rb"(" + _SHALLOW + rb"|[\[\]{}]|)", re.DOTALL)
_RUN = re.compile(_TEXT + rb"(" + _SHALLOW + rb"(?:" + _TEXT + _SHALLOW + rb"){0,31}+|[\[\]{}]|)", re.DOTALL)
# Up to the last comma before the next bracket, but for those in strings.
_BARE = rb'[^",\[\]{}]*+(?:"' + _STRING_REST + rb'"[^",\[\]{}]*+)*+'
_TO_COMMA = re.compile(rb"(?:" + _BARE + rb",)++", re.DOTALL)
_CLOSING = {b"[": b"]", b"{": b"}"}
_COUNTED = (b",", b"[", b"{")
_PLACE = secrets.token_hex(16)  # stands for a large member among the small ones before it
_QUOTED_PLACE = f'"{_PLACE}"'.encode()
_BLANK_LINE = object()

Compact = Callable[[Any], Any]
"""Returns what is to be kept of an element instead of it, or None."""


class BrokenError(ValueError):
    """Not JSON."""


class Piece(NamedTuple):
    """Members of an array or object: small ones up to ``opened``, and then a large one up to ``end``, or none."""

    start: int
    opened: int
    end: int
    last: bool


def load(file: IO[bytes], compact: Compact | None = None) -> Any:
    """Return the JSON value that a seekable file consists of.

    ``compact`` is called with each element of a large list that is a member of the value.

    Raises:
        ValueError: if it is not one value of JSON.
        ApiError: ``validation_error``, if it has more than MOST_VALUES, or a string of more than MOST_TEXT_BYTES.

    """
    reader = Reader(file, compact)
    start = reader.skip_blanks(0)
    if reader.size - start <= LARGE_BYTES or reader.read(start, start + 1) not in _CLOSING:
        return parse_json(reader.read(0, reader.size))
    value, end = reader.value(start)
    if reader.skip_blanks(end) < reader.size:
        raise BrokenError("more than one value")
    return value


def items(file: IO[bytes], compact: Compact | None = None) -> Iterator[tuple[int, Any]]:
    """Yield the items of a seekable file, each with its number: the elements of one array, or the value of each line.

    An item that is not JSON is an ApiError. The number is that of the line, if each has a line of its
    own. A value may also go over several lines, as long as all before it were JSON.
    """
    for number, item in enumerate(_items(Reader(file, compact)), 1):
        if item is not _BLANK_LINE:
            yield number, item


def _items(reader: Reader) -> Iterator[Any]:
    position = len(BOM) if reader.read(0, len(BOM)) == BOM else 0
    start = reader.skip_blanks(position)
    broken = False
    if reader.read(start, start + 1) == b"[":
        position, broken = yield from reader.elements(start)
    while position < reader.size:
        item, position = _item(reader, position, broken)
        broken = broken or isinstance(item, ApiError)
        yield item


def _item(reader: Reader, position: int, broken: bool) -> tuple[Any, int]:
    """Return the value that begins on a line, and the offset of the next line."""
    line = reader.line(position)
    text = line.strip(_BLANK)
    whole = len(line) < LARGE_BYTES
    if whole and not text:
        return _BLANK_LINE, position + len(line)
    try:
        if whole:
            return parse_json(text), position + len(line)
    except ValueError:
        pass
    if text[:1] in _CLOSING and not (whole and broken):
        try:
            value, end = reader.value(reader.skip_blanks(position))
            if not reader.line(end).strip(_BLANK):
                return value, reader.end_of_line(end)
        except BrokenError:
            pass
        except ApiError as error:
            return error, reader.end_of_line(position)
    return ApiError("invalid_json"), reader.end_of_line(position)


@contextmanager
def seekable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Provide a file that can be read at any offset: this one, or a copy of it on the disk."""
    if file.seekable():
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, LARGE_BYTES)
        copy.seek(0)
        yield copy


class Reader:
    """The JSON values in a seekable file, by the offsets at which they begin."""

    def __init__(self, file: IO[bytes], compact: Compact | None = None):
        self._file = file
        self._compact = compact
        self.size = file.seek(0, 2)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes between two offsets."""
        self._file.seek(start)
        return self._file.read(end - start)

    def line(self, start: int) -> bytes:
        """Return the line that begins at an offset, or its first LARGE_BYTES."""
        self._file.seek(start)
        return self._file.readline(LARGE_BYTES)

    def end_of_line(self, start: int) -> int:
        """Return the offset after the line that an offset is in."""
        while part := self.line(start):
            start += len(part)
            if part.endswith(b"\n"):
                break
        return start

    def skip_blanks(self, start: int) -> int:
        """Return the offset of the first character that is not blank, or of the end."""
        while part := self.read(start, start + SLICE_BYTES):
            if found := _NOT_BLANK.search(part):
                return start + found.start()
            start += len(part)
        return start

    def value(self, start: int) -> tuple[Any, int]:
        """Return the array or object that begins at an offset, and the offset after it.

        Raises:
            BrokenError: if it is not JSON.
            ApiError: ``validation_error``, if it has more than MOST_VALUES.

        """
        value, end, _ = self._value(start, MOST_VALUES, top=True)
        return value, end

    def _value(
        self, start: int, budget: int, compact: Compact | None = None, top: bool = False
    ) -> tuple[Any, int, int]:
        """Return the value, the offset after it, and how many more values there may be."""
        opening = self.read(start, start + 1)
        value: Any = [] if opening == b"[" else {}
        end, first, last, misses = start + 1, True, False, 0
        while not last:
            guess = self._guess(end, first) if opening == b"[" and misses < MOST_MISSES else None
            misses = 0 if guess else misses + 1
            if guess:
                members, cost, end = guess
            else:
                piece = next(self.pieces(end, to_list=top and opening == b"{"))
                members, cost = self._members(piece, opening, first, MOST_VALUES if compact else budget)
                end, last = piece.end, piece.last
                if piece.opened < end:
                    place = len(members) - 1 if opening == b"[" else _key_of_place(members)
                    members[place], end, budget = self._value(piece.opened, budget, self._compact if top else None)
            if compact and opening == b"[":
                kept = [compact(member) for member in members]
                if None not in kept:
                    members, cost = kept, len(kept)
            budget -= cost
            if budget < 0:
                raise _too_many_values(MOST_VALUES)
            if opening == b"[":
                value += members
            else:
                value |= members
            first = False
        if self.read(end, end + 1) != _CLOSING[opening]:
            raise BrokenError("another bracket")
        return value, end + 1, budget

    def elements(self, start: int) -> Generator[Any, None, tuple[int, bool]]:
        """Yield the elements of an array; what is not JSON is an ApiError.

        Returns:
            The offset to go on at, and whether the array is broken there.

        """
        position, first, last = start + 1, True, False
        single_to = 0  # where a slice is not JSON, its elements are taken one by one
        while not last:
            single = position < single_to
            try:
                for piece in self.pieces(position, single):
                    try:
                        yield from self._elements(piece, first)
                    except BrokenError:
                        if not single:
                            single_to = piece.end
                            break
                        yield ApiError("invalid_json")
                    position, first, last = piece.end, False, piece.last
                    if single and position >= single_to:
                        break
            except BrokenError:  # it has no end
                if single:
                    yield ApiError("invalid_json")
                    return self.end_of_line(position), True
                single_to = self.size + 1
        if self.read(position, position + 1) != b"]":
            yield ApiError("invalid_json")
            return self.end_of_line(position), True
        return position + 1, False

    def _elements(self, piece: Piece, first: bool) -> Iterator[Any]:
        members, _ = self._members(piece, b"[", first, MOST_VALUES)
        if piece.opened == piece.end:
            yield from members
            return
        yield from members[:-1]
        try:
            yield self.value(piece.opened)[0]
        except BrokenError:
            yield ApiError("invalid_json")
        except ApiError as error:
            yield error

    def pieces(self, start: int, single: bool = False, to_list: bool = False) -> Iterator[Piece]:
        """Yield the members of an array or object from an offset on, in pieces of about SLICE_BYTES.

        The last piece ends at the closing bracket. If ``single``, no piece has more than one array or
        object. With ``to_list``, the first one may end with a list,
        whose own end is not known, and then there is no other.

        Raises:
            BrokenError: if there is no closing bracket.

        """
        opened, depth = start, 1
        size = 0 if single else SLICE_BYTES
        for after, token in self._tokens(start, _ONE if single else _RUN):
            lone = len(token) == 1
            if token == b",":
                if depth == 1 and after - start > SLICE_BYTES:
                    yield Piece(start, after - 1, after - 1, False)
                    start = after - 1
                continue
            if lone and token in b"[{":
                depth += 1
                if depth == 2:
                    opened = after - 1
                    if to_list and token == b"[":
                        yield Piece(start, opened, after, False)
                        return
                elif depth > MOST_DEPTH:
                    raise BrokenError("nested too deeply")
                continue
            depth -= lone
            if depth == 1 and lone and after - opened > LARGE_BYTES:
                yield Piece(start, opened, after, False)
                start = after
            elif depth == 1 and after - start > size:
                yield Piece(start, after, after, False)
                start = after
            elif depth == 0:
                yield Piece(start, after - 1, after - 1, True)
                return
        raise BrokenError("no end")

    def _tokens(self, start: int, pattern: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield what a pattern finds outside of strings, each with the offset after it.

        Besides, where there is no bracket for long, some of the commas.

        Raises:
            BrokenError: for what is no JSON for certain.

        """
        in_string, digits = False, 0
        while part := self.read(start, start + SLICE_BYTES):
            at = 0
            if not in_string:
                for match in pattern.finditer(part):
                    begun, at = at, match.end()
                    if not (token := match[1]):
                        if comma := _TO_COMMA.match(part, begun, at):
                            yield start + comma.end(), b","
                        bare = not comma and at == len(part) and b'"' not in part and part.strip(_BLANK)
                        digits = digits + at if bare else 0
                        if digits > MOST_DIGITS:
                            raise BrokenError("a number without an end")
                        break
                    yield start + at, token
                if at < len(part):  # at a string that does not end in this part
                    at, in_string = at + 1, True
            if in_string and (found := _IN_STRING.match(part, at)):
                at = found.end()
                if part[at : at + 1] == b'"':
                    at, in_string = at + 1, False
                elif at < len(part) and (part[at:] != b"\\" or len(part) == 1):
                    raise BrokenError("a control character, or the end, in a string")
            start += at

    def _guess(self, start: int, first: bool) -> tuple[list[Any], int, int] | None:
        """Return some members of a list from an offset on, their cost, and the offset after them, if it guesses it."""
        text = self.read(start, start + SLICE_BYTES)
        ends = [found.start() for found in _BETWEEN.finditer(text, SLICE_BYTES - GUESS_BYTES)]
        if not ends:
            return None
        end = ends[-1] + 1
        piece = Piece(start, start + end, start + end, False)
        try:
            members, cost = self._members(piece, b"[", first, MOST_VALUES)
        except BrokenError:
            return None
        return members, cost, piece.end

    def _members(self, piece: Piece, opening: bytes, first: bool, budget: int) -> tuple[Any, int]:
        """Return the small members of a piece, with a placeholder for the large one, and how many values they have.

        Raises:
            BrokenError: if they are not JSON.
            ApiError: ``validation_error``, if they have more than the budget, or a string is too long.

        """
        if piece.opened - piece.start > MOST_TEXT_BYTES:
            raise _refusal(f"Has a string of more than {MOST_TEXT_BYTES:,} bytes.")
        text = self.read(piece.start, piece.opened).lstrip(_BLANK)
        has_large = piece.opened < piece.end
        cost = _count_values(text, budget)
        if cost > budget:
            raise _too_many_values(MOST_VALUES)
        if not first and (text or has_large):
            comma, text = text[:1], text[1:].lstrip(_BLANK)
            if comma != b"," or not (text or has_large):
                raise BrokenError("no comma, or nothing after it")
        try:
            return parse_json(opening + text + (_QUOTED_PLACE if has_large else b"") + _CLOSING[opening]), cost
        except ValueError as error:
            raise BrokenError(str(error)) from None


def _key_of_place(members: dict[str, Any]) -> str:
    return next(key for key, member in members.items() if member == _PLACE)


def check_values(text: bytes, most: int) -> None:
    """Refuse a JSON text that has too many values: its elements, members, arrays and objects together.

    Raises:
        ApiError: ``validation_error``.

    """
    if _count_values(text, most) > most:
        raise _too_many_values(most)


def _count_values(text: bytes, enough: int) -> int:
    """Return how many values a JSON text has; a larger number than that, if it is not more than ``enough``."""
    count = sum(map(text.count, _COUNTED))
    if count > enough:  # many may be in strings
        count -= sum(text.count(each, *string.span()) for string in _STRING.finditer(text) for each in _COUNTED)
    return count


def _too_many_values(most: int) -> ApiError:
    return _refusal(f"Has more than {most:,} values.")


def _refusal(message: str) -> ApiError:
    return ApiError("validation_error", {"_schema": [message]})
