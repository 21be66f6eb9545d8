"""How a chat or a webhook run has ended is not lost where another process holds the database."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from flask import Flask

from database import db, sqlite
from services import chat as chats
from services import retry_queue, webhooks
from tests.helpers.client import ApiClient
from tests.helpers.process import FakeLlm, ServerProcess
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver
from tests.test_chat import events
from tests.test_streams import Home, Stream, awaited, messages, new_session

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(data: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the database, as long as the block takes or its standard input is open."""
    command = [sys.executable, "-c", HOLDER, str(data / "parley.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        yield holder
        assert holder.stdin
        holder.stdin.close()


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def actions(tmp_path: Path, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECRET", SECRET)
    path = tmp_path / "actions.toml"
    path.write_text(
        f'[[actions]]\nname = "held"\ndescription = "x"\nurl = "{receiver.url}/held"\nsecret_env = "SECRET"\n'
    )
    return path


class TestInOneProcess:
    """The same with less patience, so that it is over soon."""

    @pytest.fixture
    def settings(
        self, settings: dict[str, Any], fake_llm: FakeLlm, actions: Path, monkeypatch: pytest.MonkeyPatch
    ) -> dict[str, Any]:
        for module, name in ((sqlite, "WRITE_LOCK_TIMEOUT"), (webhooks, "STORE_TIMEOUT"), (chats, "STORE_TIMEOUT")):
            monkeypatch.setattr(module, name, 0.3)
        return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url, "PARLEY_ACTIONS_FILE": str(actions)}

    @pytest.fixture
    def data(self, settings: dict[str, Any]) -> Path:
        return Path(settings["PARLEY_DATA_DIR"])

    @pytest.fixture
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(4) as pool:
            yield pool

    def begin(
        self, pool: ThreadPoolExecutor, app: Flask, owner: ApiClient, path: str, body: Any, **options: Any
    ) -> Any:
        """Send a request that waits for something, from another thread."""

        def send() -> tuple[int, Any]:
            try:
                answer = ApiClient(app.test_client(), owner.token).post(path, body, **options)
                return answer.status_code, answer.get_json() if answer.is_json else events(answer.data)
            finally:
                db.close()

        return pool.submit(send)

    def test_a_run(
        self, pool: ThreadPoolExecutor, app: Flask, owner: ApiClient, receiver: WebhookReceiver, data: Path
    ) -> None:
        session = owner.session()
        path = f"/api/sessions/{session['id']}"
        call: Future[Any] = self.begin(pool, app, owner, f"{path}/actions/held", {})
        receiver.await_call()
        with held(data):
            receiver.leave.set()
            status, run = call.result(20)
            assert (status, run["status"], run["finished_at"]) == (201, "running", None)
            assert owner.get(f"{path}/webhook-runs").get_json()["items"] == [run]  # it says what is there
        (ended,) = awaited(lambda: [each for each in self.runs(owner, path) if each["status"] != "running"])
        assert (ended["status"], ended["response_body"], ended["id"]) == ("succeeded", "well", run["id"])
        assert ended["started_at"] <= ended["finished_at"]

    def runs(self, owner: ApiClient, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = owner.get(f"{path}/webhook-runs").get_json()["items"]
        return items

    @pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
    def test_a_chat(
        self, pool: ThreadPoolExecutor, app: Flask, owner: ApiClient, fake_llm: FakeLlm, data: Path, accept: str
    ) -> None:
        session = owner.session()
        path, body = f"/api/sessions/{session['id']}", {"content": "say well\nwait 1"}
        headers = {"Accept": accept, "Idempotency-Key": accept}
        asked = len(fake_llm.calls())
        call: Future[Any] = self.begin(pool, app, owner, f"{path}/chat", body, headers=headers)
        assert awaited(lambda: len(fake_llm.calls()) > asked)
        with held(data):
            status, told = call.result(20)
            if accept == "application/json":
                assert (status, told["error"]) == (503, "database_busy")
            else:
                assert told[-1] == ("error", {"error": "database_busy"})
            again = owner.post(f"{path}/chat", body, headers=headers)  # it is still to come
            assert (again.status_code, again.get_json()) == (409, {"error": "conflict"})
            new = owner.post(f"{path}/chat", {"content": "another"})
            assert new.status_code == 409
        answer = awaited(lambda: owner.get(path).get_json()["messages"][1:])
        assert [(each["content"], each["metadata"]["finish_reason"]) for each in answer] == [("well", "stop")]
        again = owner.post(f"{path}/chat", body, headers={"Accept": "application/json", "Idempotency-Key": accept})
        assert (again.status_code, again.get_json()["messages"][1:]) == (201, answer)
        assert awaited(lambda: not app.extensions["services"].chats.active)
        assert owner.post(f"{path}/chat", {"content": "x"}, headers={"Accept": "application/json"}).status_code == 201

    def test_an_answer_whose_client_does_not_wait_for_that_is_whole(
        self,
        pool: ThreadPoolExecutor,
        app: Flask,
        owner: ApiClient,
        fake_llm: FakeLlm,
        data: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(chats, "STORE_TIMEOUT", 30)
        session, gone, asked = owner.session(), Event(), len(fake_llm.calls())

        def chat() -> bytes:
            db.ensure_connection()
            services = app.extensions["services"]
            chat = services.chats.start(
                owner.user_id, session["id"], "say well\nwait 1", "{}", gone.is_set, lambda message: None
            )
            try:
                return b"".join(chat.events())
            finally:
                chat.close()
                db.close()

        call = pool.submit(chat)
        assert awaited(lambda: len(fake_llm.calls()) > asked)
        with held(data):
            time.sleep(2.5)  # it has come, and the first try is over
            assert not call.done()
            gone.set()
            call.result(10)
            assert app.extensions["services"].chats.active == 1
        (answer,) = awaited(lambda: owner.get(f"/api/sessions/{session['id']}").get_json()["messages"][1:])
        assert (answer["content"], answer["metadata"]["finish_reason"]) == ("well", "stop")
        assert awaited(lambda: not app.extensions["services"].chats.active)

    def test_what_the_database_takes_in_time_is_as_ever(
        self,
        pool: ThreadPoolExecutor,
        app: Flask,
        owner: ApiClient,
        receiver: WebhookReceiver,
        data: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(webhooks, "STORE_TIMEOUT", 10)
        path = f"/api/sessions/{owner.session()['id']}"
        call: Future[Any] = self.begin(pool, app, owner, f"{path}/actions/held", {})
        receiver.await_call()
        with held(data):
            receiver.leave.set()
            time.sleep(1)  # more than the first try's patience
            assert not call.done()
        status, run = call.result(20)
        assert (status, run["status"]) == (201, "succeeded")
        assert self.runs(owner, path) == [run]

    def test_the_end_waits_for_what_is_pending(
        self, pool: ThreadPoolExecutor, app: Flask, owner: ApiClient, receiver: WebhookReceiver, data: Path
    ) -> None:
        path = f"/api/sessions/{owner.session()['id']}"
        call: Future[Any] = self.begin(pool, app, owner, f"{path}/actions/held", {})
        receiver.await_call()
        with held(data) as holder:
            receiver.leave.set()
            assert call.result(20)[1]["status"] == "running"
            assert holder.stdin
            Timer(1, holder.stdin.close).start()
            app.extensions["services"].retry_queue.close()
        (run,) = self.runs(owner, path)
        assert run["status"] == "succeeded"

    def test_what_can_never_be_written_keeps_nobody_waiting(self, app: Flask) -> None:
        writes = app.extensions["services"].retry_queue

        def fail() -> None:
            raise ValueError("a bug")

        with pytest.raises(ValueError, match="a bug"):
            writes.run(fail).result(0)
        writes.close()

    def test_the_end_is_not_put_off_for_ever(
        self, app: Flask, data: Path, monkeypatch: pytest.MonkeyPatch, owner: ApiClient
    ) -> None:
        monkeypatch.setattr(retry_queue, "FLUSH_TIMEOUT", 0.5)

        def write() -> None:
            with db.write_transaction():
                pass

        with held(data):
            written = app.extensions["services"].retry_queue.run(write)
            began = time.monotonic()
            app.extensions["services"].retry_queue.close()
            assert time.monotonic() - began < 5
            assert not written.done()
        written.result(10)


def fire(server: ServerProcess, token: str, session: str) -> Any:
    """Fire the action and return the socket that its answer comes on."""
    connection = server.connect()
    head = f"POST /api/sessions/{session}/actions/held HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    connection.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
    return connection


def answer_of(connection: Any) -> tuple[int, Any]:
    response = HTTPResponse(connection)
    response.begin()
    with response:
        return response.status, json.loads(response.read())


def rest_of(stream: Stream) -> tuple[list[tuple[str, Any]], float]:
    """Await the rest of a stream; return its events, and its longest silence in seconds."""
    silence, last, body = 0.0, time.monotonic(), b""
    while line := stream.response.readline():
        silence, last, body = max(silence, time.monotonic() - last), time.monotonic(), body + line
    return events(body), silence


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [7, 18])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_database_that_another_process_holds(
    tmp_path: Path, fake_llm: FakeLlm, receiver: WebhookReceiver, actions: Path, seconds: int, stopped: bool
) -> None:
    home = Home(tmp_path / "data")
    token = home.tokens[0]

    def run_of(server: ServerProcess) -> dict[str, Any]:
        (run,) = server.request("GET", f"/api/sessions/{session}/webhook-runs", None, token)[1]["items"]
        found: dict[str, Any] = run
        return found

    with home.served(LLM_BASE_URL=fake_llm.url, ACTIONS_FILE=actions) as server:
        session, chatting = new_session(server, token), new_session(server, token)
        with (
            closing(fire(server, token, session)) as call,
            closing(Stream(server, token, chatting, "say a", "wait 2", "say b")) as stream,
        ):
            stream.begin()
            assert [stream.event()[0] for _ in range(2)] == ["message", "delta"]
            receiver.await_call()
            began = time.monotonic()
            with held(home.data) as holder:
                receiver.leave.set()
                assert holder.stdin
                timer = Timer(seconds, holder.stdin.close)
                timer.start()
                call.settimeout(40)
                stream.socket.settimeout(40)
                if stopped:
                    time.sleep(3)
                    server.process.send_signal(signal.SIGTERM)
                told, silence = rest_of(stream)
                status, run = answer_of(call)
                timer.join()
            assert silence < 15  # the contract's own
            assert status == 201
            if seconds == 7:
                assert run["status"] == "succeeded"
                assert [name for name, _ in told] == ["delta", "message", "done"]
            else:
                assert run["status"] == "running"
                assert [name for name, _ in told] == ["delta", "error"]
                assert told[-1][1] == {"error": "database_busy"}
            if stopped:
                assert server.process.wait(30) == 0
            else:
                assert awaited(lambda: run_of(server)["status"] == "succeeded")
                assert awaited(lambda: len(messages(server, token, chatting)) == 2)
            assert time.monotonic() - began < seconds + 10
        server.stop()
    with home.served(LLM_BASE_URL=fake_llm.url, ACTIONS_FILE=actions) as server:
        ended = run_of(server)
        assert (ended["status"], ended["response_body"]) == ("succeeded", "well")
        assert ended["duration_ms"] < 7_000  # of the call, not of the waiting
        _, answer = messages(server, token, chatting)
        assert (answer["content"], answer["metadata"]["finish_reason"]) == ("ab", "stop")
        assert "Traceback" not in server.log.read_text()
