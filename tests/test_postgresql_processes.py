"""Several processes on one database that start at once, and are killed and started again under load.

The drill takes ``DRILL_SECONDS``, a variable of the environment.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from store.deletion import SWEEP_INTERVAL
from store.drafts import LEASE_SECONDS
from tests.helpers.clock import wait_until
from tests.helpers.deployment import Deployment
from tests.helpers.engine import SECRET
from tests.helpers.load import DATABASE_ERRORS, Client, Load
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import FakeLlm, ServerProcess

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

SECONDS = float(os.environ.get("DRILL_SECONDS", "20"))
CHAT_ERRORS = frozenset([(409, "conflict"), (502, "upstream_error"), (503, "too_many_streams")])
# What a chat may take beside its lease, on a machine that is busy.
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    with PostgresqlServer(tmp_path_factory.mktemp("processes") / "data", max_connections=200) as postgresql:
        yield postgresql


def test_start_of_four_at_once_on_an_empty_database(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    url = postgresql.create_database("empty")
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:

        def serve(number: int) -> ServerProcess:
            return ServerProcess(tmp_path / f"process {number}", DATABASE_URL=url, JWT_SECRET_KEY=SECRET)

        for server in pool.map(serve, range(4)):
            stack.enter_context(server)
            assert server.request("GET", "/readyz")[0] == 200
    applied = Counter(name for (name,) in postgresql.execute("SELECT name FROM schema_migration", database="empty"))
    assert applied
    assert set(applied.values()) == {1}


class Killer:
    """Kills the servers at random, and starts others in their places."""

    def __init__(self, deployment: Deployment, count: int, stack: ExitStack, **settings: Any):
        self._deployment, self._stack, self._settings = deployment, stack, settings
        self.servers = [self._serve() for _ in range(count)]
        self.kills = 0

    def _serve(self) -> ServerProcess:
        return self._stack.enter_context(self._deployment.serve(**self._settings))

    def run(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(3 * random.random())
            index = random.randrange(len(self.servers))
            self.servers[index].stop(signal.SIGKILL)
            self.servers[index] = self._serve()
            self.kills += 1

    def assert_no_internal_errors(self) -> None:
        for server in self.servers:
            assert "internal error" not in server.log.read_text()


@pytest.mark.parametrize("count", [2, 4])
def test_kills_under_eight_writers(postgresql: PostgresqlServer, tmp_path: Path, count: int) -> None:
    deployment = Deployment(postgresql, tmp_path / "deployment", users=2)
    with ExitStack() as stack:
        killer = Killer(deployment, count, stack)
        with Load(killer.servers, deployment.tokens, sessions=2, writers=2, are_killed=True) as load:
            killer.run(SECONDS)
            load.await_recovery()
            load.finish()
        assert killer.kills
        killer.assert_no_internal_errors()


def test_kills_under_chats(postgresql: PostgresqlServer, tmp_path: Path, fake_llm: FakeLlm) -> None:
    """Each question is stored once, what was acknowledged is there, and each chat ends soon after its process."""
    deployment = Deployment(postgresql, tmp_path / "deployment", users=4)
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        killer = Killer(deployment, 2, stack, LLM_BASE_URL=fake_llm.url)
        stopping = threading.Event()

        def chat(token: str) -> None:
            client = Client(killer.servers, DATABASE_ERRORS | CHAT_ERRORS, are_killed=True)
            session = client.send_until_done("POST", "/api/sessions", {}, token, key="session")
            path = f"/api/sessions/{session['id']}"
            questions, acknowledged = list[str](), list[Any]()
            while not stopping.is_set():
                question = f"say answer {len(questions)}\nwait 0.3\nsay ."
                questions.append(question)
                key = f"chat {len(questions)}"
                deadline = time.monotonic() + LEASE_SECONDS + PATIENCE_SECONDS
                while True:
                    status, answer = client.send("POST", f"{path}/chat", {"content": question}, token, key)
                    if status in (201, 502):
                        break
                    assert time.monotonic() < deadline, f"the chat is stuck: {answer}"
                    time.sleep(0.1)
                acknowledged += answer["messages"] if status == 201 else []
            messages = client.send_until_done("GET", path, token=token)["messages"]
            assert [message["content"] for message in messages if message["role"] == "user"] == questions
            assert [message for message in messages if message in acknowledged] == acknowledged
            client.close()

        chats = [pool.submit(chat, token) for token in deployment.tokens]
        killer.run(SECONDS)
        stopping.set()
        for each in chats:
            each.result(timeout=120)
        killer.assert_no_internal_errors()


def test_deleted_rows_are_erased_before_the_next_sweep(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    """Marking them wakes the thread that erases them, which cannot see them before they are committed."""
    deployment = Deployment(postgresql, tmp_path / "deployment")
    with deployment.serve() as server:
        for _ in range(5):
            server.request("POST", "/api/sessions", {}, deployment.token)
            server.request("DELETE", "/api/sessions", None, deployment.token)
            wait_until(lambda: deployment.execute("SELECT 1 FROM sessions") == [], timeout=SWEEP_INTERVAL / 2)
