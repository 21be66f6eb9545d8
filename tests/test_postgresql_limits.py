"""PostgreSQL or its pool has no room: requests are rejected in time, others are served, and all is well afterwards."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.helpers.clock import wait_until
from tests.helpers.deployment import Deployment
from tests.helpers.load import DATABASE_ERRORS, Load
from tests.helpers.long_documents import numbered_document
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import FakeLlm
from tests.helpers.streams import ChatStream

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

BUSY = (503, {"error": "database_busy"})
DOCUMENT = numbered_document(2_000, text="message {} " + "x" * 2_000)
POOL_SIZE_OF_ONE_THREAD = 14


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    with PostgresqlServer(tmp_path_factory.mktemp("limits") / "data", max_connections=40) as postgresql:
        yield postgresql


@pytest.fixture
def deployment(postgresql: PostgresqlServer, tmp_path: Path) -> Deployment:
    return Deployment(postgresql, tmp_path / "deployment", users=2)


@contextmanager
def locked(deployment: Deployment, table: str) -> Iterator[None]:
    """Keep everybody from a table during the block."""
    with psycopg.connect(deployment.url) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def test_locked_table_is_busy(deployment: Deployment) -> None:
    with deployment.serve() as server, Load([server], deployment.tokens) as load:
        with locked(deployment, "sessions"):
            load.await_error(20)
            assert load.errors.keys() == {(503, "database_busy")}
            assert server.request("GET", "/api/auth/me", token=deployment.token)[0] == 200
        load.await_recovery()
        load.finish()


def test_exhausted_pool_is_busy(postgresql: PostgresqlServer, tmp_path: Path, fake_llm: FakeLlm) -> None:
    """Two users' chats can exhaust it, while all wait for a lock; one user's are fewer than it has connections."""
    deployment = Deployment(postgresql, tmp_path / "deployment", users=3)
    *users, other = deployment.tokens
    with deployment.serve(THREADS=1, LLM_BASE_URL=fake_llm.url) as server, ThreadPoolExecutor(40) as pool:
        paths = [f"/api/sessions/{server.request('POST', '/api/sessions', {}, user)[1]['id']}" for user in users]

        stopping = threading.Event()

        def chat(number: int) -> None:
            while not stopping.is_set():
                answer = server.request("POST", f"{paths[number % 2]}/chat", {"content": "say x"}, users[number % 2])
                assert answer[:2] == BUSY

        with locked(deployment, "sessions"):
            chats = [pool.submit(chat, number) for number in range(40)]
            try:
                wait_until(lambda: server.request("GET", "/api/auth/me", token=other)[:2] == BUSY)
                assert deployment.count_connections() <= POOL_SIZE_OF_ONE_THREAD + 1
            finally:
                stopping.set()
            for each in chats:
                each.result(timeout=60)
        assert "connections are in use" in server.log.read_text()
        for _ in range(20):
            for path, user in zip(paths, users, strict=True):
                assert server.request("GET", path, token=user)[1]["messages"] == []
            assert server.request("GET", "/api/auth/me", token=other)[0] == 200


def test_server_without_a_connection_to_spare(deployment: Deployment) -> None:
    with (
        deployment.serve() as server,
        Load([server], deployment.tokens) as load,
        psycopg.connect(deployment.postgresql.url(), autocommit=True) as administrator,
        ExitStack() as others,
    ):
        # As soon as Parley's are gone, others have taken their places.
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [deployment.database]
        )
        while True:
            with suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(psycopg.connect(deployment.postgresql.url()))
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            if not administrator.execute(sql, [deployment.database]).fetchall():
                break
        load.await_error(20)
        assert server.request("GET", "/readyz")[0] == 503
        others.close()
        load.await_recovery()
        load.finish()


def test_open_chats_hold_no_connections(postgresql: PostgresqlServer, tmp_path: Path, fake_llm: FakeLlm) -> None:
    deployment = Deployment(postgresql, tmp_path / "deployment", users=22)
    with (
        deployment.serve(THREADS=1, LLM_BASE_URL=fake_llm.url) as server,
        ExitStack() as stack,
        ThreadPoolExecutor(8) as pool,
    ):

        def start(number: int) -> ChatStream:
            token = deployment.tokens[number % 22]
            _, session, _ = server.request("POST", "/api/sessions", {}, token)
            stream = ChatStream(server, token, session["id"], "say a", "wait 30", "say b")
            assert stream.begin().status == 200
            assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
            return stream

        streams = [stack.enter_context(closing(stream)) for stream in pool.map(start, range(64))]
        assert deployment.count_connections() <= POOL_SIZE_OF_ONE_THREAD
        for token in deployment.tokens:
            assert server.request("GET", "/api/sessions", token=token)[0] == 200
            assert server.request("POST", "/api/sessions", {}, token)[0] == 201
        assert deployment.count_connections() <= POOL_SIZE_OF_ONE_THREAD
        assert [stream.events()[-1][0] for stream in streams] == ["done"] * 64
        assert deployment.count_connections() <= POOL_SIZE_OF_ONE_THREAD


def test_slow_readers_hold_no_connections(deployment: Deployment) -> None:
    user, other = deployment.tokens
    document = numbered_document(3_000, text="message {} " + "x" * 2_000)
    with deployment.serve(THREADS=1) as server, ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        status, imported, _ = server.request("POST", "/api/sessions/import", document, user)
        assert status == 201
        path = f"/api/sessions/{imported['session']['id']}"
        readers = []
        for requested in (path, f"{path}/export", "/api/export", f"{path}/export?format=markdown") * 2:
            reader = stack.enter_context(closing(ChatStream(server, user, "", path=requested, method="GET")))
            assert reader.begin().status == 200
            readers.append(reader)
        wait_until(lambda: len(busy_connections(deployment)) == 0, "the clients' buffers are full")
        for _ in range(5):
            assert server.request("GET", "/api/sessions", token=other)[0] == 200
            assert server.request("POST", "/api/sessions", {}, other)[0] == 201
        assert deployment.count_connections() <= POOL_SIZE_OF_ONE_THREAD
        bodies = pool.map(lambda reader: reader.response.read(), readers)
        assert [body.count(b"message ") for body in bodies] == [3_000] * len(readers)


def busy_connections(deployment: Deployment) -> list[Any]:
    return deployment.execute(
        "SELECT query FROM pg_stat_activity "
        "WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can be mounted by root alone")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(path: Path) -> None:
    """Write a file until its disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))


