"""What one client does to others: stalled readers, pipelines, floods of chunks, half-sent bodies, many connections."""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from tests.helpers.process import ServerProcess, create_user

MIB = 1_048_576
pytestmark = pytest.mark.slow


class Home:
    """A server with two users; one has a long conversation."""

    def __init__(self, server: ServerProcess):
        self.server = server
        self.greedy, self.other = create_user(server.data, "greedy"), create_user(server.data, "other")
        messages = [{"role": "user", "content": f"word{number} " + "x" * 8_000} for number in range(1_024)]
        document = {"session": {}, "messages": messages}
        imported = server.request("POST", "/api/sessions/import", document, self.greedy)[1]
        self.long = f"/api/sessions/{imported['session']['id']}"
        own = server.request("POST", "/api/sessions/import", document | {"messages": messages[:200]}, self.other)[1]
        self.own = f"/api/sessions/{own['session']['id']}"

    def ask(self, path: str, token: str | None, source: str = "127.0.0.1", room: int = 4_096) -> socket.socket:
        """Send a request as a client with little room for its answer, and read nothing."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        connection.settimeout(30)
        connection.bind((source, 0))
        connection.connect(self.server.address)
        connection.sendall(head("GET", path, token))
        return connection

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.server.process.pid)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with ServerProcess(tmp_path / "data", MAX_IMPORT_BYTES=80 * MIB) as server:
        yield Home(server)


def head(method: str, path: str, token: str | None, **fields: Any) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: parley"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def watched(home: Home, token: str, path: str = "/api/sessions?limit=1") -> Iterator[list[float]]:
    """Ask for something small again and again beside the block; gives how long each answer took, in seconds."""
    taken: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        with closing(http.client.HTTPConnection(*home.server.address, timeout=60)) as connection:
            while not stop.is_set():
                began = time.perf_counter()
                connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
                with connection.getresponse() as answer:
                    assert answer.status == 200
                    answer.read()
                taken.append(time.perf_counter() - began)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()


def test_readers_that_stall_hold_nobody_up(home: Home) -> None:
    paths = [f"{home.long}/export", home.long, f"{home.long}/export?format=markdown", "/api/export"]
    with ExitStack() as stack:
        for path in paths * 8:
            stack.enter_context(home.ask(path, home.greedy))
        time.sleep(1)
        began = time.monotonic()
        document = {"session": {}, "messages": [{"role": "user", "content": "needle"}] * 10}
        assert home.server.request("POST", "/api/sessions/import", document, home.other)[0] == 201
        assert home.server.request("GET", "/api/sessions?q=needle", token=home.other)[0] == 200
        assert len(home.server.request("GET", home.own, token=home.other)[1]["messages"]) == 200
        lines = home.server.request("GET", "/api/export", token=home.other)[1]
        assert len(lines.splitlines()) == 2
        login = {"username": "other", "password": "correct horse"}
        assert home.server.request("POST", "/api/auth/login", login)[0] == 200
        assert time.monotonic() - began < 5


def test_what_a_stalled_reader_takes_at_last_is_whole(home: Home) -> None:
    connection = home.ask(home.long, home.greedy)
    with connection, ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(home.ask(home.long, home.greedy))
        time.sleep(0.5)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        with answer:
            messages = json.loads(answer.read())["messages"]
        assert [message["content"].split()[0] for message in messages] == [f"word{number}" for number in range(1_024)]
        # And the connection goes on.
        connection.sendall(head("GET", "/healthz", None))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "path", ["/api/export", "/api/sessions", "{long}", "{long}/export", "{long}/export?format=markdown"]
)
def test_whatever_is_sent_in_parts_is_whole_for_one_who_reads_now_and_then(home: Home, path: str) -> None:
    """So it is gone on with by other threads, at any place in it: between two sessions, too."""
    document = {"session": {}, "messages": [{"role": "user", "content": "x" * 8_000}] * 10}
    lines = b"".join(json.dumps(document | {"session": {"title": f"session {n}"}}).encode() + b"\n" for n in range(200))
    fields = {"Content-Type": "application/x-ndjson"}
    assert home.server.request("POST", "/api/import?duplicate=1", lines, home.greedy, fields)[0] == 200
    session = home.server.request("POST", "/api/sessions", {}, home.greedy)[1]
    for _ in range(400):
        session = home.server.request("POST", "/api/sessions", {"title": "t"}, home.greedy)[1]
        prompt = f"/api/sessions/{session['id']}/system-prompt"
        assert home.server.request("PATCH", prompt, {"system_prompt": "p" * 2_000}, home.greedy)[0] == 200
    path = path.format(long=home.long)
    quick = home.server.request("GET", path, token=home.greedy)[1]
    with home.ask(path, home.greedy) as connection, http.client.HTTPResponse(connection) as answer:
        answer.begin()
        taken = []
        while part := answer.read(1_500_000):  # more than is kept for it
            taken.append(part)
            time.sleep(0.05)
    if path == "/api/export":
        assert len(b"".join(taken).splitlines()) == len(quick.splitlines()) == 602
    elif "markdown" not in path:
        assert len(json.loads(b"".join(taken))) == len(quick)
    else:
        assert len(b"".join(taken)) == len(quick)


def test_what_computes_leaves_the_interpreter_to_others(home: Home) -> None:
    text = "# a\n\n* b `c` [d](e)\n\n|a|b|\n|-|-|\n|c|d|\n" * 1_000
    document = {"session": {}, "messages": [{"role": "user", "content": text}] * 60}
    made = home.server.request("POST", "/api/sessions/import", document, home.greedy)[1]
    path = f"/api/sessions/{made['session']['id']}/export?format=markdown"
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(home.ask(path, home.greedy, room=MIB))
        with watched(home, home.other) as taken:
            time.sleep(3)
    assert sum(each > 0.05 for each in taken) < len(taken) / 20


def test_slow_work_of_one_user_leaves_threads_for_another(home: Home) -> None:
    messages = [{"role": "user", "content": f"needle {number}", "metadata": {"n": number}} for number in range(20_000)]
    body = json.dumps({"session": {}, "messages": messages}).encode()
    fields = {"Content_Length": len(body), "Content_Type": "application/json"}
    with ExitStack() as stack:
        imports = [stack.enter_context(home.server.connect()) for _ in range(24)]
        for connection in imports:
            connection.sendall(head("POST", "/api/sessions/import", home.greedy, **fields) + body[:-1])
        for connection in imports:
            connection.sendall(body[-1:])
        time.sleep(0.1)
        assert home.server.request("GET", f"{home.own}/prompt", token=home.other)[0] == 200  # in the same pool
        answered, _, _ = select.select(imports, [], [], 0)
        assert len(answered) < 12  # it has not waited until most of them were done
        for connection in imports:
            connection.settimeout(60)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 201")


@pytest.mark.parametrize("connections", [1, 10])
def test_pipelines_take_turns_with_others(home: Home, connections: int) -> None:
    def pipeline() -> None:
        with home.server.connect() as connection:
            connection.sendall(head("GET", "/healthz", None) * 3_000 + head("GET", "/", None, Connection="close"))
            while connection.recv(MIB):
                pass

    threads = [threading.Thread(target=pipeline) for _ in range(connections)]
    with watched(home, home.other) as taken:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(taken) > 20 * connections
    assert sorted(taken)[-3] < 0.5


@pytest.mark.parametrize("token", [True, False])
def test_floods_of_tiny_chunks_take_turns_with_others(home: Home, token: bool) -> None:
    body = b"1\r\n \r\n" * 400_000 + b"0\r\n\r\n"
    fields = {"Transfer_Encoding": "chunked", "Content_Type": "application/x-ndjson", "Connection": "close"}
    answers: list[bytes] = []

    def flood() -> None:
        with home.server.connect() as connection:
            connection.settimeout(100)
            with suppress(OSError):
                connection.sendall(head("POST", "/api/import", home.greedy if token else None, **fields) + body)
            answers.append(connection.recv(MIB))

    threads = [threading.Thread(target=flood) for _ in range(10)]
    with watched(home, home.other) as taken:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(answer.startswith(b"HTTP/1.1 200" if token else b"HTTP/1.1 401") for answer in answers)
    assert sorted(taken)[-3] < 0.5


def test_a_crowd_that_never_reads_takes_little_memory_and_gives_it_back(home: Home) -> None:
    for _ in range(20):
        assert home.server.request("GET", home.own, token=home.other)[0] == 200
    before = home.process.memory_info().rss
    with ExitStack() as stack:
        for number in range(600):
            stack.enter_context(home.ask(home.long, home.greedy, f"127.0.0.{number % 3 + 1}"))
        until(lambda: home.process.num_fds() > 600, "all are connected")
        time.sleep(3)
        most = home.process.memory_info().rss
        assert most - before < 128 * MIB
        began = time.monotonic()
        assert home.server.request("GET", home.own, token=home.other)[0] == 200
        assert time.monotonic() - began < 2
        assert home.server.request("GET", "/api/sessions?limit=1", token=home.greedy)[0] == 200  # what stalls gives way
    until(lambda: home.process.num_fds() < 100, "all are gone")
    until(lambda: home.process.memory_info().rss - before < 64 * MIB, "the memory is given back")


def test_half_sent_bodies_of_many_leave_room_for_others(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, ExitStack() as stack:
        token = create_user(server.data)
        upload = head("POST", "/api/import", token, Content_Length=8 * MIB, Content_Type="application/x-ndjson")
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
            elsewhere.sendall(head("GET", "/api/sessions", token))
            assert elsewhere.recv(65_536).startswith(b"HTTP/1.1 200")
        stack.close()
        until(lambda: server.request("GET", "/api/sessions", token=token)[0] == 200, "there is room again")
        assert "Traceback" not in server.log.read_text()


def test_bodies_without_a_token_are_not_taken_in(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, ExitStack() as stack:
        process = psutil.Process(server.process.pid)
        before = process.io_counters().write_bytes
        for number in range(10):
            connection = stack.enter_context(server.connect())
            connection.sendall(
                head("POST", "/api/import", "not.a.token" if number % 2 else None, Content_Length=60 * MIB)
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


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)
