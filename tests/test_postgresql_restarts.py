"""PostgreSQL is restarted, killed, or ends its connections, under load: nothing is lost, and all is well again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.clock import wait_until
from tests.helpers.deployment import Deployment
from tests.helpers.load import Load
from tests.helpers.postgresql import PostgresqlServer

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    with PostgresqlServer(tmp_path_factory.mktemp("restarts") / "data") as postgresql:
        yield postgresql


@pytest.fixture
def deployment(postgresql: PostgresqlServer, tmp_path: Path) -> Deployment:
    return Deployment(postgresql, tmp_path / "deployment", users=2)


def test_restart(deployment: Deployment) -> None:
    with deployment.serve() as server, Load([server], deployment.tokens) as load:
        for _ in range(2):
            deployment.postgresql.restart()
            load.await_recovery()
        deployment.postgresql.stop()
        load.await_error(20)
        assert server.request("GET", "/readyz")[0] == 503
        assert server.request("GET", "/healthz")[0] == 200
        deployment.postgresql.start()
        load.await_recovery()
        assert server.request("GET", "/readyz")[0] == 200
        load.finish()
        assert "internal error" not in server.log.read_text()


def test_kill(deployment: Deployment) -> None:
    with deployment.serve() as server, Load([server], deployment.tokens) as load:
        for _ in range(2):
            deployment.postgresql.kill()
            load.await_error(5)
            deployment.postgresql.start()
            load.await_recovery()
        load.finish()
        assert "internal error" not in server.log.read_text()


def test_crash_of_one_of_its_processes(deployment: Deployment) -> None:
    """PostgreSQL then ends all connections and recovers by itself; until then it refuses new ones (57P03)."""
    with deployment.serve() as server, Load([server], deployment.tokens) as load:
        deployment.postgresql.crash()
        load.await_error()
        load.await_recovery()
        load.finish()
        assert "internal error" not in server.log.read_text()


def test_ended_connections(deployment: Deployment) -> None:
    with deployment.serve() as server, Load([server], deployment.tokens) as load:
        for _ in range(10):
            assert deployment.terminate_connections()
            load.await_progress(2)
        load.await_recovery()
        load.finish()
        assert "internal error" not in server.log.read_text()


def test_ended_connections_that_are_idle(deployment: Deployment) -> None:
    """No connection that is lost is taken from the pool: the next requests succeed, and none is needed to find out."""
    with deployment.serve() as server:
        with Load([server], deployment.tokens) as load:
            load.finish()
        wait_until(lambda: deployment.terminate_connections() and deployment.count_connections() == 0)
        for _ in range(20):
            assert server.request("POST", "/api/sessions", {}, deployment.token)[0] == 201
        deployment.postgresql.restart()
        for _ in range(20):
            assert server.request("POST", "/api/sessions", {}, deployment.token)[0] == 201
        assert "ERROR" not in server.log.read_text()
