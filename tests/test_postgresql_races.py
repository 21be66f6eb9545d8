"""Two processes are asked the same at once, or what excludes each other, or to write in all ways there are."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.actions import write_actions
from tests.helpers.deployment import Deployment
from tests.helpers.long_documents import numbered_document
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import PASSWORD, FakeLlm, ServerProcess
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

ROUNDS = 40
SECONDS = float(os.environ.get("DRILL_SECONDS", "20"))

Answer = tuple[int, Any, dict[str, str]]


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    folder = tmp_path_factory.mktemp("races") / "data"
    with PostgresqlServer(folder, max_connections=200, deadlock_timeout="50ms") as postgresql:
        yield postgresql


@pytest.fixture(scope="module")
def deployment(postgresql: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(postgresql, tmp_path_factory.mktemp("races") / "deployment", users=8)


@pytest.fixture(scope="module")
def servers(deployment: Deployment) -> Iterator[list[ServerProcess]]:
    with ExitStack() as stack:
        servers = [stack.enter_context(deployment.serve()) for _ in range(2)]
        yield servers
        for server in servers:
            assert "internal error" not in server.log.read_text()


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def at_once(servers: list[ServerProcess], pool: ThreadPoolExecutor) -> Callable[..., list[Answer]]:
    """Return a function that sends a request to both servers at once, or each its own, and returns their answers."""
    barrier = threading.Barrier(2)

    def send(server: ServerProcess, arguments: tuple[Any, ...]) -> Answer:
        barrier.wait()
        return server.request(*arguments)

    def send_both(*arguments: Any, other: tuple[Any, ...] | None = None) -> list[Answer]:
        return list(pool.map(send, servers, (arguments, other or arguments)))

    return send_both


def messages_of(server: ServerProcess, session: dict[str, Any], token: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = server.request("GET", f"/api/sessions/{session['id']}", token=token)[1]["messages"]
    return messages


def test_renames_of_the_same_state(
    deployment: Deployment, servers: list[ServerProcess], at_once: Callable[..., list[Answer]]
) -> None:
    token = deployment.tokens[0]
    _, session, _ = servers[0].request("POST", "/api/sessions", {}, token)
    path = f"/api/sessions/{session['id']}"
    _, _, headers = servers[0].request("GET", f"{path}?messages=false", token=token)
    for turn in range(ROUNDS):
        known = {"If-Match": headers["ETag"]}
        answers = at_once(
            "PATCH", path, {"title": f"{turn} one"}, token, known,
            other=("PATCH", path, {"title": f"{turn} two"}, token, known),
        )  # fmt: skip
        assert sorted(status for status, _, _ in answers) == [200, 412]
        _, stored, headers = servers[turn % 2].request("GET", f"{path}?messages=false", token=token)
        assert [body for status, body, _ in answers if status == 200] == [stored]


def test_renames_and_deletion_of_the_same_state(
    deployment: Deployment, servers: list[ServerProcess], at_once: Callable[..., list[Answer]]
) -> None:
    token = deployment.tokens[0]
    for turn in range(ROUNDS // 2):
        _, session, _ = servers[0].request("POST", "/api/sessions", {}, token)
        path = f"/api/sessions/{session['id']}"
        known = {"If-Match": servers[0].request("GET", f"{path}?messages=false", token=token)[2]["ETag"]}
        rename = ("PATCH", path, {"title": "new"}, token, known)
        answers = at_once("DELETE", path, None, token, known, other=rename)
        deleted, renamed = (status for status, _, _ in answers)
        assert (deleted, renamed) in [(204, 404), (412, 200)]
        assert servers[turn % 2].request("GET", path, token=token)[0] == (404 if deleted == 204 else 200)


def test_twins_of_a_message(
    deployment: Deployment, servers: list[ServerProcess], at_once: Callable[..., list[Answer]]
) -> None:
    token = deployment.tokens[1]
    _, session, _ = servers[0].request("POST", "/api/sessions", {}, token)
    path = f"/api/sessions/{session['id']}/messages"
    for turn in range(ROUNDS):
        body, key = {"role": "user", "content": f"{turn}"}, {"Idempotency-Key": f"message {turn}"}
        answers = at_once("POST", path, body, token, key)
        assert_twins(answers)
        assert servers[turn % 2].request("POST", path, body, token, key)[0] == 201
    assert [message["content"] for message in messages_of(servers[0], session, token)] == list(map(str, range(ROUNDS)))


def test_twins_of_a_session_and_an_import(
    deployment: Deployment, servers: list[ServerProcess], at_once: Callable[..., list[Answer]]
) -> None:
    token = deployment.tokens[2]
    for turn in range(ROUNDS // 2):
        assert_twins(at_once("POST", "/api/sessions", {}, token, {"Idempotency-Key": f"session {turn}"}))
        document, key = numbered_document(20), {"Idempotency-Key": f"import {turn}"}
        assert_twins(at_once("POST", "/api/sessions/import", document, token, key))
    _, listed, _ = servers[0].request("GET", "/api/sessions", token=token)
    assert len(listed["items"]) == ROUNDS // 2 * 2


def assert_twins(answers: list[Answer]) -> None:
    """Both have the same answer, or the one is told that the other is in progress."""
    bodies = [body for status, body, _ in answers if status == 201]
    assert bodies
    assert all(body == bodies[0] for body in bodies)
    assert all(body == {"error": "conflict"} for status, body, _ in answers if status != 201)


@pytest.mark.parametrize("count", [3, 4_000])
def test_the_same_export_is_imported_once(
    deployment: Deployment, servers: list[ServerProcess], at_once: Callable[..., list[Answer]], count: int
) -> None:
    token = deployment.tokens[3]
    for turn in range(ROUNDS // 4):
        before = len(servers[0].request("GET", "/api/sessions", token=token)[1]["items"])
        document = numbered_document(count, f"{count} {turn}", text=f"{turn} {{}}")
        answers = at_once("POST", "/api/import", json.dumps([document]).encode(), token)
        assert [status for status, _, _ in answers] == [200, 200]
        counts: Counter[str] = Counter()
        for _, report, _ in answers:
            counts.update(report["counts"])
        assert counts == {"imported": 1, "skipped": 1, "refused": 0}
        assert len({report["sessions"][0]["session_id"] for _, report, _ in answers}) == 1
        assert len(servers[0].request("GET", "/api/sessions", token=token)[1]["items"]) == before + 1


def test_refreshes_of_one_token(
    deployment: Deployment, servers: list[ServerProcess], at_once: Callable[..., list[Answer]]
) -> None:
    """One of them gets a new pair; the other one is told so, and the login goes on."""
    login = {"username": "user 4", "password": PASSWORD}
    _, pair, _ = servers[0].request("POST", "/api/auth/login", login)
    for turn in range(ROUNDS // 2):
        answers = at_once("POST", "/api/auth/refresh", None, pair["refresh_token"])
        assert sorted(status for status, _, _ in answers) == [200, 409]
        (pair,) = (body for status, body, _ in answers if status == 200)
        assert servers[turn % 2].request("GET", "/api/auth/me", token=pair["access_token"])[0] == 200


def test_no_login_with_the_old_password_outlives_its_change(
    deployment: Deployment, servers: list[ServerProcess], at_once: Callable[..., list[Answer]]
) -> None:
    token, password = deployment.tokens[5], PASSWORD
    for turn in range(6):
        new = f"{PASSWORD} {turn}"
        change = ("POST", "/api/auth/password", {"current_password": password, "new_password": new}, token)
        old_login = ("POST", "/api/auth/login", {"username": "user 5", "password": password})
        (_, pair, _), (status, _, _) = at_once(*old_login, other=change)
        assert status == 204
        if "access_token" in pair:
            assert servers[turn % 2].request("GET", "/api/auth/me", token=pair["access_token"])[0] == 401
        password = new


def test_all_that_writes_has_no_deadlock(
    postgresql: PostgresqlServer,
    deployment: Deployment,
    fake_llm: FakeLlm,
    receiver: WebhookReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One user's requests of all kinds, to the same few sessions: each waits for the others, and none in a circle."""
    monkeypatch.setenv("SECRET", SECRET)
    actions = write_actions(tmp_path / "actions.toml", receiver.url)
    token = deployment.tokens[6]
    statuses: Counter[tuple[str, int]] = Counter()
    stopping = threading.Event()
    sessions: list[str] = []
    with ExitStack() as stack:
        serve = partial(deployment.serve, LLM_BASE_URL=fake_llm.url, ACTIONS_FILE=actions)
        servers = [stack.enter_context(serve()) for _ in range(2)]

        def request(name: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
            status, answer, _ = random.choice(servers).request(method, path, body, token, headers)
            statuses[name, status] += 1
            assert status < 500 or answer["error"] in ("too_many_streams", "upstream_error"), (name, status, answer)
            return answer

        def session() -> str:
            """Return the path of one of few sessions."""
            while len(sessions) < 4:
                sessions.append(request("create", "POST", "/api/sessions", {"title": "x"})["id"])
            return f"/api/sessions/{random.choice(sessions)}"

        def append() -> None:
            key = {"Idempotency-Key": f"{random.random()}"} if random.random() < 0.5 else {}
            request("append", "POST", f"{session()}/messages", {"role": "user", "content": "x"}, **key)

        def rename() -> None:
            request("rename", "PATCH", session(), {"title": f"{random.random()}"})

        def set_prompt() -> None:
            request("set prompt", "PATCH", f"{session()}/system-prompt", {"system_prompt": f"{random.random()}"})

        def chat() -> None:
            request("chat", "POST", f"{session()}/chat", {"content": "say x\nwait 0.1"}, Accept="application/json")

        def stop_chat() -> None:
            request("stop chat", "DELETE", f"{session()}/chat")

        def fire() -> None:
            request("fire", "POST", f"{session()}/actions/ok", {})

        def import_session() -> None:
            document = numbered_document(random.choice([3, 3_000]))
            answer = request("import", "POST", "/api/sessions/import", document)
            sessions.append(answer["session"]["id"])

        def import_all() -> None:
            documents = [numbered_document(5, f"{random.randrange(5)}") for _ in range(3)]
            request("import all", "POST", "/api/import", json.dumps(documents).encode())

        def delete() -> None:
            path = session()
            request("delete", "DELETE", path)
            forget([path.rpartition("/")[2]])

        def delete_several() -> None:
            ids = random.sample(sessions, min(len(sessions), 3))
            request("delete several", "DELETE", "/api/sessions", {"ids": ids})
            forget(ids)

        def delete_all() -> None:
            request("delete all", "DELETE", "/api/sessions")
            sessions.clear()

        def log_in_and_out() -> None:
            login = {"username": "user 6", "password": PASSWORD}
            pair = request("log in", "POST", "/api/auth/login", login)
            for name, each in (("refresh", "refresh_token"), ("logout", "access_token")):
                random.choice(servers).request("POST", f"/api/auth/{name}", None, pair[each])

        def forget(ids: list[str]) -> None:
            for each in ids:
                if each in sessions:
                    sessions.remove(each)

        often = [append, append, append, rename, rename, set_prompt, chat, stop_chat, fire, delete, delete_several]
        kinds = [*often, *often, *often, import_session, import_all, delete_all, log_in_and_out]

        def work() -> None:
            while not stopping.is_set():
                random.choice(kinds)()

        with ThreadPoolExecutor(12) as pool:
            workers = [pool.submit(work) for _ in range(12)]
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline and not any(worker.done() for worker in workers):
                time.sleep(0.1)
            stopping.set()
            for worker in workers:
                worker.result(timeout=60)
        for server in servers:
            assert "internal error" not in server.log.read_text()
    assert "deadlock detected" not in postgresql.log.read_text()
    done = {name for name, status in statuses if status < 300}
    assert done >= {name for name, _ in statuses} - {"stop chat"}, statuses
