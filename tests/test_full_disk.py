"""Disks that are full: writes fail with 507, reads and deletions go on, and nothing acknowledged is lost."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.clock import wait_until
from tests.helpers.database_files import assert_integrity, query_file
from tests.helpers.http_client import HttpClient
from tests.helpers.long_documents import numbered_document
from tests.helpers.process import ServerProcess, create_user

MIB = 1_048_576
pytestmark = [pytest.mark.slow, pytest.mark.sqlite]


@pytest.mark.parametrize("count", [200, 5_000])
def test_imports_fail_on_a_full_disk_until_there_is_room(small_disk: Path, count: int) -> None:
    token = create_user(small_disk)
    full = (507, {"error": "disk_full"})
    ballast = small_disk / "ballast"
    body = numbered_document(count, str(count))
    padded = numbered_document(count, str(count), "message {}" + "x" * (2 * MIB // count))
    with ServerProcess(small_disk) as server, HttpClient(server, token) as client:
        status, imported = client("POST", "/api/sessions/import", body)
        assert status == 201
        session = f"/api/sessions/{imported['session']['id']}"
        before = client("GET", session)
        with ballast.open("wb") as file:
            file.write(bytes(12 * MIB))
        responses = [client("POST", "/api/sessions/import", padded) for _ in range(10)]
        stored = [response["session"]["id"] for status, response in responses if status == 201]
        assert [response for response in responses if response[0] != 201] == [full] * (10 - len(stored))
        assert responses[-1] == full
        assert client("GET", session) == before
        assert client("GET", "/readyz")[0] == 200
        wrong = {"username": "alice", "password": "wrong"}
        assert client("POST", "/api/auth/login", wrong) == (401, {"error": "invalid_credentials"})
        _, listed = client("GET", "/api/sessions")
        assert {item["id"] for item in listed["items"]} == {imported["session"]["id"], *stored}
        ballast.unlink()
        assert client("POST", "/api/sessions", {"title": "0"})[0] == 201
        assert client("POST", "/api/sessions/import", body)[0] == 201
        assert client("DELETE", session) == (204, None)
        # Deleted rows and those of interrupted imports are erased in the background.
        wait_until(
            lambda: query_file(small_disk, "SELECT count(*) FROM sessions") == [(len(stored) + 2,)], "all is erased"
        )
        assert server.stop() == 0
    with ServerProcess(small_disk) as server, HttpClient(server, token) as client:
        assert len(client("GET", "/api/sessions")[1]["items"]) == len(stored) + 2
        assert server.stop() == 0
    expected = (len(stored) + 2, (len(stored) + 1) * count)
    assert query_file(small_disk, "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM messages)") == [
        expected
    ]
    assert_integrity(small_disk)


def test_disk_that_fills_up_under_writers_loses_nothing_acknowledged(small_disk: Path) -> None:
    """What many writers commit together is acknowledged or rejected as a whole."""
    token = create_user(small_disk)

    def append(server: ServerProcess, session: str, writer: int) -> list[str]:
        acknowledged: list[str] = []
        with HttpClient(server, token) as client:
            for number in range(2_000):
                content = f"{writer}-{number} " + "x" * 20_000
                status, response = client("POST", f"{session}/messages", {"role": "user", "content": content})
                if status != 201:
                    assert (status, response) == (507, {"error": "disk_full"})
                    return acknowledged
                acknowledged.append(response["id"])
        raise AssertionError("the disk is not small")

    with ServerProcess(small_disk) as server, ThreadPoolExecutor(8) as pool:
        _, created, _ = server.request("POST", "/api/sessions", None, token)
        session = f"/api/sessions/{created['id']}"
        writers = [pool.submit(append, server, session, writer) for writer in range(8)]
        acknowledged = {message for writer in writers for message in writer.result(timeout=60)}
        _, read, _ = server.request("GET", session, token=token)
        server.stop(signal.SIGKILL)
    assert acknowledged
    assert {message["id"] for message in read["messages"]} == acknowledged
    assert {message for (message,) in query_file(small_disk, "SELECT id FROM messages")} == acknowledged
    assert_integrity(small_disk)
