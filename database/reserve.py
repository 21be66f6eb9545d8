"""Room on the disk that is kept for the day when it is full: then what frees room, and a logout, still get through."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Reserve:
    """A file beside the database, of blocks that the file system has really set aside.

    Deleting takes room first: SQLite writes what it changes to the write-ahead log.
    """

    SIZE = 8_388_608
    # With less than this the disk is as good as full: the pages of one write may be as many.
    LOW = 4_194_304

    def __init__(self, database: Path):
        self.path = database.with_suffix(".reserve")

    def is_needed(self) -> bool:
        """Return whether there is hardly any other room."""
        return self._available() < self.LOW

    def give_up(self) -> None:
        """Make its room free."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def set_aside(self, leave: int = 0) -> None:
        """Make it, or as much of it as there is room for, but ``leave`` so much for others."""
        with suppress(OSError):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                wanted = min(self.SIZE - size, self._available() - leave)
                if wanted > 0:
                    os.posix_fallocate(descriptor, size, wanted)
            finally:
                os.close(descriptor)

    def _available(self) -> int:
        try:
            stat = os.statvfs(self.path.parent)
        except OSError:
            return self.SIZE
        return stat.f_bavail * stat.f_frsize
