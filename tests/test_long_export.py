"""The export of 100,000 messages: its memory, its client that stops reading, its session that is deleted."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import pytest

from tests.helpers.data_folder import copy_data
from tests.helpers.http_client import HttpClient
from tests.helpers.long_documents import numbered_document
from tests.helpers.process import PASSWORD, ServerProcess, create_user

MIB = 1_048_576
pytestmark = pytest.mark.slow


class LongSession(NamedTuple):
    """A data folder with a conversation of 100,000 messages in it."""

    data: Path
    token: str
    path: str
    messages: list[dict[str, Any]]


@pytest.fixture(scope="module")
def long_template(tmp_path_factory: pytest.TempPathFactory) -> LongSession:
    data = tmp_path_factory.mktemp("long") / "data"
    token = create_user(data)
    body = numbered_document(100_000, text="message {} " + "é" * 200)
    for number, message in enumerate(body["messages"]):
        message["metadata"] = {"number": number}
        message["created_at"] = f"2026-01-01T00:00:00.{number % 1000:03}Z"
    with ServerProcess(data) as server:
        status, imported, _ = server.request(
            "POST", "/api/sessions/import", json.dumps(body, ensure_ascii=False).encode(), token
        )
        assert (status, imported["imported_messages"]) == (201, 100_000)
        assert server.stop() == 0
    return LongSession(data, token, f"/api/sessions/{imported['session']['id']}", body["messages"])


@pytest.fixture
def long_session(long_template: LongSession, tmp_path: Path) -> LongSession:
    return long_template._replace(data=copy_data(long_template.data, tmp_path / "data"))


def start_export(server: ServerProcess, session: LongSession) -> tuple[socket.socket, http.client.HTTPResponse]:
    """Ask for the export as a client that has little room for what it has not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.settimeout(60)
    connection.connect(server.address)
    lines = (f"GET {session.path}/export HTTP/1.1", "Host: parley", f"Authorization: Bearer {session.token}", "", "")
    connection.sendall("\r\n".join(lines).encode())
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.status == 200
    return connection, response


def test_export_takes_little_memory(long_session: LongSession) -> None:
    with ServerProcess(long_session.data) as server:
        process = psutil.Process(server.process.pid)
        for _ in range(20):
            assert server.request("GET", "/api/sessions", token=long_session.token)[0] == 200
        before = most = process.memory_info().rss
        connection, response = start_export(server, long_session)
        pieces = []
        with connection, response:
            while piece := response.read(MIB):
                pieces.append(piece)
                most = max(most, process.memory_info().rss)
    assert sum(map(len, pieces)) > 40 * MIB
    assert most - before < 32 * MIB
    exported = json.loads(b"".join(pieces))
    assert exported.keys() == {"version", "exported_at", "session", "messages"}
    assert [
        {key: message[key] for key in ("role", "content", "metadata", "created_at")} for message in exported["messages"]
    ] == long_session.messages
    assert len({message["id"] for message in exported["messages"]}) == len(long_session.messages)


def test_client_that_stops_reading_delays_no_other(long_session: LongSession) -> None:
    with ServerProcess(long_session.data) as server, HttpClient(server, long_session.token) as client:
        connection, response = start_export(server, long_session)
        with connection, response:
            assert len(response.read(100_000)) == 100_000
            for _ in range(10):
                assert client("GET", "/api/sessions")[0] == 200
                assert client("POST", "/api/sessions", {"title": "x"})[0] == 201
                assert client("POST", "/api/sessions/import", numbered_document(10))[0] == 201
            assert client("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD})[0] == 200
            status, other = client("GET", f"{long_session.path}/export")
            assert (status, len(other["messages"])) == (200, len(long_session.messages))


def test_export_of_a_session_that_is_deleted_is_cut_short(long_session: LongSession) -> None:
    with ServerProcess(long_session.data) as server, HttpClient(server, long_session.token) as client:
        connection, response = start_export(server, long_session)
        with connection, response:
            start = response.read(100_000)
            assert client("DELETE", long_session.path) == (204, None)
            with pytest.raises(http.client.IncompleteRead) as cut:
                response.read()
        assert start.startswith(b'{"version":1,')
        assert not cut.value.partial.endswith(b"]}")
        assert client("GET", "/api/sessions") == (200, {"items": []})
