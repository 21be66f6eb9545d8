"""Servers that are killed under load: what was acknowledged is there, and nothing by halves."""

from __future__ import annotations

import http.client
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.database_files import assert_integrity, expire_leases, query_file, query_returns
from tests.helpers.http_client import HttpClient
from tests.helpers.long_documents import numbered_document
from tests.helpers.process import ServerProcess

pytestmark = pytest.mark.slow


def assert_whole(client: HttpClient, acknowledged: dict[str, int]) -> None:
    """Every acknowledged session is there, and each that is there has the messages that its title counts."""
    status, listed = client("GET", "/api/sessions")
    assert status == 200
    titles = {session["id"]: session["title"] for session in listed["items"]}
    assert acknowledged.keys() <= titles.keys()
    for session_id, title in titles.items():
        _, session = client("GET", f"/api/sessions/{session_id}")
        assert [message["content"] for message in session["messages"]] == [f"message {n}" for n in range(int(title))]
        assert acknowledged.get(session_id, int(title)) == int(title)


def test_kill_under_writers_loses_nothing_acknowledged(data_folder: DataFolder) -> None:
    acknowledged: dict[str, int] = {}
    rejected: list[Any] = []

    def write(server: ServerProcess, writer: int) -> None:
        with HttpClient(server, data_folder.token) as client:
            for turn in range(writer, 100_000):
                count = (0, 1, 7, 0, 1_500)[turn % 5]
                try:
                    if count:
                        status, response = client("POST", "/api/sessions/import", numbered_document(count, str(count)))
                        response = response.get("session", response)
                    else:
                        status, response = client("POST", "/api/sessions", {"title": "0"})
                except (OSError, http.client.HTTPException):
                    return  # killed
                if status != 201:
                    rejected.append(response)
                    return
                acknowledged[response["id"]] = count

    def enough_or_rejected(enough: int) -> bool:
        return len(acknowledged) >= enough or bool(rejected)

    for _ in range(4):
        with ServerProcess(data_folder.path) as server, ThreadPoolExecutor(16) as pool:
            enough = len(acknowledged) + 100
            writers = [pool.submit(write, server, writer) for writer in range(16)]
            wait_until(partial(enough_or_rejected, enough), "enough is acknowledged")
            server.stop(signal.SIGKILL)
            for writer in writers:
                writer.result(timeout=60)
        assert rejected == []
        with ServerProcess(data_folder.path) as server, HttpClient(server, data_folder.token) as client:
            assert_whole(client, acknowledged)
        assert_integrity(data_folder.path)


def test_kill_during_imports_leaves_none_by_halves(data_folder: DataFolder) -> None:
    """An import is there whole or not at all, and it is there if its client received its response."""
    data = data_folder.path
    body = numbered_document(20_000, "20000")
    active = "(SELECT id FROM sessions WHERE user_id IS NULL AND generation = 0)"
    cut_off = 0

    def import_it(server: ServerProcess) -> str | None:
        with HttpClient(server, data_folder.token) as client, suppress(OSError, http.client.HTTPException):
            return str(client("POST", "/api/sessions/import", body)[1]["session"]["id"])
        return None

    for _ in range(3):
        with ServerProcess(data) as server, ThreadPoolExecutor(3) as pool:
            imports = [pool.submit(import_it, server) for _ in range(3)]
            count = f"SELECT count(*) > 2000 FROM messages WHERE session_id IN {active}"
            wait_until(partial(query_returns, data, count, [(1,)]), "the imports are under way")
            server.stop(signal.SIGKILL)
            acknowledged = {running.result(timeout=60) for running in imports} - {None}
        expire_leases(data)
        cut_off += len(query_file(data, f"SELECT 1 FROM sessions WHERE id IN {active}"))
        whole = {session_id for (session_id,) in query_file(data, "SELECT id FROM sessions WHERE user_id IS NOT NULL")}
        assert acknowledged <= whole
        with ServerProcess(data) as server, HttpClient(server, data_folder.token) as client:
            assert {item["id"] for item in client("GET", "/api/sessions")[1]["items"]} == whole
            counts = "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM messages)"
            wait_until(
                partial(query_returns, data, counts, [(len(whole), 20_000 * len(whole))]), "what was cut off is gone"
            )
        assert_integrity(data)
    assert cut_off
