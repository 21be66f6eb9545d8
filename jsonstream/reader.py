"""The bytes of a file by their offsets."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from jsonstream import limits

WHITESPACE = b" \t\r\n"
_NOT_WHITESPACE = re.compile(rb"[^ \t\r\n]")


class Reader:
    """Reads a seekable file at any offset."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.size = file.seek(0, 2)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes between two offsets."""
        self._file.seek(start)
        return self._file.read(end - start)

    def read_line(self, start: int) -> bytes:
        """Return the line from an offset on, or its first LARGE_BYTES."""
        self._file.seek(start)
        return self._file.readline(limits.LARGE_BYTES)

    def end_of_line(self, start: int) -> int:
        """Return the offset after the line that an offset is in."""
        while part := self.read_line(start):
            start += len(part)
            if part.endswith(b"\n"):
                break
        return start

    def skip_whitespace(self, start: int) -> int:
        """Return the offset of the first character that is not whitespace, or of the end."""
        while part := self.read(start, start + limits.SLICE_BYTES):
            if found := _NOT_WHITESPACE.search(part):
                return start + found.start()
            start += len(part)
        return start


@contextmanager
def seekable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Provide a file that can be read at any offset: this one, or a temporary copy of it on the disk."""
    if file.seekable():
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, limits.LARGE_BYTES)
        copy.seek(0)
        yield copy
