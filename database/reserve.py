"""Disk space held in reserve for when the disk is full: deletions, which free space, and logouts then still succeed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Reserve:
    """A file beside the database whose blocks the file system has really allocated.

    A deletion needs room before it frees any: what it changes goes to the write-ahead log first.
    """

    SIZE = 8_388_608
    # With fewer bytes than this the disk counts as full: the pages of one write may be as many.
    LOW = 4_194_304

    def __init__(self, database: Path):
        self.path = database.with_suffix(".reserve")

    def is_needed(self) -> bool:
        """Return whether there is hardly any other room on the disk."""
        return self._available() < self.LOW

    def release(self) -> None:
        """Free its room by deleting the file."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def allocate(self, leave: int = 0) -> None:
        """Create the file, as large as there is room for after ``leave`` bytes for others."""
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
