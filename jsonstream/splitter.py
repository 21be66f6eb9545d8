"""Slices of a large array or object, each of whole members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jsonstream import limits
from jsonstream.reader import Reader
from jsonstream.scanner import NEXT, NEXT_RUN, InvalidJsonError, scan


class Slice(NamedTuple):
    """Members of an array or object, by their offsets: small ones up to ``small_end``, a large one up to ``end``."""

    start: int
    small_end: int
    end: int
    is_last: bool

    @property
    def has_large(self) -> bool:
        """Whether the last member is a large array or object, which starts at ``small_end``."""
        return self.small_end < self.end


def split(reader: Reader, start: int, *, single: bool = False, to_list: bool = False) -> Iterator[Slice]:
    """Yield the members of an array or object from an offset on, in slices of about SLICE_BYTES.

    The last slice ends at the closing bracket. If ``single``, no slice has more than one array or
    object. With ``to_list``, the first one may end with an array, whose own end is not known, and then
    there is no other.

    Raises:
        InvalidJsonError: if there is no closing bracket.

    """
    member_start, depth = start, 1
    size = 0 if single else limits.SLICE_BYTES
    for end, token in scan(reader, start, NEXT if single else NEXT_RUN):
        is_bracket = len(token) == 1
        if token == b",":
            if depth == 1 and end - start > limits.SLICE_BYTES:
                yield Slice(start, end - 1, end - 1, False)
                start = end - 1
            continue
        if is_bracket and token in b"[{":
            depth += 1
            if depth == 2:
                member_start = end - 1
                if to_list and token == b"[":
                    yield Slice(start, member_start, end, False)
                    return
            elif depth > limits.MAX_DEPTH:
                raise InvalidJsonError("nested too deeply")
            continue
        depth -= is_bracket
        if depth == 1 and is_bracket and end - member_start > limits.LARGE_BYTES:
            yield Slice(start, member_start, end, False)
            start = end
        elif depth == 1 and end - start > size:
            yield Slice(start, end, end, False)
            start = end
        elif depth == 0:
            yield Slice(start, end - 1, end - 1, True)
            return
    raise InvalidJsonError("no end")
