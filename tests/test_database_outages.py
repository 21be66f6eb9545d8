"""A database that is moved away, or locked by another process, under a running server."""

from __future__ import annotations

import sqlite3
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any

import pytest

from tests.helpers.data_folder import DataFolder
from tests.helpers.long_documents import document
from tests.helpers.process import PASSWORD, ServerProcess

pytestmark = pytest.mark.sqlite


def test_moved_database_is_unavailable_until_it_is_back(data_folder: DataFolder) -> None:
    database, elsewhere = data_folder.path / "parley.db", data_folder.path / "elsewhere.db"
    unavailable = (503, {"error": "database_unavailable"})
    with ServerProcess(data_folder.path) as server:
        assert server.request("POST", "/api/sessions", {"title": "before"}, data_folder.token)[0] == 201
        database.rename(elsewhere)
        for method, path, body in (
            ("GET", "/readyz", None),
            ("GET", "/api/sessions", None),
            ("POST", "/api/sessions", {"title": "lost"}),
            ("POST", "/api/sessions/import", document("lost")),
            ("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD}),
        ):
            assert server.request(method, path, body, data_folder.token)[:2] == unavailable
        assert server.request("GET", "/healthz")[0] == 200
        assert not database.exists()
        elsewhere.rename(database)
        assert server.request("GET", "/readyz")[0] == 200
        _, listed, _ = server.request("GET", "/api/sessions", token=data_folder.token)
        assert [session["title"] for session in listed["items"]] == ["before"]
        assert server.request("POST", "/api/sessions", {"title": "again"}, data_folder.token)[0] == 201


def test_locked_database_is_busy_for_writes_and_serves_reads(data_folder: DataFolder) -> None:
    writes: list[tuple[str, Any]] = [
        ("/api/sessions", {"title": "x"}),
        ("/api/sessions/import", document("x")),
        ("/api/auth/login", {"username": "alice", "password": PASSWORD}),
    ]
    with (
        ServerProcess(data_folder.path) as server,
        ThreadPoolExecutor(len(writes)) as pool,
        closing(sqlite3.connect(data_folder.path / "parley.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        pending = [pool.submit(server.request, "POST", path, body, data_folder.token) for path, body in writes]
        for _ in range(5):
            assert server.request("GET", "/api/sessions", token=data_folder.token)[:2] == (200, {"items": []})
        assert not any(write.done() for write in pending)
        wait(pending, 60, FIRST_COMPLETED)
        _, waiting = wait(pending, 4)  # all wait at once: five seconds later, it would be one after the other
        assert not waiting
        for write in pending:
            status, response, headers = write.result()
            assert (status, response) == (503, {"error": "database_busy"})
            assert int(headers["Retry-After"]) > 0
        other.execute("ROLLBACK")
        assert [server.request("POST", path, body, data_folder.token)[0] for path, body in writes] == [201, 201, 200]
