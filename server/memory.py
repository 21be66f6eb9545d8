"""Giving memory back to the system.

The C library keeps what was freed for what comes next: after one large import, for good. Told
to, it gives back what it does not use. And it keeps a store of its own for nearly every thread,
so that a long answer, which moves from thread to thread, left 13 to 36 MiB behind; with two
stores for all it is 13.
"""

from __future__ import annotations

import ctypes
import threading

M_ARENA_MAX = -8  # mallopt(3)
ARENAS = 2

_large = threading.Event()
_busy = threading.Lock()


def limit_arenas() -> None:
    """Have all threads share the C library's stores of memory; to be called before there are threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # of glibc alone
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


def was_large() -> None:
    """Note that much memory was needed and is free now."""
    _large.set()


def give_back_later() -> None:
    """Give back what is free, if that may be much: on a thread of its own, since it takes some milliseconds."""
    if _large.is_set():
        _large.clear()
        threading.Thread(target=_give_back, name="memory", daemon=True).start()


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        with _busy:
            trim(0)
