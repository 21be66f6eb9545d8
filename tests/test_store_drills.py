"""Large lists, large deletions, twins and a full disk, on real servers; and what others notice of it.

Longer than other files: all of it runs on one large database, which takes seconds to fill.
"""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]
import pytest

from database import db
from database.reserve import Reserve
from ids import new_id
from tests.helpers import engine
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import copy_data, open_data
from tests.helpers.database_files import assert_integrity, query_file
from tests.helpers.http_client import HttpClient
from tests.helpers.long_documents import numbered_document
from tests.helpers.process import ServerProcess, create_user, run_flask
from tests.helpers.waits import assert_hardly_noticed, cpu_seconds, measured_waits

pytestmark = pytest.mark.slow

MIB = 1_048_576
COUNT = 50_000


class Large(NamedTuple):
    """A data folder in which alice has many sessions with long prompts, and bob has none."""

    data: Path
    alice: str
    bob: str


@pytest.fixture(scope="module")
def large_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    data = tmp_path_factory.mktemp("large") / "data"
    alice, bob = create_user(data, "alice"), create_user(data, "bob")
    ((user_id,),) = query_file(data, "SELECT id FROM users WHERE username = 'alice'")
    moments = [f"2026-01-01T00:00:{n // 1_000:02}.{n % 1_000:03}Z" for n in range(COUNT)]
    ids = [new_id() for _ in range(COUNT)]
    sessions = [
        (session_id, user_id, "title", f"{n} " + "x" * 7_990, moment, moment, 0)
        for n, (session_id, moment) in enumerate(zip(ids, moments, strict=True))
    ]
    messages = [
        (new_id(), session_id, "user", "hello", "{}", moment) for session_id, moment in zip(ids, moments, strict=True)
    ]
    with open_data(data), db.write_transaction():
        columns = ("id", "user_id", "title", "system_prompt", "created_at", "updated_at", "generation")
        db.bulk_insert("sessions", columns, sessions)
        db.bulk_insert("messages", ("id", "session_id", "role", "content", "metadata", "created_at"), messages)
    with ServerProcess(data):
        wait_until(lambda: query_file(data, "SELECT count(*) FROM search_pending") == [(0,)], "all is indexed")
    yield Large(data, alice, bob)
    shutil.rmtree(data)


@pytest.fixture
def large(large_template: Large, tmp_path: Path) -> Iterator[Large]:
    copy = large_template._replace(data=copy_data(large_template.data, tmp_path / "data"))
    yield copy
    shutil.rmtree(copy.data)


def others(server: ServerProcess, token: str) -> AbstractContextManager[list[float]]:
    """Read and append as another user, all the while; yields how much of the server's time passed in each wait."""
    session = server.request("POST", "/api/sessions", {}, token)[1]
    append = ("POST", f"/api/sessions/{session['id']}/messages", {"role": "user", "content": "x"})
    return measured_waits(server, token, ("GET", "/api/sessions", None), append)


def test_a_large_list(large: Large) -> None:
    def read() -> Iterator[bytes]:
        client._connection.request("GET", "/api/sessions", headers=client._headers)
        answer = client._connection.getresponse()
        return iter(partial(answer.read, MIB), b"")

    with ServerProcess(large.data) as server, HttpClient(server, large.alice) as client:
        process = psutil.Process(server.process.pid)
        for _ in range(50):
            client("GET", "/api/sessions?limit=5")
        before = most = process.memory_info().rss
        pieces = []
        for piece in read():
            pieces.append(piece)
            most = max(most, process.memory_info().rss)
        with others(server, large.bob) as took:  # not parsed in there: that would keep this very process from asking
            size = sum(len(piece) for piece in read())
    assert size == sum(map(len, pieces))
    items = json.loads(b"".join(pieces))["items"]
    assert len({item["id"] for item in items}) == len(items) == COUNT
    order = [(item["updated_at"], item["created_at"], item["id"]) for item in items]
    assert order == sorted(order, reverse=True)
    assert most - before < 32 * MIB
    assert_hardly_noticed(took)


