"""The worst days of a server: killed, flooded, out of disk, sent and asked for too much, and in a real browser."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import pytest

from tests.helpers.process import ServerProcess, create_user

pytestmark = pytest.mark.slow

MIB = 1_048_576
PASSWORD = "correct horse"


class Client:
    """One connection that one user's requests go through."""

    def __init__(self, server: ServerProcess, token: str):
        self._connection = http.client.HTTPConnection(*server.address, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        with self._connection.getresponse() as answer:
            content = answer.read()
        return answer.status, json.loads(content) if content else None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def document(count: int, title: str = "", text: str = "message {}") -> dict[str, Any]:
    messages = [{"role": "user", "content": text.format(number)} for number in range(count)]
    return {"version": 1, "session": {"title": title}, "messages": messages}


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.005)


def query(data: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(data / "parley.db", timeout=30)) as connection:
        return connection.execute(sql).fetchall()


def gives(data: Path, sql: str, expected: list[Any]) -> bool:
    return query(data, sql) == expected


def assert_sound(data: Path) -> None:
    assert query(data, "PRAGMA integrity_check") == [("ok",)]
    assert query(data, "PRAGMA foreign_key_check") == []


def assert_whole(client: Client, acknowledged: dict[str, int]) -> None:
    """Every acknowledged session is there, and each that is there has the messages that its title counts."""
    status, listed = client("GET", "/api/sessions")
    assert status == 200
    titles = {session["id"]: session["title"] for session in listed["items"]}
    assert acknowledged.keys() <= titles.keys()
    for session_id, title in titles.items():
        _, session = client("GET", f"/api/sessions/{session_id}")
        assert [message["content"] for message in session["messages"]] == [f"message {n}" for n in range(int(title))]
        assert acknowledged.get(session_id, int(title)) == int(title)


@pytest.fixture
def token(tmp_path: Path) -> str:
    return create_user(tmp_path / "data")


def test_killed_under_writers(tmp_path: Path, token: str) -> None:
    acknowledged: dict[str, int] = {}
    refused: list[Any] = []

    def write(server: ServerProcess, writer: int) -> None:
        with Client(server, token) as client:
            for turn in range(writer, 100_000):
                count = (0, 1, 7, 0, 1_500)[turn % 5]
                try:
                    if count:
                        status, answer = client("POST", "/api/sessions/import", document(count, str(count)))
                        answer = answer.get("session", answer)
                    else:
                        status, answer = client("POST", "/api/sessions", {"title": "0"})
                except (OSError, http.client.HTTPException):
                    return  # killed
                if status != 201:
                    refused.append(answer)
                    return
                acknowledged[answer["id"]] = count

    def enough_or_refused(enough: int) -> bool:
        return len(acknowledged) >= enough or bool(refused)

    for _ in range(4):
        with ServerProcess(tmp_path / "data") as server, ThreadPoolExecutor(16) as pool:
            enough = len(acknowledged) + 100
            writers = [pool.submit(write, server, writer) for writer in range(16)]
            until(partial(enough_or_refused, enough), "enough is acknowledged")
            server.stop(signal.SIGKILL)
            for writer in writers:
                writer.result(timeout=60)
        assert refused == []
        with ServerProcess(tmp_path / "data") as server, Client(server, token) as client:
            assert_whole(client, acknowledged)
        assert_sound(tmp_path / "data")


def test_killed_in_the_middle_of_big_imports(tmp_path: Path, token: str) -> None:
    """Each import is there whole or not at all, and it is there if its client was told so."""
    data = tmp_path / "data"
    body = document(20_000, "20000")
    active = "(SELECT id FROM sessions WHERE user_id IS NULL AND generation = 0)"
    cut_off = 0

    def import_it(server: ServerProcess) -> str | None:
        with Client(server, token) as client, suppress(OSError, http.client.HTTPException):
            return str(client("POST", "/api/sessions/import", body)[1]["session"]["id"])
        return None

    for _ in range(3):
        with ServerProcess(data) as server, ThreadPoolExecutor(3) as pool:
            imports = [pool.submit(import_it, server) for _ in range(3)]
            count = f"SELECT count(*) > 2000 FROM messages WHERE session_id IN {active}"
            until(partial(gives, data, count, [(1,)]), "the imports are under way")
            server.stop(signal.SIGKILL)
            told = {running.result(timeout=60) for running in imports} - {None}
        cut_off += len(query(data, f"SELECT 1 FROM sessions WHERE id IN {active}"))
        whole = {session_id for (session_id,) in query(data, "SELECT id FROM sessions WHERE user_id IS NOT NULL")}
        assert told <= whole
        with ServerProcess(data) as server, Client(server, token) as client:
            assert {item["id"] for item in client("GET", "/api/sessions")[1]["items"]} == whole
            counts = "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM messages)"
            until(partial(gives, data, counts, [(len(whole), 20_000 * len(whole))]), "what was cut off is gone")
        assert_sound(data)
    assert cut_off


