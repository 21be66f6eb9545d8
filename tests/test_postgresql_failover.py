"""PostgreSQL only reads for a while, or a standby takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.clock import wait_until
from tests.helpers.deployment import Deployment
from tests.helpers.load import Load
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

UNAVAILABLE = (503, {"error": "database_unavailable"})


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[PostgresqlServer]:
    with PostgresqlServer(tmp_path / "primary") as primary:
        yield primary


@pytest.fixture
def deployment(primary: PostgresqlServer, tmp_path: Path) -> Deployment:
    return Deployment(primary, tmp_path / "deployment", users=2)


@pytest.fixture
def standby(primary: PostgresqlServer, deployment: Deployment, tmp_path: Path) -> Iterator[PostgresqlServer]:
    with primary.start_standby(tmp_path / "standby") as standby:
        yield standby


def test_read_only_and_back(primary: PostgresqlServer, deployment: Deployment) -> None:
    token = deployment.token
    with deployment.serve() as server, Load([server], deployment.tokens) as load:
        for _ in range(2):
            primary.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            primary.execute("SELECT pg_reload_conf()")
            wait_until(lambda: server.request("POST", "/api/sessions", {}, token)[:2] == UNAVAILABLE)
            for _ in range(20):
                assert server.request("GET", load.sessions[0].path, token=token)[0] == 200
                assert server.request("PATCH", load.sessions[0].path, {"title": "x"}, token)[:2] == UNAVAILABLE
            primary.execute("ALTER SYSTEM RESET default_transaction_read_only")
            primary.execute("SELECT pg_reload_conf()")
            load.await_recovery()
        assert load.errors.keys() == {(503, "database_unavailable")}
        load.finish()


def test_standby_with_the_url_of_both(
    primary: PostgresqlServer, standby: PostgresqlServer, deployment: Deployment
) -> None:
    """The URL has both servers, and Parley takes the one that writes."""
    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    url = deployment.url.replace(f"127.0.0.1:{primary.port}", hosts) + "?target_session_attrs=read-write"
    with deployment.serve(DATABASE_URL=url) as server, Load([server], deployment.tokens) as load:
        primary.kill()
        load.await_error(10)
        standby.promote()
        load.await_recovery()
        load.finish()
    assert "internal error" not in server.log.read_text()


def test_standby_that_gets_the_address_before_it_is_promoted(
    primary: PostgresqlServer, standby: PostgresqlServer, deployment: Deployment
) -> None:
    """It only reads until then, and no connection remains that still does so afterwards."""
    token = deployment.token
    with (
        TcpProxy(primary.port) as proxy,
        deployment.serve(proxy.port) as server,
        Load([server], deployment.tokens) as load,
    ):
        primary.kill()
        proxy.target_port = standby.port
        wait_until(lambda: server.request("GET", "/readyz")[0] == 200)
        for _ in range(20):
            assert server.request("GET", load.sessions[0].path, token=token)[0] == 200
            assert server.request("POST", "/api/sessions", {}, token)[:2] == UNAVAILABLE
        standby.promote()
        load.await_recovery()
        load.finish()
    assert "internal error" not in server.log.read_text()