def test_full_disk(disk: Path, tmp_path: Path) -> None:
    with PostgresqlServer(disk / "data", max_wal_size="32MB", min_wal_size="32MB") as postgresql:
        deployment = Deployment(postgresql, tmp_path / "deployment", users=3)
        *writers, other = deployment.tokens
        full = (507, {"error": "disk_full"})
        with deployment.serve() as server, Load([server], writers, allowed=frozenset([(507, "disk_full")])) as load:
            assert server.request("POST", "/api/sessions/import", DOCUMENT, other)[0] == 201
            fill(disk / "ballast")
            wait_until(lambda: server.request("POST", "/api/sessions/import", DOCUMENT, other)[:2] == full)
            assert server.request("DELETE", "/api/sessions", token=other)[0] == 200
            (disk / "ballast").unlink()
            load.await_recovery()
            assert server.request("POST", "/api/sessions/import", DOCUMENT, other)[0] == 201
            load.finish()


def test_full_disk_of_the_write_ahead_log(disk: Path, tmp_path: Path) -> None:
    """PostgreSQL rejects writes, or ends; then it starts once there is room, by itself or by its operator's hand."""
    with PostgresqlServer(tmp_path / "data", max_wal_size="32MB", min_wal_size="32MB") as postgresql:
        deployment = Deployment(postgresql, tmp_path / "deployment", users=3)
        *writers, other = deployment.tokens
        postgresql.stop()
        log = tmp_path / "data" / "pg_wal"
        shutil.move(log, disk)
        log.symlink_to(disk / "pg_wal")
        postgresql.start()
        full = (507, {"error": "disk_full"})
        unavailable = (503, {"error": "database_unavailable"})
        errors = DATABASE_ERRORS | {(507, "disk_full")}
        with deployment.serve() as server, Load([server], writers, allowed=errors) as load:
            fill(disk / "ballast")

            def import_fails() -> bool:
                return server.request("POST", "/api/sessions/import", DOCUMENT, other)[:2] in (full, unavailable)

            wait_until(import_fails)
            load.await_error(20)
            (disk / "ballast").unlink()
            if postgresql.process.poll() is not None:
                postgresql.start()
            load.await_recovery()
            load.finish()
