"""The way to PostgreSQL is slow, cut, or silent: each request ends, and its retry does the work once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.deployment import Deployment
from tests.helpers.load import Load
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import ServerProcess
from tests.helpers.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    with PostgresqlServer(tmp_path_factory.mktemp("network") / "data") as postgresql:
        yield postgresql


@pytest.fixture
def deployment(postgresql: PostgresqlServer, tmp_path: Path) -> Deployment:
    return Deployment(postgresql, tmp_path / "deployment", users=2)


@pytest.fixture
def proxy(postgresql: PostgresqlServer) -> Iterator[TcpProxy]:
    with TcpProxy(postgresql.port) as proxy:
        yield proxy


@pytest.fixture
def server(deployment: Deployment, proxy: TcpProxy) -> Iterator[ServerProcess]:
    with deployment.serve(proxy.port) as server:
        yield server


def test_latency(deployment: Deployment, proxy: TcpProxy, server: ServerProcess) -> None:
    proxy.latency = 0.001
    with Load([server], deployment.tokens) as load:
        load.await_progress(10)
        load.finish()
        assert not load.errors


def test_cuts_under_load(deployment: Deployment, proxy: TcpProxy, server: ServerProcess) -> None:
    with Load([server], deployment.tokens) as load:
        for _ in range(10):
            proxy.cut()
            load.await_progress(2)
        load.await_recovery()
        load.finish()
    assert "internal error" not in server.log.read_text()


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("statement", [b"BEGIN", b'INSERT INTO "messages"', b'UPDATE "sessions"', b"COMMIT"])
def test_cut(deployment: Deployment, proxy: TcpProxy, server: ServerProcess, statement: bytes, delivered: bool) -> None:
    """Before or after a statement has arrived: whether a COMMIT was executed, its sender cannot know."""
    token = deployment.token
    _, session, _ = server.request("POST", "/api/sessions", {}, token)
    path = f"/api/sessions/{session['id']}/messages"
    for turn in range(3):
        is_cut = proxy.cut_at(statement, delivered)
        arguments = ("POST", path, {"role": "user", "content": f"{turn}"}, token, {"Idempotency-Key": f"{turn}"})
        status, answer, headers = server.request(*arguments)
        assert is_cut.wait(10)
        if statement != b"BEGIN":
            assert (status, answer) == (503, {"error": "database_unavailable"})
            assert headers["Retry-After"] == "1"
            assert len(deployment.execute("SELECT 1 FROM messages WHERE content = %s", f"{turn}")) == int(
                statement == b"COMMIT" and delivered
            )
            status, answer, _ = server.request(*arguments)
        assert status == 201
        assert server.request(*arguments)[:2] == (201, answer)
        assert server.request("GET", path, token=token)[1]["items"][turn:] == [answer]
    assert "internal error" not in server.log.read_text()


def test_silence(deployment: Deployment, proxy: TcpProxy, server: ServerProcess) -> None:
    """A server that takes what it is sent and never responds: neither keep-alives nor TCP's own timeout notice it."""
    with Load([server], deployment.tokens) as load:
        proxy.stall()
        load.await_error(20)
        assert server.request("GET", "/healthz")[0] == 200
        assert server.request("GET", "/readyz")[0] == 503
        proxy.resume()
        load.await_recovery()
        load.finish()
    assert "internal error" not in server.log.read_text()