def test_many_writers_and_no_failure(tmp_path: Path, token: str) -> None:
    answered: Counter[int] = Counter()
    turns: Counter[int] = Counter()
    lock = threading.Lock()
    deadline = time.monotonic() + 10

    def write(writer: int) -> None:
        with Client(server, token) as client:
            while time.monotonic() < deadline:
                status, made = client("POST", "/api/sessions", {"title": "new"})
                statuses = [status]
                path = f"/api/sessions/{made.get('id')}"
                for method, at, body in (
                    ("PATCH", path, {"title": "renamed"}),
                    ("PATCH", f"{path}/system-prompt", {"system_prompt": "Be brief."}),
                    ("POST", "/api/sessions/import", document(20)),
                    ("GET", path, None),
                    ("DELETE", path, None),
                ):
                    statuses.append(client(method, at, body)[0])
                with lock:
                    answered.update(statuses)
                    turns[writer] += 1

    with ServerProcess(tmp_path / "data") as server, ThreadPoolExecutor(32) as pool:
        for writer in [pool.submit(write, writer) for writer in range(32)]:
            writer.result(timeout=60)
        assert server.stop() == 0
    assert answered.keys() == {200, 201, 204}
    assert len(turns) == 32
    assert query(tmp_path / "data", "SELECT count(*) FROM sessions") == [(turns.total(),)]
    assert_sound(tmp_path / "data")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "data"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can be mounted by root alone")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("count", [200, 5_000])
