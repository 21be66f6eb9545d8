"""Giving memory back to the system.

The C library keeps what was freed for what comes next: after one large import, for good. Told
to, it gives back what it does not use.
"""

from __future__ import annotations

import ctypes
import threading

_large = threading.Event()
_busy = threading.Lock()


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
