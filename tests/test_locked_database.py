"""The ends of chats and webhook runs are not lost if another process locks the database.

Longer than other files: the same lock is held against chats, webhook runs, restarts and shutdowns.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPResponse
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from flask import Flask

from database import db, sqlite
from services import chat, retry_queue, webhooks
from services.retry_queue import RetryQueue
from tests.helpers.actions import action_table, list_runs
from tests.helpers.chats import JSON, list_messages, parse_events
from tests.helpers.client import ApiClient
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.database_lock import DatabaseLock
from tests.helpers.process import FakeLlm, ServerProcess
from tests.helpers.streams import ChatServer, ChatStream
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver

pytestmark = pytest.mark.sqlite


@pytest.fixture
def actions(tmp_path: Path, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECRET", SECRET)
    path = tmp_path / "actions.toml"
    path.write_text(action_table("held", f"{receiver.url}/held"))
    return path


class TestApp:
    """Requests to an app while the database is locked, with short timeouts."""

    @pytest.fixture
    def settings(
        self, settings: dict[str, Any], fake_llm: FakeLlm, actions: Path, monkeypatch: pytest.MonkeyPatch
    ) -> dict[str, Any]:
        for module, name in ((sqlite, "WRITE_LOCK_TIMEOUT"), (webhooks, "STORE_TIMEOUT"), (chat, "STORE_TIMEOUT")):
            monkeypatch.setattr(module, name, 0.3)
        return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url, "PARLEY_ACTIONS_FILE": str(actions)}

    @pytest.fixture
    def lock(self, settings: dict[str, Any], app: Flask) -> Iterator[DatabaseLock]:
        with DatabaseLock(Path(settings["PARLEY_DATA_DIR"])) as lock:
            yield lock

    @pytest.fixture
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(4) as pool:
            yield pool

    @pytest.fixture
    def queue(self, app: Flask) -> RetryQueue:
        queue: RetryQueue = app.extensions["services"].retry_queue
        return queue

    @staticmethod
    def post_from_thread(app: Flask, owner: ApiClient, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        """Return the status of a response, and its JSON or its events."""
        try:
            response = ApiClient(app.test_client(), owner.token).post(path, body, **options)
            return response.status_code, response.get_json() if response.is_json else parse_events(response.data)
        finally:
            db.close()

    def start_run(
        self, pool: ThreadPoolExecutor, app: Flask, owner: ApiClient, session: dict[str, Any]
    ) -> Future[tuple[int, Any]]:
        return pool.submit(self.post_from_thread, app, owner, f"/api/sessions/{session['id']}/actions/held", {})

    def test_run_is_stored_later(
        self, pool: ThreadPoolExecutor, app: Flask, owner: ApiClient, receiver: WebhookReceiver, lock: DatabaseLock
    ) -> None:
        session = owner.session()
        call = self.start_run(pool, app, owner, session)
        receiver.wait_for_call()
        lock.acquire()
        receiver.release.set()
        status, run = call.result(20)
        assert (status, run["status"], run["finished_at"]) == (201, "running", None)
        assert list_runs(owner, session) == [run]
        lock.release()
        (ended,) = wait_until(lambda: [run for run in list_runs(owner, session) if run["status"] != "running"])
        assert (ended["status"], ended["response_body"], ended["id"]) == ("succeeded", "well", run["id"])
        assert ended["started_at"] <= ended["finished_at"]

    @pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
    def test_chat_is_stored_later(
        self,
        pool: ThreadPoolExecutor,
        app: Flask,
        owner: ApiClient,
        fake_llm: FakeLlm,
        lock: DatabaseLock,
        accept: str,
    ) -> None:
        session = owner.session()
        path, body = f"/api/sessions/{session['id']}/chat", {"content": "say well\nhold"}
        headers = {"Accept": accept, "Idempotency-Key": accept}
        calls = len(fake_llm.calls())
        call = pool.submit(self.post_from_thread, app, owner, path, body, headers=headers)
        wait_until(lambda: len(fake_llm.calls()) > calls)
        lock.acquire()
        fake_llm.release()
        status, result = call.result(20)
        if accept == "application/json":
            assert (status, result["error"]) == (503, "database_busy")
        else:
            assert result[-1] == ("error", {"error": "database_busy"})
        again = owner.post(path, body, headers=headers)  # the message is yet to be stored
        assert (again.status_code, again.get_json()) == (409, {"error": "conflict"})
        assert owner.post(path, {"content": "another"}).status_code == 409
        lock.release()
        replies = wait_until(lambda: list_messages(owner, session)[1:])
        assert [(reply["content"], reply["metadata"]["finish_reason"]) for reply in replies] == [("well", "stop")]
        again = owner.post(path, body, headers={"Accept": "application/json", "Idempotency-Key": accept})
        assert (again.status_code, again.get_json()["messages"][1:]) == (201, replies)
        wait_until(lambda: not app.extensions["services"].chats.active)
        assert owner.post(path, {"content": "x"}, headers=JSON).status_code == 201

    def test_answer_is_whole_if_the_client_disconnects_before_it_is_stored(
        self,
        pool: ThreadPoolExecutor,
        app: Flask,
        owner: ApiClient,
        fake_llm: FakeLlm,
        lock: DatabaseLock,
        queue: RetryQueue,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(chat, "STORE_TIMEOUT", 30)
        session, disconnected, calls = owner.session(), Event(), len(fake_llm.calls())
        chats = app.extensions["services"].chats

        def stream() -> bytes:
            db.ensure_connection()
            content = "say well\nhold"
            reader = chats.start(owner.user_id, session["id"], content, "{}", disconnected.is_set, lambda message: None)
            try:
                return b"".join(reader.events())
            finally:
                reader.close()
                db.close()

        call = pool.submit(stream)
        wait_until(lambda: len(fake_llm.calls()) > calls)
        lock.acquire()
        fake_llm.release()
        wait_until(lambda: len(queue) == 1)
        assert not call.done()
        disconnected.set()
        call.result(20)
        assert chats.active == 1
        lock.release()
        (reply,) = wait_until(lambda: list_messages(owner, session)[1:])
        assert (reply["content"], reply["metadata"]["finish_reason"]) == ("well", "stop")
        wait_until(lambda: not chats.active)

    def test_run_is_stored_in_time(
        self,
        pool: ThreadPoolExecutor,
        app: Flask,
        owner: ApiClient,
        receiver: WebhookReceiver,
        lock: DatabaseLock,
        queue: RetryQueue,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(webhooks, "STORE_TIMEOUT", 30)
        session = owner.session()
        call = self.start_run(pool, app, owner, session)
        receiver.wait_for_call()
        lock.acquire()
        receiver.release.set()
        wait_until(lambda: len(queue) == 1)
        assert not call.done()
        lock.release()
        status, run = call.result(20)
        assert (status, run["status"]) == (201, "succeeded")
        assert list_runs(owner, session) == [run]

    def test_closing_waits_for_the_queue(
        self,
        pool: ThreadPoolExecutor,
        app: Flask,
        owner: ApiClient,
        receiver: WebhookReceiver,
        lock: DatabaseLock,
        queue: RetryQueue,
    ) -> None:
        session = owner.session()
        call = self.start_run(pool, app, owner, session)
        receiver.wait_for_call()
        lock.acquire()
        receiver.release.set()
        assert call.result(20)[1]["status"] == "running"
        timer = Timer(1, lock.release)
        timer.start()
        queue.close()
        timer.join()
        (run,) = list_runs(owner, session)
        assert run["status"] == "succeeded"

    def test_closing_ends_after_the_flush_timeout(
        self, lock: DatabaseLock, queue: RetryQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retry_queue, "FLUSH_TIMEOUT", 0.5)

        def write() -> None:
            with db.write_transaction():
                pass

        lock.acquire()
        written = queue.run(write)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(queue.close).result(60)
        assert not written.done()
        lock.release()
        written.result(20)


@pytest.mark.slow
class TestServer:
    """A real server whose database is locked as a chat and a webhook run end."""

    @pytest.mark.parametrize("seconds", [7, 18])
    @pytest.mark.parametrize("stopped", [False, True])
    def test_ends_are_stored_when_the_database_is_unlocked(
        self,
        tmp_path: Path,
        fake_llm: FakeLlm,
        receiver: WebhookReceiver,
        actions: Path,
        seconds: int,
        stopped: bool,
    ) -> None:
        folder = DataFolder(tmp_path / "data")
        (token,) = folder.tokens
        with (
            ChatServer(folder, LLM_BASE_URL=fake_llm.url, ACTIONS_FILE=actions) as server,
            DatabaseLock(folder.path) as lock,
        ):
            fired_from, session = server.create_session(token), server.create_session(token)
            with (
                closing(send_fire(server, token, fired_from)) as call,
                closing(ChatStream(server, token, session, "say a", "hold", "say b")) as stream,
            ):
                stream.begin()
                assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
                receiver.wait_for_call()
                lock.acquire()
                receiver.release.set()
                fake_llm.release()
                timer = Timer(seconds, lock.release)
                timer.start()
                call.settimeout(60)
                stream.socket.settimeout(60)
                if stopped:
                    time.sleep(3)
                    server.process.send_signal(signal.SIGTERM)
                events, silence = rest_of(stream)
                status, run = read_response(call)
                timer.join()
                assert silence < 15  # the contract's own
                assert status == 201
                if seconds == 7:
                    assert run["status"] == "succeeded"
                    assert [name for name, _ in events] == ["delta", "message", "done"]
                else:
                    assert run["status"] == "running"
                    assert [name for name, _ in events] == ["delta", "error"]
                    assert events[-1][1] == {"error": "database_busy"}
                if stopped:
                    assert server.process.wait(30) == 0
                else:
                    wait_until(lambda: server.list_runs(token, fired_from)[0]["status"] == "succeeded")
                    wait_until(lambda: len(server.list_messages(token, session)) == 2)
            server.stop()
        with ChatServer(folder, LLM_BASE_URL=fake_llm.url, ACTIONS_FILE=actions) as server:
            (run,) = server.list_runs(token, fired_from)
            assert (run["status"], run["response_body"]) == ("succeeded", "well")
            assert run["duration_ms"] < seconds * 1_000  # of the call, without the wait for the database
            _, reply = server.list_messages(token, session)
            assert (reply["content"], reply["metadata"]["finish_reason"]) == ("ab", "stop")
            assert "Traceback" not in server.log.read_text()


def send_fire(server: ServerProcess, token: str, session_id: str) -> Any:
    """Fire the action and return the connection of the response."""
    connection = server.connect()
    head = f"POST /api/sessions/{session_id}/actions/held HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    connection.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
    return connection


def read_response(connection: Any) -> tuple[int, Any]:
    response = HTTPResponse(connection)
    response.begin()
    with response:
        return response.status, json.loads(response.read())


def rest_of(stream: ChatStream) -> tuple[list[tuple[str, Any]], float]:
    """Wait for the end of a stream; return its events, and its longest silence in seconds."""
    silence, last, body = 0.0, time.monotonic(), b""
    while line := stream.response.readline():
        silence, last, body = max(silence, time.monotonic() - last), time.monotonic(), body + line
    return parse_events(body), silence
