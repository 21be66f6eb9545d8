"""Serving with waitress, and what it lacks for us.

The way of a request:

    loop          accepts connections, polls, and drives the rest
    connections   how many there may be, in all and from one network
    channel       one connection: bytes in, requests, and (output) bytes out, no faster than its client reads
    parser        header section and body, by the letter of RFC 9112
    routing       whose request it is, where its view runs, whether its body is wanted
    dispatch      runs it there: on the loop, in the write batcher (batching), or in a thread pool (pool)
    task          the app's response: whole, or deferred, which is sent in pieces as the client reads
    backpressure  the response bytes that are buffered for each user

Queues are fair_queue's: one for each user, served in turn. loop_guard warns if one request holds
the loop, memory returns freed memory to the system, housekeeping deletes what is old and finishes
what ended processes have left.
Which internals of waitress all this depends on is listed in tests/test_waitress.py.

- The server's own errors are JSON, like all others.
- A request whose body is not wanted gets its response from the app, and the client can read it.
- Clients that stall are disconnected.
- SIGTERM and SIGINT finish what was accepted and then end the process, with exit code 0.
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
from database.lock import lock_database
from server import housekeeping, memory
from server.batching import raise_group_error
from server.loop import Server
from store import deletion, users

__all__ = ["raise_group_error", "serve"]

# For how long a thread that computes may hold the interpreter lock while the loop, which requests it again
# after each system call, waits. With Python's 5 ms, ten exports as Markdown delayed others by 200 ms.
SWITCH_INTERVAL = 0.0005


def serve(app: Flask) -> None:
    """Serve the app until a signal ends it, and print one line with its address."""
    memory.limit_arenas()
    if db.lock_path:
        lock_database(db.lock_path)
    db.ensure_connection()
    db.reserve_space()
    housekeeping.recover()
    for name, work in (
        ("maintenance", db.run_maintenance),
        ("indexer", search.run_indexer),
        ("eraser", deletion.run),
        ("housekeeping", housekeeping.run),
    ):
        threading.Thread(target=work, name=name, daemon=True).start()
    app.extensions["services"].start()
    app.extensions["static"].prepare()
    server = Server(app)
    server.install_signal_handlers()
    hint = "" if users.exists_any() else f"; no user yet, create one with: {cli.command_line()} users add NAME"
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()  # what exists now is permanent: the collector need not traverse it again and again
    gc.set_threshold(50_000, 20, 50)  # a large document is many objects, and none of them garbage
    where = f"Parley listens on {server.address}, open it in a browser; database {db.location}"
    logs.announce(where + hint, app.config["PARLEY_LOG_FORMAT"])
    db.release_connection()
    server.run()
    app.extensions["services"].close()
    db.close_cleanly()
