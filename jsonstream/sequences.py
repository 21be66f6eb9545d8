"""Files of many values: one array, or lines (https://github.com/ndjson/ndjson-spec)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import IO, Any

import json_values
from errors import ApiError
from jsonstream import limits
from jsonstream.parser import CLOSING, Compact, Parser
from jsonstream.reader import WHITESPACE, Reader
from jsonstream.scanner import InvalidJsonError
from jsonstream.splitter import Slice, split

_BOM = b"\xef\xbb\xbf"
_BLANK_LINE = object()


def items(file: IO[bytes], compact: Compact | None = None) -> Iterator[tuple[int, Any]]:
    """Yield the items of a seekable file, each with its number: the elements of one array, or the value of each line.

    An item that is not JSON is an ApiError. The number is that of the line, if each has a line of its
    own. A value may also span several lines, as long as all before it were JSON. ``compact`` is called
    with each element of a large array that is a member of an item.
    """
    reader = Reader(file)
    for number, item in enumerate(_items(reader, Parser(reader, compact)), 1):
        if item is not _BLANK_LINE:
            yield number, item


def _items(reader: Reader, parser: Parser) -> Iterator[Any]:
    position = len(_BOM) if reader.read(0, len(_BOM)) == _BOM else 0
    start = reader.skip_whitespace(position)
    is_broken = False
    if reader.read(start, start + 1) == b"[":
        position, is_broken = yield from _array_elements(reader, parser, start)
    while position < reader.size:
        item, position = _parse_line(reader, parser, position, is_broken)
        is_broken = is_broken or isinstance(item, ApiError)
        yield item


def _parse_line(reader: Reader, parser: Parser, position: int, is_broken: bool) -> tuple[Any, int]:
    """Return the value that starts on a line, and the offset of the next line.

    A value ends with its line if the file ``is_broken`` before it.
    """
    line = reader.read_line(position)
    text = line.strip(WHITESPACE)
    is_whole = len(line) < limits.LARGE_BYTES
    if is_whole and not text:
        return _BLANK_LINE, position + len(line)
    try:
        if is_whole:
            return json_values.parse_json(text), position + len(line)
    except ValueError:
        pass
    if text[:1] in CLOSING and not (is_whole and is_broken):
        try:
            value, end = parser.parse_value(reader.skip_whitespace(position))
            if not reader.read_line(end).strip(WHITESPACE):
                return value, reader.end_of_line(end)
        except InvalidJsonError:
            pass
        except ApiError as error:
            return error, reader.end_of_line(position)
    return ApiError("invalid_json"), reader.end_of_line(position)


def _array_elements(reader: Reader, parser: Parser, start: int) -> Generator[Any, None, tuple[int, bool]]:
    """Yield the elements of an array; an ApiError instead of one that is not JSON.

    Returns:
        The offset to go on at, and whether the array is broken there.

    """
    position, is_first, is_last = start + 1, True, False
    single_to = 0  # if a slice is not JSON, its elements are parsed one by one
    while not is_last:
        single = position < single_to
        try:
            for part in split(reader, position, single=single):
                try:
                    yield from _slice_elements(parser, part, is_first)
                except InvalidJsonError:
                    if not single:
                        single_to = part.end
                        break
                    yield ApiError("invalid_json")
                position, is_first, is_last = part.end, False, part.is_last
                if single and position >= single_to:
                    break
        except InvalidJsonError:  # it has no end
            if single:
                yield ApiError("invalid_json")
                return reader.end_of_line(position), True
            single_to = reader.size + 1
    if reader.read(position, position + 1) != b"]":
        yield ApiError("invalid_json")
        return reader.end_of_line(position), True
    return position + 1, False


def _slice_elements(parser: Parser, part: Slice, is_first: bool) -> Iterator[Any]:
    elements, _ = parser.parse_slice(part, b"[", is_first, limits.MAX_VALUES)
    if not part.has_large:
        yield from elements
        return
    yield from elements[:-1]
    try:
        yield parser.parse_value(part.small_end)[0]
    except InvalidJsonError:
        yield ApiError("invalid_json")
    except ApiError as error:
        yield error
