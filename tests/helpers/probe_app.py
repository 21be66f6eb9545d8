"""The service with more views, of which each returns the name of the thread that it runs in.

Run as ``python -m tests.helpers.probe_app``.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from flask import Flask

import server
from app import create_app
from server.routing import Routing
from web.decorators import batched, inline, runs_in
from web.spec import POOLS

HOLD_SECONDS = 0.08  # more than the loop may be held


def thread_name() -> str:
    return threading.current_thread().name


def hold(**_: Any) -> str:
    time.sleep(HOLD_SECONDS)
    return thread_name()


def stream() -> Any:
    def parts() -> Any:
        for _ in range(3):
            yield f"{thread_name()}\n"

    return parts()


def add_views(app: Flask) -> None:
    views = {"unmarked": thread_name, "inline": inline(named("inline")), "batched": batched(named("batched"))}
    views |= {pool: runs_in(pool)(named(pool)) for pool in POOLS}
    for name, view in views.items():
        app.add_url_rule(f"/probe/{name}", name, view, methods=["GET", "POST"])
    app.add_url_rule("/probe/deep/<path:rest>", "deep", lambda rest: thread_name())
    app.add_url_rule("/probe/stream", "stream", inline(uses_database=False)(stream))
    app.add_url_rule("/probe/hold/<name>", "hold", inline(uses_database=False)(hold), methods=["GET", "POST"])


def named(name: str) -> Any:
    """Return a view of its own: marks are put on the function."""

    def view() -> str:
        return thread_name()

    view.__name__ = name
    return view


def slow_parsing() -> None:
    """Make the check whether a body is wanted slow, which the loop does while it parses."""
    accepts_body = Routing.accepts_body

    def accepts_body_slowly(self: Routing, request: Any) -> bool:
        if request.path == "/probe/unmarked":
            time.sleep(HOLD_SECONDS)
        return accepts_body(self, request)

    Routing.accepts_body = accepts_body_slowly  # type: ignore[method-assign]


if __name__ == "__main__":
    app = create_app()
    add_views(app)
    slow_parsing()
    server.serve(app)
