"""The brackets and commas of a JSON text, found by regular expressions: nothing is parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jsonstream import limits
from jsonstream.limits import STRING_REST
from jsonstream.reader import WHITESPACE, Reader

_IN_STRING = re.compile(STRING_REST, re.DOTALL)
_TEXT = rb'[^"\[\]{}]*+(?:"' + STRING_REST + rb'"[^"\[\]{}]*+)*+'  # without brackets, but for those in strings
_FLAT = rb"[\[{]" + _TEXT + rb"[\]}]"
_SHALLOW = rb"[\[{]" + _TEXT + rb"(?:" + _FLAT + _TEXT + rb")*+[\]}]"
# Up to the next bracket, or up to the end of an array or object with no more than one level in it, or of
# a run of these: a message is less than one step then, and not four. Nothing, if the text ends before that.
NEXT = re.compile(_TEXT + rb"(" + _SHALLOW + rb"|[\[\]{}]|)", re.DOTALL)
NEXT_RUN = re.compile(_TEXT + rb"(" + _SHALLOW + rb"(?:" + _TEXT + _SHALLOW + rb"){0,31}+|[\[\]{}]|)", re.DOTALL)
# Up to the last comma before the next bracket, but for those in strings.
_BARE = rb'[^",\[\]{}]*+(?:"' + STRING_REST + rb'"[^",\[\]{}]*+)*+'
_TO_COMMA = re.compile(rb"(?:" + _BARE + rb",)++", re.DOTALL)


class InvalidJsonError(ValueError):
    """A text is not JSON."""


def scan(reader: Reader, start: int, pattern: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield what a pattern, NEXT or NEXT_RUN, finds outside of strings, each with the offset after it.

    If there is no bracket for long, yield some of the commas besides.

    Raises:
        InvalidJsonError: if the text is certainly not JSON.

    """
    in_string, digits = False, 0
    while part := reader.read(start, start + limits.SLICE_BYTES):
        at = 0
        if not in_string:
            for match in pattern.finditer(part):
                match_start, at = at, match.end()
                if not (token := match[1]):
                    if comma := _TO_COMMA.match(part, match_start, at):
                        yield start + comma.end(), b","
                    may_be_number = not comma and at == len(part) and b'"' not in part and part.strip(WHITESPACE)
                    digits = digits + at if may_be_number else 0
                    if digits > limits.MAX_NUMBER_DIGITS:
                        raise InvalidJsonError("a number without an end")
                    break
                yield start + at, token
            if at < len(part):  # at a string that does not end in this part
                at, in_string = at + 1, True
        if in_string and (found := _IN_STRING.match(part, at)):
            at = found.end()
            if part[at : at + 1] == b'"':
                at, in_string = at + 1, False
            elif at < len(part) and (part[at:] != b"\\" or len(part) == 1):
                raise InvalidJsonError("a control character, or the end, in a string")
        start += at
