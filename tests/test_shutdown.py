"""How a server stops: on a signal it finishes what it accepted, and a kill loses nothing acknowledged."""

from __future__ import annotations

import json
import signal
import stat
from contextlib import ExitStack

import pytest

from tests.helpers import engine
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.long_documents import document, message_contents
from tests.helpers.process import PASSWORD, ServerProcess
from tests.helpers.raw_http import CLOSE, parse_responses, raw_request, read_to_end


def rejects_connections(server: ServerProcess) -> bool:
    try:
        server.connect().close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_finishes_requests_in_flight_and_accepts_no_more(data_folder: DataFolder, number: int) -> None:
    body = json.dumps(document("imported")).encode()
    with (
        ServerProcess(data_folder.path) as server,
        server.connect() as idle,
        server.connect() as silent,
        server.connect() as busy,
    ):
        idle.sendall(raw_request("GET", "/healthz"))
        assert idle.recv(65_536).startswith(b"HTTP/1.1 200")
        expecting = raw_request("POST", "/api/sessions/import", body, data_folder.token, {"Expect": "100-continue"})
        busy.sendall(expecting.removesuffix(body))
        assert busy.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        server.process.send_signal(number)
        wait_until(lambda: rejects_connections(server), "connections are rejected")
        assert idle.recv(1) == silent.recv(1) == b""
        busy.sendall(body)
        (response,) = parse_responses(read_to_end(busy), "POST")
        assert (response.status, response.json["imported_messages"]) == (201, 1)
        assert server.process.wait(timeout=10) == 0
    with ServerProcess(data_folder.path) as server:
        assert message_contents(server, data_folder.token, response.json["session"]["id"]) == ["imported"]


def test_serves_what_was_sent_before_the_signal(data_folder: DataFolder) -> None:
    log_in = json.dumps({"username": "alice", "password": PASSWORD}).encode()
    with ServerProcess(data_folder.path) as server, ExitStack() as stack:
        idle = stack.enter_context(server.connect())
        idle.sendall(raw_request("GET", "/healthz"))
        assert idle.recv(65_536).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGSTOP)
        fresh = [stack.enter_context(server.connect()) for _ in range(10)]
        for connection in (idle, *fresh):
            connection.sendall(raw_request("POST", "/api/auth/login", log_in, headers=CLOSE))
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        responses = [parse_responses(read_to_end(connection), "POST")[0] for connection in (idle, *fresh)]
        assert [response.status for response in responses] == [200] * 11
        assert server.process.wait(timeout=10) == 0


def test_idle_connections_do_not_delay_it(data_folder: DataFolder) -> None:
    with ServerProcess(data_folder.path) as server, ExitStack() as stack:
        for _ in range(20):
            idle = stack.enter_context(server.connect())
            idle.sendall(raw_request("GET", "/healthz"))
            assert idle.recv(65_536).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=10) == 0


def test_kill_loses_nothing_acknowledged(data_folder: DataFolder) -> None:
    with ServerProcess(data_folder.path) as server:
        _, pair, _ = server.request("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD})
        _, created, _ = server.request("POST", "/api/sessions", {"title": "created"}, data_folder.token)
        _, imported, _ = server.request("POST", "/api/sessions/import", document("a", "b"), data_folder.token)
        _, listed, _ = server.request("GET", "/api/sessions", token=data_folder.token)
        assert len(listed["items"]) == 2
        server.stop(signal.SIGKILL)
    with ServerProcess(data_folder.path) as server:
        for token in (data_folder.token, pair["access_token"]):
            assert server.request("GET", "/api/sessions", token=token)[1] == listed
        assert message_contents(server, data_folder.token, created["id"]) == []
        assert message_contents(server, data_folder.token, imported["session"]["id"]) == ["a", "b"]
        assert server.request("POST", "/api/auth/refresh", token=pair["refresh_token"])[0] == 200
    if engine.server is None:
        for name in ("jwt_secret", "parley.db"):
            assert stat.S_IMODE((data_folder.path / name).stat().st_mode) == 0o600


def test_last_response_after_the_signal_closes_its_connection(data_folder: DataFolder) -> None:
    with ServerProcess(data_folder.path) as server, server.connect() as connection:
        server.process.send_signal(signal.SIGSTOP)
        pipelined = raw_request("POST", "/api/sessions", b"{}", data_folder.token) + raw_request(
            "GET", "/api/sessions", token=data_folder.token
        )
        connection.sendall(pipelined + raw_request("GET", "/healthz"))
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        created, listed, last = parse_responses(read_to_end(connection), "POST", "GET", "GET")
        assert [response.status for response in (created, listed, last)] == [201, 200, 200]
        assert [response.headers["Connection"] for response in (created, listed, last)] == [None, None, "close"]
        assert server.process.wait(timeout=10) == 0
