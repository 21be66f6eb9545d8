"""The throwaway PostgreSQL server and the proxy before it are what the tests on them take them for."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.helpers.postgresql import PostgresqlServer, is_alive
from tests.helpers.process import ROOT
from tests.helpers.tcp_proxy import TcpProxy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    with PostgresqlServer(tmp_path_factory.mktemp("postgresql") / "data") as server:
        yield server


@pytest.fixture
def proxy(server: PostgresqlServer) -> Iterator[TcpProxy]:
    server.execute("CREATE TABLE IF NOT EXISTS words (word text)")
    server.execute("TRUNCATE words")
    with TcpProxy(server.port) as proxy:
        yield proxy


def connect(server: PostgresqlServer, proxy: TcpProxy) -> psycopg.Connection:
    return psycopg.connect(server.url(port=proxy.port), connect_timeout=10)


def words(server: PostgresqlServer) -> list[str]:
    return [word for (word,) in server.execute("SELECT word FROM words")]


def test_it_is_durable_and_its_text_is_utf_8(server: PostgresqlServer) -> None:
    assert server.execute("SHOW fsync") == [("on",)]
    assert server.execute("SHOW server_encoding") == [("UTF8",)]
    assert server.execute("SELECT %s || upper('ä')", ["é"]) == [("éÄ",)]


def test_it_never_runs_as_root(server: PostgresqlServer) -> None:
    assert psutil.Process(server.process.pid).uids().effective != 0


def test_a_database_is_created_from_a_template_and_dropped(server: PostgresqlServer) -> None:
    server.create_database("template")
    server.execute("CREATE TABLE words (word text)", database="template")
    url = server.create_database("a copy", template="template")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT * FROM words").fetchall() == []
        server.drop_database("a copy")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    server.drop_database("template")
    assert server.execute("SELECT datname FROM pg_database WHERE datname IN ('template', 'a copy')") == []


@pytest.mark.slow
@pytest.mark.parametrize("version", [16, 18])
def test_committed_rows_survive_every_end(tmp_path: Path, version: Literal[16, 18]) -> None:
    with PostgresqlServer(tmp_path / "data", version=version, max_connections=20) as server:
        assert server.execute("SHOW server_version")[0][0].startswith(f"{version}.")
        assert server.execute("SHOW max_connections") == [("20",)]
        server.execute("CREATE TABLE words (word text)")
        url = server.url()
        ends: list[Callable[[], None]] = [server.restart, lambda: server.stop("immediate"), server.kill]
        for end in ends:
            busy = psycopg.connect(url)
            busy.execute("INSERT INTO words VALUES ('not committed')")
            server.execute("INSERT INTO words VALUES ('committed')")
            end()
            if server.process.poll() is not None:
                with pytest.raises(psycopg.OperationalError):
                    server.execute("SELECT 1")
                server.start()
            with pytest.raises(psycopg.OperationalError):
                busy.execute("SELECT 1")
            busy.close()
            assert server.url() == url
        assert words(server) == ["committed"] * 3


@pytest.mark.slow
def test_a_password_is_asked_for(tmp_path: Path) -> None:
    with PostgresqlServer(tmp_path / "data", password="a:secret/@ü") as server:
        server.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url().replace("a%3Asecret", "another"))


@pytest.mark.slow
def test_it_ends_with_its_process_even_if_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.helpers.postgresql import PostgresqlServer\n"
        f"server = PostgresqlServer(Path({str(tmp_path / 'data')!r}))\n"
        "print(server.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    server = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 10
    while is_alive(server) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(server)


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no_such_setting"):
        PostgresqlServer(tmp_path / "data", no_such_setting=1)


def test_the_proxy_counts_round_trips_and_delays_each(server: PostgresqlServer, proxy: TcpProxy) -> None:
    with connect(server, proxy) as connection:
        before = proxy.round_trips
        connection.execute("SELECT 1")  # and a BEGIN before it
        connection.commit()
        assert proxy.round_trips - before == 3
        connection.autocommit = True
        proxy.latency = 0.02
        began = time.monotonic()
        connection.execute("SELECT 1")
        assert time.monotonic() - began >= 0.02  # never fails on a slow machine
        assert proxy.round_trips - before == 4


def test_a_copy_of_many_rows_is_two_round_trips(server: PostgresqlServer, proxy: TcpProxy) -> None:
    with connect(server, proxy) as connection:
        connection.execute("SELECT 1")
        before = proxy.round_trips
        with connection.cursor().copy("COPY words FROM STDIN") as copy:
            for _ in range(10_000):
                copy.write_row(["x" * 100])
        assert proxy.round_trips - before == 2


def test_all_connections_are_cut_at_once(server: PostgresqlServer, proxy: TcpProxy) -> None:
    connections = [connect(server, proxy) for _ in range(3)]
    proxy.cut()
    for connection in connections:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        connection.close()
    with connect(server, proxy) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("delivered", [True, False])
def test_a_commit_is_cut_off_before_or_after_it_has_happened(
    server: PostgresqlServer, proxy: TcpProxy, delivered: bool
) -> None:
    connection, bystander = connect(server, proxy), connect(server, proxy)
    is_cut = proxy.cut_at(b"COMMIT", delivered=delivered)
    connection.execute("INSERT INTO words VALUES ('word')")
    assert not is_cut.is_set()
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    assert is_cut.wait(10)
    connection.close()
    assert words(server) == (["word"] if delivered else [])
    bystander.execute("SELECT 1")
    bystander.commit()
    bystander.close()


def test_a_stalled_connection_goes_on_where_it_was(server: PostgresqlServer, proxy: TcpProxy) -> None:
    answers: list[object] = []
    with connect(server, proxy) as connection:
        proxy.stall()
        asking = threading.Thread(target=lambda: answers.append(connection.execute("SELECT 1").fetchone()))
        asking.start()
        asking.join(0.2)
        assert answers == []
        proxy.resume()
        asking.join(10)
        assert answers == [(1,)]


def test_a_closed_proxy_refuses(server: PostgresqlServer, proxy: TcpProxy) -> None:
    connection = connect(server, proxy)
    proxy.close()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        connect(server, proxy)
    connection.close()