def test_a_cursor_after_40_000_sessions(large: Large) -> None:
    with ServerProcess(large.data) as server, HttpClient(server, large.alice) as client:
        came, path = [], "/api/sessions?limit=200"
        cursor: str | None = ""
        while cursor is not None:
            _, page = client("GET", f"{path}&cursor={cursor}" if cursor else path)
            came += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            assert len(cursor or "") <= 512
            if len(came) % 2_000 == 0:
                for session_id in (came[7], page["items"][3]["id"]):
                    assert client("PATCH", f"/api/sessions/{session_id}", {"title": "moved"})[0] == 200
    assert len(came) == len(set(came)) == COUNT


def deleted_rows(data: Path) -> int:
    ((count,),) = query_file(
        data,
        "SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.generation <> u.generation",
    )
    return int(count)


def all_is_erased(data: Path) -> bool:
    """Return whether no deleted row is left; the write-ahead log stays small in the meantime."""
    if engine.server is None:
        assert (data / "parley.db-wal").stat().st_size < 64 * MIB
    return not deleted_rows(data)


def test_a_large_deletion_and_a_crash_in_the_middle(large: Large) -> None:
    with ServerProcess(large.data) as server, HttpClient(server, large.alice) as client:
        with others(server, large.bob) as took:
            before = cpu_seconds(server)
            assert client("DELETE", "/api/sessions") == (200, {"deleted": COUNT})
            assert cpu_seconds(server) - before < 1
            assert client("GET", "/api/sessions") == (200, {"items": []})
            _, kept = client("POST", "/api/sessions", {"title": "kept"})
            wait_until(lambda: deleted_rows(large.data) < COUNT * 0.9, "some rows are erased")
        server.stop(signal.SIGKILL)
    assert_hardly_noticed(took)
    assert 0 < deleted_rows(large.data) < COUNT
    with ServerProcess(large.data) as server, HttpClient(server, large.alice) as client:
        assert deleted_rows(large.data) > 0  # the start has not waited for them
        assert client("GET", "/api/sessions") == (200, {"items": [kept]})
        with others(server, large.bob) as took:
            wait_until(partial(all_is_erased, large.data), "all is erased", timeout=300)
        assert server.stop() == 0
    assert_hardly_noticed(took)
    assert query_file(large.data, "SELECT count(*) FROM sessions WHERE title = 'title'") == [(0,)]
    assert query_file(large.data, "SELECT count(*) FROM messages WHERE content = 'hello'") == [(0,)]
    assert_integrity(large.data)


def test_a_user_is_removed_beside_the_server(large: Large) -> None:
    with ServerProcess(large.data) as server, others(server, large.bob) as took:
        removal = threading.Thread(target=run_flask, args=(large.data, "users", "remove", "alice", "--yes"))
        removal.start()
        with HttpClient(server, large.alice) as client:
            wait_until(lambda: client("GET", "/api/sessions")[0] == 401, "alice is gone")
        assert "alice" not in run_flask(large.data, "users", "list").stdout
        again = create_user(large.data, "alice")
        with HttpClient(server, again) as client:
            assert client("GET", "/api/sessions") == (200, {"items": []})
        removal.join()
        wait_until(lambda: query_file(large.data, "SELECT count(*) FROM users") == [(2,)], "the rows are gone")
    assert_hardly_noticed(took)
    assert query_file(large.data, "SELECT count(*) FROM messages WHERE content = 'hello'") == [(0,)]
    assert_integrity(large.data)


def test_a_very_long_session_goes_while_others_write(tmp_path: Path) -> None:
    data = tmp_path / "data"
    alice, bob = create_user(data, "alice"), create_user(data, "bob")
    with ServerProcess(data) as server, HttpClient(server, alice) as client:
        _, imported = client(
            "POST", "/api/sessions/import", numbered_document(100_000, text="message {} " + "word " * 20)
        )
        path = f"/api/sessions/{imported['session']['id']}"
        with others(server, bob) as took:
            assert client("DELETE", path) == (204, None)
            assert client("GET", path) == (404, {"error": "session_not_found"})
            wait_until(
                lambda: query_file(data, "SELECT count(*) FROM messages")[0][0] < 50_000,
                "half",
            )
        assert_hardly_noticed(took)


