"""Two replicas on one PostgreSQL, behind the load balancer of compose.postgresql.yaml."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from database import db
from server.loop import GRACEFUL_SHUTDOWN_TIMEOUT
from services.readiness import NOTICE_SECONDS
from tests.helpers.client import add_user, document, message
from tests.helpers.clock import wait_until
from tests.helpers.engine import SECRET
from tests.helpers.load_balancer import free_port, load_balancer, offers_bodies_again
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import PASSWORD, FakeLlm, ServerProcess
from tests.helpers.streams import ChatStream

pytestmark = pytest.mark.slow

LARGE_IMPORT_BYTES = 66_000_000


class Balanced(ServerProcess):
    """The load balancer, asked as a server is."""

    def __init__(self, address: str):
        self.url = f"http://{address}"
        host, _, port = address.partition(":")
        self.address = (host, int(port))


class Replicas:
    """Two servers on a database of their own, and the load balancer before them."""

    def __init__(self, folder: Path, database_url: str, llm_url: str):
        self.folder = folder
        self.settings = {
            "DATABASE_URL": database_url,
            "JWT_SECRET_KEY": SECRET,
            "TRUSTED_PROXIES": 1,
            "LLM_BASE_URL": llm_url,
        }
        own = {f"PARLEY_{name}": value for name, value in self.settings.items()}
        app = create_app(own | {"PARLEY_DATA_DIR": str(folder), "PARLEY_LOG_LEVEL": "ERROR"})
        self.tokens = [str(add_user(app, f"user {number}").token) for number in range(4)]
        self.tokens.append(str(add_user(app, "alice").token))
        app.extensions["services"].close()
        db.close_cleanly()
        self.ports = [free_port(), free_port()]
        self._starts = 0
        self._stack = ExitStack()
        self.servers = [self.start(port) for port in self.ports]
        self.balancer = Balanced(self._stack.enter_context(load_balancer(folder, self.ports)))

    def start(self, port: int) -> ServerProcess:
        """Start a replica, and return once it is ready."""
        self._starts += 1
        data = self.folder / f"replica {self._starts}"
        data.mkdir()
        server = self._stack.enter_context(ServerProcess(data, PORT=port, **self.settings))
        assert server.request("GET", "/readyz")[0] == 200
        return server

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def has_served(server: ServerProcess) -> bool:
    """Return whether requests other than health checks have come to a replica."""
    return "path=/api/" in server.log.read_text()


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    with PostgresqlServer(tmp_path_factory.mktemp("postgresql") / "data", fsync="off") as server:
        yield server


@pytest.fixture(scope="module")
def replicas(
    postgresql: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory, fake_llm: FakeLlm
) -> Iterator[Replicas]:
    """Two replicas that tests share."""
    url = postgresql.create_database("shared")
    with Replicas(tmp_path_factory.mktemp("replicas"), url, fake_llm.url) as replicas:
        yield replicas


def test_chats_are_not_held_back(replicas: Replicas) -> None:
    """The first word is read before the answer is stored, and so before the model has sent the last one."""
    balancer, token = replicas.balancer, replicas.tokens[0]
    _, session, _ = balancer.request("POST", "/api/sessions", {}, token)
    with closing(ChatStream(balancer, token, session["id"], "say first", "wait 10", "say last")) as stream:
        assert stream.begin().headers["Content-Type"].startswith("text/event-stream")
        assert stream.next_event()[0] == "message"
        assert stream.next_event() == ("delta", {"content": "first"})
        _, read, _ = balancer.request("GET", f"/api/sessions/{session['id']}", None, token)
        assert [each["role"] for each in read["messages"]] == ["user"]
        assert stream.events()[-1][0] == "done"


def test_import_of_the_largest_size_passes(replicas: Replicas) -> None:
    count = LARGE_IMPORT_BYTES // 50_000
    body = json.dumps(document(*(message("x" * 49_000) for _ in range(count)), title="large")).encode()
    assert 64_000_000 < len(body) < 64 * 2**20
    _, imported, _ = replicas.balancer.request("POST", "/api/sessions/import", body, replicas.tokens[1])
    assert imported["imported_messages"] == count


def test_clients_are_known_by_their_addresses(replicas: Replicas, tmp_path: Path) -> None:
    """By those that the load balancer sees, whatever they claim: failed logins are counted for each."""
    with load_balancer(tmp_path, [replicas.ports[0]] * 2) as address:
        guesses = [log_in(address, "127.0.0.2", "wrong", f"203.0.113.{number}") for number in range(10)]
        assert guesses == [401] * 10
        assert log_in(address, "127.0.0.2", PASSWORD, "203.0.113.99") == 429
        assert log_in(address, "127.0.0.3", PASSWORD, "127.0.0.2") == 200


def log_in(address: str, client: str, password: str, claimed: str) -> int:
    """Log in from an address of this machine, claiming to be another one."""
    connection = http.client.HTTPConnection(address, timeout=30, source_address=(client, 0))
    with closing(connection):
        body = json.dumps({"username": "alice", "password": password})
        fields = {"Content-Type": "application/json", "X-Forwarded-For": claimed}
        connection.request("POST", "/api/auth/login", body, fields)
        return connection.getresponse().status


class Client(threading.Thread):
    """Appends messages to a session of its own, reads it, and chats; one connection, and no second try."""

    def __init__(self, replicas: Replicas, token: str):
        super().__init__()
        self._balancer, self._token = replicas.balancer, token
        self._is_over = threading.Event()
        self.session_id = str(replicas.balancer.request("POST", "/api/sessions", {}, token)[1]["id"])
        self.sent: list[str] = []
        self.failures: list[Any] = []

    def run(self) -> None:
        path = f"/api/sessions/{self.session_id}"
        with closing(http.client.HTTPConnection(*self._balancer.address, timeout=60)) as connection:
            while not self._is_over.is_set():
                content = f"{len(self.sent)} of {self.name}"
                self.sent.append(content)
                self._request(connection, 201, "POST", f"{path}/messages", message(content), content)
                self._request(connection, 200, "GET", path)
                self._request(connection, 200, "GET", "/api/sessions")

    def _request(
        self,
        connection: http.client.HTTPConnection,
        expected: int,
        method: str,
        path: str,
        body: Any = None,
        key: str = "",
    ) -> None:
        fields = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        fields |= {"Idempotency-Key": key} if key else {}
        try:
            connection.request(method, path, json.dumps(body) if body else None, fields)
            with connection.getresponse() as response:
                content = response.read()
            if response.status != expected:
                self.failures.append((method, path, response.status, content[:300]))
        except OSError as error:
            self.failures.append((method, path, repr(error)))
            connection.close()

    def finish(self) -> None:
        self._is_over.set()
        self.join()


def test_rolling_update_fails_no_request(postgresql: PostgresqlServer, tmp_path: Path, fake_llm: FakeLlm) -> None:
    with Replicas(tmp_path, postgresql.create_database("rolling"), fake_llm.url) as replicas:
        clients = [Client(replicas, token) for token in replicas.tokens[:4]]
        for client in clients:
            client.start()
        try:
            for number, port in enumerate(replicas.ports):
                old = replicas.servers[number]
                wait_until(partial(has_served, old), "both replicas serve")
                old.process.send_signal(signal.SIGTERM)
                assert old.process.wait(timeout=NOTICE_SECONDS + GRACEFUL_SHUTDOWN_TIMEOUT + 10) == 0
                replicas.servers[number] = replicas.start(port)
                wait_until(partial(has_served, replicas.servers[number]), "the new replica serves")
        finally:
            for client in clients:
                client.finish()
        assert [client.failures for client in clients] == [[]] * len(clients)
        for client, token in zip(clients, replicas.tokens, strict=False):
            _, session, _ = replicas.balancer.request("GET", f"/api/sessions/{client.session_id}", None, token)
            assert [each["content"] for each in session["messages"]] == client.sent
        for server in replicas.servers:
            assert server.stop() == 0
        for log in tmp_path.glob("*.log"):
            assert " ERROR " not in log.read_text(), log


def test_request_that_no_replica_has_got_goes_to_another_one(replicas: Replicas) -> None:
    """Also one that is no GET, and before the load balancer has noticed that a replica is gone."""
    token = replicas.tokens[0]
    _, session, _ = replicas.balancer.request("POST", "/api/sessions", {}, token)
    replicas.servers[1].stop(signal.SIGKILL)
    path, body = "/api/sessions", None
    if offers_bodies_again():
        path, body = f"/api/sessions/{session['id']}/messages", message("once")
    assert [replicas.balancer.request("POST", path, body, token)[0] for _ in range(20)] == [201] * 20
    replicas.servers[1] = replicas.start(replicas.ports[1])


def test_readiness_fails_while_requests_are_still_served(replicas: Replicas) -> None:
    """And their connections are closed, each after a response, so that none is closed with a request on its way."""
    token = replicas.tokens[0]
    server = replicas.servers[0]
    with closing(http.client.HTTPConnection(*server.address, timeout=30)) as connection:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.request("GET", "/readyz")[0] == 503)
        assert server.request("GET", "/readyz")[1] == {"error": "shutting_down"}
        connection.request("GET", "/api/sessions", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        assert (response.status, response.headers["Connection"]) == (200, "close")
    assert server.process.wait(timeout=30) == 0
    assert replicas.balancer.request("GET", "/api/sessions", None, token)[0] == 200
    replicas.servers[0] = replicas.start(replicas.ports[0])
    wait_until(lambda: serves(replicas, token))


def serves(replicas: Replicas, token: str) -> bool:
    """Return whether the first replica gets one of some requests."""
    with suppress(OSError):
        replicas.balancer.request("GET", "/api/sessions", None, token)
    return has_served(replicas.servers[0])


def test_interrupt_from_the_keyboard_does_not_wait_for_a_load_balancer(replicas: Replicas) -> None:
    server = replicas.start(free_port())
    assert server.request("GET", "/readyz")[0] == 200
    server.process.send_signal(signal.SIGINT)
    statuses = []
    with suppress(OSError):
        while True:
            statuses.append(server.request("GET", "/readyz")[0])
    assert 503 not in statuses
    assert server.process.wait(timeout=30) == 0
