"""Clients that read slowly or not at all: they delay nobody, take little memory, and get the whole response."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.clock import wait_until
from tests.helpers.process import ServerProcess
from tests.helpers.two_users import MIB, TwoUsers, request_header

pytestmark = pytest.mark.slow


@pytest.fixture
def two_users(tmp_path: Path) -> Iterator[TwoUsers]:
    with ServerProcess(tmp_path / "data", MAX_IMPORT_BYTES=80 * MIB) as server:
        yield TwoUsers(server)


def test_stalled_readers_delay_no_other_user(two_users: TwoUsers) -> None:
    paths = [f"{two_users.long}/export", two_users.long, f"{two_users.long}/export?format=markdown", "/api/export"]
    with ExitStack() as stack:
        for path in paths * 8:
            stack.enter_context(two_users.send_and_read_nothing(path, two_users.greedy))
        time.sleep(1)
        document = {"session": {}, "messages": [{"role": "user", "content": "needle"}] * 10}
        assert two_users.server.request("POST", "/api/sessions/import", document, two_users.other)[0] == 201
        assert two_users.server.request("GET", "/api/sessions?q=needle", token=two_users.other)[0] == 200
        assert len(two_users.server.request("GET", two_users.own, token=two_users.other)[1]["messages"]) == 200
        lines = two_users.server.request("GET", "/api/export", token=two_users.other)[1]
        assert len(lines.splitlines()) == 2
        login = {"username": "other", "password": "correct horse battery"}
        assert two_users.server.request("POST", "/api/auth/login", login)[0] == 200


def test_response_that_a_stalled_reader_reads_at_last_is_complete(two_users: TwoUsers) -> None:
    connection = two_users.send_and_read_nothing(two_users.long, two_users.greedy)
    with connection, ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(two_users.send_and_read_nothing(two_users.long, two_users.greedy))
        time.sleep(0.5)
        response = http.client.HTTPResponse(connection)
        response.begin()
        with response:
            messages = json.loads(response.read())["messages"]
        assert [message["content"].split()[0] for message in messages] == [f"word{number}" for number in range(1_024)]
        # And the connection goes on.
        connection.sendall(request_header("GET", "/healthz", None))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "path", ["/api/export", "/api/sessions", "{long}", "{long}/export", "{long}/export?format=markdown"]
)
def test_deferred_response_is_complete_for_a_client_that_reads_now_and_then(two_users: TwoUsers, path: str) -> None:
    """It is continued by other threads, at any position, between two sessions, too."""
    document = {"session": {}, "messages": [{"role": "user", "content": "x" * 8_000}] * 10}
    lines = b"".join(json.dumps(document | {"session": {"title": f"session {n}"}}).encode() + b"\n" for n in range(200))
    fields = {"Content-Type": "application/x-ndjson"}
    assert two_users.server.request("POST", "/api/import?duplicate=1", lines, two_users.greedy, fields)[0] == 200
    session = two_users.server.request("POST", "/api/sessions", {}, two_users.greedy)[1]
    for _ in range(400):
        session = two_users.server.request("POST", "/api/sessions", {"title": "t"}, two_users.greedy)[1]
        prompt = f"/api/sessions/{session['id']}/system-prompt"
        assert two_users.server.request("PATCH", prompt, {"system_prompt": "p" * 2_000}, two_users.greedy)[0] == 200
    path = path.format(long=two_users.long)
    quick = two_users.server.request("GET", path, token=two_users.greedy)[1]
    with (
        two_users.send_and_read_nothing(path, two_users.greedy) as connection,
        http.client.HTTPResponse(connection) as response,
    ):
        response.begin()
        read = []
        while part := response.read(1_500_000):  # more than is buffered
            read.append(part)
            time.sleep(0.05)
    if path == "/api/export":
        assert len(b"".join(read).splitlines()) == len(quick.splitlines()) == 602
    elif "markdown" not in path:
        assert len(json.loads(b"".join(read))) == len(quick)
    else:
        assert len(b"".join(read)) == len(quick)


def test_crowd_that_never_reads_takes_little_memory_and_frees_it(two_users: TwoUsers) -> None:
    for _ in range(20):
        assert two_users.server.request("GET", two_users.own, token=two_users.other)[0] == 200
    before = two_users.process.memory_info().rss
    with ExitStack() as stack:
        for number in range(600):
            stack.enter_context(
                two_users.send_and_read_nothing(two_users.long, two_users.greedy, f"127.0.0.{number % 3 + 1}")
            )
        wait_until(lambda: two_users.process.num_fds() > 600, "all are connected")
        time.sleep(3)
        most = two_users.process.memory_info().rss
        assert most - before < 128 * MIB
        assert two_users.server.request("GET", two_users.own, token=two_users.other)[0] == 200
        assert (
            two_users.server.request("GET", "/api/sessions?limit=1", token=two_users.greedy)[0] == 200
        )  # what stalls gives way
    wait_until(lambda: two_users.process.num_fds() < 100, "all are gone")
    wait_until(lambda: two_users.process.memory_info().rss - before < 64 * MIB, "the memory is freed")