def test_a_full_disk(small_disk: Path, count: int) -> None:
    token = create_user(small_disk)
    full = (507, {"error": "disk_full"})
    ballast = small_disk / "ballast"
    body = document(count, str(count))
    padded = document(count, str(count), "message {}" + "x" * (2 * MIB // count))
    with ServerProcess(small_disk) as server, Client(server, token) as client:
        status, kept = client("POST", "/api/sessions/import", body)
        assert status == 201
        session = f"/api/sessions/{kept['session']['id']}"
        before = client("GET", session)
        with ballast.open("wb") as file:
            file.write(bytes(12 * MIB))
        answers = [client("POST", "/api/sessions/import", padded) for _ in range(10)]
        stored = [answer["session"]["id"] for status, answer in answers if status == 201]
        assert [answer for answer in answers if answer[0] != 201] == [full] * (10 - len(stored))
        assert answers[-1] == full
        assert client("GET", session) == before
        assert client("GET", "/readyz")[0] == 200
        _, listed = client("GET", "/api/sessions")
        assert {item["id"] for item in listed["items"]} == {kept["session"]["id"], *stored}
        ballast.unlink()
        assert client("POST", "/api/sessions", {"title": "0"})[0] == 201
        assert client("POST", "/api/sessions/import", body)[0] == 201
        assert client("DELETE", session) == (204, None)
        # What is deleted is erased meanwhile, what was cut off too.
        until(lambda: query(small_disk, "SELECT count(*) FROM sessions") == [(len(stored) + 2,)], "all is erased")
        assert server.stop() == 0
    with ServerProcess(small_disk) as server, Client(server, token) as client:
        assert len(client("GET", "/api/sessions")[1]["items"]) == len(stored) + 2
        assert server.stop() == 0
    expected = (len(stored) + 2, (len(stored) + 1) * count)
    assert query(small_disk, "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM messages)") == [expected]
    assert_sound(small_disk)


def test_a_disk_that_fills_up_under_writers(small_disk: Path) -> None:
    """What many writers commit together is acknowledged together or refused together, never half."""
    token = create_user(small_disk)

    def append(server: ServerProcess, session: str, writer: int) -> list[str]:
        acknowledged: list[str] = []
        with Client(server, token) as client:
            for number in range(2_000):
                content = f"{writer}-{number} " + "x" * 20_000
                status, answer = client("POST", f"{session}/messages", {"role": "user", "content": content})
                if status != 201:
                    assert (status, answer) == (507, {"error": "disk_full"})
                    return acknowledged
                acknowledged.append(answer["id"])
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
    assert {message for (message,) in query(small_disk, "SELECT id FROM messages")} == acknowledged
    assert_sound(small_disk)


class Long(NamedTuple):
    """A data folder with a conversation of 100,000 messages in it."""

    data: Path
    token: str
    path: str
    messages: list[dict[str, Any]]


@pytest.fixture(scope="module")
def long_template(tmp_path_factory: pytest.TempPathFactory) -> Long:
    data = tmp_path_factory.mktemp("long") / "data"
    token = create_user(data)
    body = document(100_000, text="message {} " + "é" * 200)
    for number, message in enumerate(body["messages"]):
        message["metadata"] = {"number": number}
        message["created_at"] = f"2026-01-01T00:00:00.{number % 1000:03}Z"
    with ServerProcess(data) as server:
        status, imported, _ = server.request(
            "POST", "/api/sessions/import", json.dumps(body, ensure_ascii=False).encode(), token
        )
        assert (status, imported["imported_messages"]) == (201, 100_000)
        assert server.stop() == 0
    return Long(data, token, f"/api/sessions/{imported['session']['id']}", body["messages"])


@pytest.fixture
def long(long_template: Long, tmp_path: Path) -> Long:
    return long_template._replace(data=shutil.copytree(long_template.data, tmp_path / "data"))


def start_export(server: ServerProcess, long: Long) -> tuple[socket.socket, http.client.HTTPResponse]:
    """Ask for the export as a client that has little room for what it has not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.settimeout(60)
    connection.connect(server.address)
    lines = (f"GET {long.path}/export HTTP/1.1", "Host: parley", f"Authorization: Bearer {long.token}", "", "")
    connection.sendall("\r\n".join(lines).encode())
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 200
    return connection, answer


def test_a_long_export_takes_little_memory(long: Long) -> None:
    with ServerProcess(long.data) as server:
        process = psutil.Process(server.process.pid)
        for _ in range(20):
            assert server.request("GET", "/api/sessions", token=long.token)[0] == 200
        before = most = process.memory_info().rss
        connection, answer = start_export(server, long)
        pieces = []
        with connection, answer:
            while piece := answer.read(MIB):
                pieces.append(piece)
                most = max(most, process.memory_info().rss)
    assert sum(map(len, pieces)) > 40 * MIB
    assert most - before < 32 * MIB
    exported = json.loads(b"".join(pieces))
    assert exported.keys() == {"version", "exported_at", "session", "messages"}
    assert [
        {key: message[key] for key in ("role", "content", "metadata", "created_at")} for message in exported["messages"]
    ] == long.messages
    assert len({message["id"] for message in exported["messages"]}) == len(long.messages)


def test_a_client_that_stops_reading_is_alone_with_that(long: Long) -> None:
    with ServerProcess(long.data) as server, Client(server, long.token) as client:
        connection, answer = start_export(server, long)
        with connection, answer:
            assert len(answer.read(100_000)) == 100_000
            for _ in range(10):
                assert client("GET", "/api/sessions")[0] == 200
                assert client("POST", "/api/sessions", {"title": "x"})[0] == 201
                assert client("POST", "/api/sessions/import", document(10))[0] == 201
            assert client("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD})[0] == 200
            status, other = client("GET", f"{long.path}/export")
            assert (status, len(other["messages"])) == (200, len(long.messages))


def test_a_session_deleted_while_it_is_exported_is_cut_short(long: Long) -> None:
    with ServerProcess(long.data) as server, Client(server, long.token) as client:
        connection, answer = start_export(server, long)
        with connection, answer:
            start = answer.read(100_000)
            assert client("DELETE", long.path) == (204, None)
            with pytest.raises(http.client.IncompleteRead) as cut:
                answer.read()
        assert start.startswith(b'{"version":1,')
        assert not cut.value.partial.endswith(b"]}")
        assert client("GET", "/api/sessions") == (200, {"items": []})


def test_stalled_heads_keep_nobody_waiting(tmp_path: Path, token: str) -> None:
    with ServerProcess(tmp_path / "data") as server, Client(server, token) as client, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(server.connect()).sendall(b"GET /healthz HTTP/1.1\r\nHost: par")
        for _ in range(10):
            assert client("GET", "/api/sessions")[0] == 200
            assert client("POST", "/api/sessions", {"title": "x"})[0] == 201
            assert client("POST", "/api/sessions/import", document(10))[0] == 201
        assert client("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD})[0] == 200


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on the PATH")
def test_the_docs_page_in_a_browser(tmp_path: Path) -> None:
    netlog = tmp_path / "net.json"
    with ServerProcess(tmp_path / "data") as server:
        done = subprocess.run(
            [
                str(BROWSER),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--virtual-time-budget=10000",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--log-net-log={netlog}",
                "--dump-dom",
                f"{server.url}/docs",
            ],
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    for shown in ("/api/sessions/{session_id}/export", "/api/auth/login", "Export a session, as a document"):
        assert shown in done.stdout.replace("\u200b", "").replace("<wbr>", "")
    asked = asked_by(netlog, server.url)
    assert f"{server.url}/openapi.json" in asked
    assert {urlsplit(url).netloc for url in asked} == {server.url.removeprefix("http://")}


def asked_by(netlog: Path, origin: str) -> set[str]:
    """Return the URLs that a page of this origin asked for, and not the browser for itself."""
    params = [event.get("params", {}) for event in json.loads(netlog.read_text())["events"]]
    return {given["url"] for given in params if "url" in given and given.get("initiator") == origin}
