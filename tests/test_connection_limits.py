"""Connections that stall, bodies that are half sent or not wanted: others are served."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.helpers.clock import wait_until
from tests.helpers.http_client import HttpClient
from tests.helpers.long_documents import numbered_document
from tests.helpers.process import PASSWORD, ServerProcess, create_user
from tests.helpers.two_users import MIB, request_header

pytestmark = pytest.mark.slow


def test_half_sent_bodies_leave_connections_to_other_networks(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, ExitStack() as stack:
        token = create_user(server.data)
        upload = request_header(
            "POST", "/api/import", token, Content_Length=8 * MIB, Content_Type="application/x-ndjson"
        )
        for _ in range(700):
            connection = stack.enter_context(server.connect())
            connection.sendall(upload + b" " * MIB)
        for _ in range(3):
            assert server.request("GET", "/healthz")[0] == 200
            status, body, headers = server.request("GET", "/api/sessions", token=token)
            assert (status, body) == (503, {"error": "too_many_connections"})
            assert int(headers["Retry-After"]) > 0
        with closing(socket.socket()) as elsewhere:
            elsewhere.bind(("127.0.0.2", 0))
            elsewhere.connect(server.address)
            elsewhere.sendall(request_header("GET", "/api/sessions", token))
            assert elsewhere.recv(65_536).startswith(b"HTTP/1.1 200")
        stack.close()
        wait_until(lambda: server.request("GET", "/api/sessions", token=token)[0] == 200, "there is room again")
        assert "Traceback" not in server.log.read_text()


def test_bodies_without_a_valid_token_are_not_read(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, ExitStack() as stack:
        process = psutil.Process(server.process.pid)
        before = process.io_counters().write_bytes
        for number in range(10):
            connection = stack.enter_context(server.connect())
            connection.sendall(
                request_header("POST", "/api/import", "not.a.token" if number % 2 else None, Content_Length=60 * MIB)
            )
            assert connection.recv(65_536).startswith(b"HTTP/1.1 401")  # before any of the body
            sent = 0
            try:
                while sent < 60:
                    connection.sendall(b" " * MIB)
                    sent += 1
            except OSError:
                pass
        assert process.io_counters().write_bytes - before < MIB
        assert process.num_fds() < 60


def test_stalled_headers_delay_nobody(tmp_path: Path) -> None:
    token = create_user(tmp_path / "data")
    with ServerProcess(tmp_path / "data") as server, HttpClient(server, token) as client, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(server.connect()).sendall(b"GET /healthz HTTP/1.1\r\nHost: par")
        for _ in range(10):
            assert client("GET", "/api/sessions")[0] == 200
            assert client("POST", "/api/sessions", {"title": "x"})[0] == 201
            assert client("POST", "/api/sessions/import", numbered_document(10))[0] == 201
        assert client("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD})[0] == 200