def test_twins_hold_nobody(tmp_path: Path) -> None:
    """Connections of one user that send each request several times at once, one behind the other, all with one key."""
    data = tmp_path / "data"
    alice, bob = create_user(data, "alice"), create_user(data, "bob")
    done = threading.Event()
    answers: dict[str, set[str]] = {}
    body = b'{"role":"user","content":"x"}'

    def twins(server: ServerProcess, path: str, number: int) -> int:
        sent = 0
        with server.connect() as connection, connection.makefile("rb") as incoming:
            while not done.is_set():
                key = f"{number // 4} {sent // 4}"
                head = (
                    f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice}\r\nIdempotency-Key: {key}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                connection.sendall((head.encode() + body) * 4)
                for _ in range(4):
                    status = int(incoming.readline().split()[1])
                    content = json.loads(incoming.read(int(http.client.parse_headers(incoming)["Content-Length"])))
                    if status == 201:
                        answers.setdefault(key, set()).add(content["id"])
                    else:
                        assert (status, content["error"]) in ((409, "conflict"), (429, "rate_limited"))
                    sent += 1
        return sent

    with ServerProcess(data) as server, ThreadPoolExecutor(16) as pool:
        _, session, _ = server.request("POST", "/api/sessions", None, alice)
        path = f"/api/sessions/{session['id']}/messages"
        sending = [pool.submit(twins, server, path, number) for number in range(16)]
        try:
            with others(server, bob) as took:
                time.sleep(8)
        finally:
            done.set()
        assert sum(each.result(timeout=60) for each in sending) > 100
        _, found, _ = server.request("GET", path.removesuffix("/messages"), token=alice)
    assert_hardly_noticed(took)
    assert all(len(ids) == 1 for ids in answers.values())
    assert {message["id"] for message in found["messages"]} == set().union(*answers.values())


def fill(disk: Path) -> Path:
    """Leave no room on a disk but for a little."""
    ballast = disk / "ballast"
    while True:
        room = shutil.disk_usage(disk).free - 65_536
        with suppress(OSError):  # the server has taken some of it meanwhile
            ballast.write_bytes(bytes(max(room, 0)))
            return ballast
        ballast.unlink()


def append_until_full(client: HttpClient, path: str) -> None:
    body = {"role": "user", "content": "x" * 20_000}
    for _ in range(5_000):
        status, answer = client("POST", path, body)
        if status != 201:
            assert (status, answer) == (507, {"error": "disk_full"})
            return
    raise AssertionError("the disk is not small")


@pytest.mark.sqlite
@pytest.mark.parametrize("what", ["a session", "all sessions"])
def test_what_frees_room_gets_through_on_a_full_disk(small_disk: Path, what: str) -> None:
    token = create_user(small_disk)
    with ServerProcess(small_disk, MAX_BODY_BYTES=MIB) as server, HttpClient(server, token) as client:
        assert (small_disk / "parley.reserve").stat().st_size == Reserve.SIZE
        _, large = client("POST", "/api/sessions/import", numbered_document(100, text="{} " + "x" * 20_000))
        _, small = client("POST", "/api/sessions", {"title": "small"})
        path = f"/api/sessions/{small['id']}/messages"
        _, second = client("POST", "/api/auth/login", {"username": "alice", "password": "correct horse battery"})
        fill(small_disk)
        append_until_full(client, path)
        for _ in range(3):
            assert client("POST", path, {"role": "user", "content": "x" * 40_000}) == (507, {"error": "disk_full"})
        assert client("GET", "/api/sessions")[0] == 200
        with HttpClient(server, second["access_token"]) as other:
            assert other("POST", "/api/auth/logout") == (204, None)
            assert other("GET", "/api/sessions") == (401, {"error": "token_revoked"})
        assert client("POST", path, {"role": "user", "content": "x" * 40_000})[0] in (201, 507)
        if what == "a session":
            assert client("DELETE", f"/api/sessions/{large['session']['id']}") == (204, None)
        else:
            assert client("DELETE", "/api/sessions")[0] == 200
            _, small = client("POST", "/api/sessions", {"title": "new"})
            path = f"/api/sessions/{small['id']}/messages"
        wait_until(lambda: query_file(small_disk, "SELECT count(*) FROM sessions") == [(1,)], "all rows are erased")
        for _ in range(50):
            assert client("POST", path, {"role": "user", "content": "x" * 20_000})[0] == 201
        assert server.stop() == 0
    assert_integrity(small_disk)
