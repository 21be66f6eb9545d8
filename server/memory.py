"""Returning freed memory to the system.

The C library retains what was freed for later use: after one large import, for good. ``malloc_trim``
returns it. The library also has an arena for nearly every thread, so that a deferred response,
which moves from thread to thread, left 13 to 36 MiB in use; with two arenas for all it is 13.
"""

from __future__ import annotations

import ctypes
import threading

M_ARENA_MAX = -8  # mallopt(3)
MAX_ARENAS = 2

_requested = threading.Event()
_trimming = threading.Lock()


def limit_arenas() -> None:
    """Make all threads share the C library's arenas; to be called before there are threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # of glibc alone
    if mallopt is not None:
        mallopt(M_ARENA_MAX, MAX_ARENAS)


def request_trim() -> None:
    """Request a trim at the next sweep, after a large request or response."""
    _requested.set()


def trim_if_requested() -> None:
    """Return freed memory to the system if that was requested: on its own thread, since it takes some milliseconds."""
    if _requested.is_set():
        _requested.clear()
        threading.Thread(target=_trim, name="memory", daemon=True).start()


def _trim() -> None:
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if malloc_trim is not None:
        with _trimming:
            malloc_trim(0)
