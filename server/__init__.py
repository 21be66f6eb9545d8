"""Serving with waitress, and what it lacks for us.

The way of a request:

    loop        accepts connections, polls, and drives all of the rest
    channel     one connection: bytes in, and (output) bytes out, never faster than its client
    parser      a head and a body, by the letter of RFC 9112
    routing     whose request it is, which pool it needs, whether its body is wanted
    dispatch    where it is served: by the loop, by the writer (batching), or in a pool
    task        what the app answers: whole, or in parts
    unread      what clients have yet to take of that

In fair everybody gets a line of their own; lock keeps a second server off; memory gives back
what was large. What of waitress is leaned on is listed in tests/test_waitress.py.

- The server's own refusals are JSON, like all others.
- A body that is not wanted gets its answer from the app, and the client gets to read it.
- Clients that stall are cut off.
- SIGTERM and Ctrl-C finish what was accepted and then end the process, with 0.
"""

from __future__ import annotations

import gc
import sys
import threading

from flask import Flask

import cli
import logs
import search
from database import db
from server import memory
from server.batching import raise_group_error
from server.lock import take_lock
from server.loop import Service
from store import deletion, drafts, imports, users, webhook_runs

__all__ = ["raise_group_error", "serve"]

# A thread that computes keeps the interpreter lock for so long from the loop, which asks for it anew
# after each call of the system. With Python's 5 ms, ten exports as Markdown held others for 200 ms.
SWITCH_SECONDS = 0.0005


def serve(app: Flask) -> None:
    """Serve the app and print one line that says where."""
    memory.limit_arenas()
    if db.lock_path:
        take_lock(db.lock_path)
    db.ensure_connection()
    db.reserve_space()
    with db.write_transaction(frees_space=True):
        imports.delete_orphans()
        drafts.finish_interrupted()
        webhook_runs.mark_interrupted()
    for name, work in (("maintenance", db.run_maintenance), ("indexer", search.run_indexer), ("eraser", deletion.run)):
        threading.Thread(target=work, name=name, daemon=True).start()
    app.extensions["services"].start()
    service = Service(app)
    service.install_signal_handlers()
    hint = "" if users.exists_any() else f"; no user yet, make one with: {cli.command_line()} users add NAME"
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what is there now stays: the collector need not look at it again and again
    gc.set_threshold(50_000, 20, 50)  # a large document is many objects, and none of them garbage
    logs.announce(f"Parley listens on {service.address}, database {db.location}{hint}", app.config["PARLEY_LOG_FORMAT"])
    service.run()
    app.extensions["services"].close()
    db.close_cleanly()
