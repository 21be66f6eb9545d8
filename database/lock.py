"""One server per database: a second one would treat the first one's work in progress as a dead process's."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config import StartupError

log = logging.getLogger("parley")


def lock_database(database: Path) -> int | None:
    """Lock a database for this process until it ends, however it ends: the kernel releases the lock.

    The lock is on a file beside the database's own, under whatever name it is opened: SQLite's
    locks would be lost with any other descriptor of its file. Commands need none.

    Returns:
        The descriptor that holds the lock, or None if the file system has no locks.

    Raises:
        StartupError: another server holds it, its file cannot be created, or the database has two names.

    """
    # Each name would have a lock of its own, and a write-ahead log: writes would be lost.
    if database.exists() and database.stat().st_nlink > 1:
        raise StartupError(f"The database {database} has a second name (a hard link). Remove one, or make a copy.")
    path = Path(f"{database.resolve()}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartupError(f"The lock {path} cannot be taken: {error.strerror}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 1_000).decode(errors="replace").strip()
        os.close(descriptor)
        by = f" ({holder})" if holder.isprintable() and holder else ""
        raise StartupError(
            f"A server is running on the database {database}{by}. Stop it first, or use another database."
        ) from None
    except OSError as error:  # e.g. a network file system
        log.warning("nothing prevents a second server on the database: %s: %s", path, error.strerror)
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return descriptor


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Lock a database for the block, as a server would.

    Raises:
        StartupError: as ``lock_database``.

    """
    descriptor = lock_database(database)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
