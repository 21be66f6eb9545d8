"""Another process that locks the database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
sys.stdin.readline()
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


class DatabaseLock:
    """A process that can lock the database of a data folder, once; it is started beforehand, which takes a while."""

    def __init__(self, folder: Path):
        command = [sys.executable, "-c", LOCKER, str(folder / "parley.db")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def acquire(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "locked\n"

    def release(self) -> None:
        """Unlock the database by ending the process."""
        self._process.communicate(timeout=30)

    def __enter__(self) -> DatabaseLock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin and not self._process.stdin.closed:
            self.release()
