"""Chats and webhooks on a real server: clients that leave, processes that die, many at once."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from database import db
from tests.helpers.client import SECRET, add_user
from tests.helpers.process import FakeLlm, ServerProcess
from tests.helpers.webhook_receiver import SECRET as WEBHOOK_SECRET
from tests.helpers.webhook_receiver import WebhookReceiver
from tests.test_actions import write_actions

USERS = 22  # three chats each make 66


class Home:
    """A data folder with users in it, and a token of each."""

    def __init__(self, data: Path):
        self.data = data
        app = create_app({"PARLEY_DATA_DIR": str(data), "PARLEY_JWT_SECRET_KEY": SECRET, "PARLEY_LOG_LEVEL": "ERROR"})
        self.tokens = [str(add_user(app, f"user {number}").token) for number in range(USERS)]
        db.close()

    def served(self, **settings: Any) -> ServerProcess:
        return ServerProcess(self.data, JWT_SECRET_KEY=SECRET, **settings)


class Stream:
    """A chat as a client sees it, event by event."""

    def __init__(
        self,
        server: ServerProcess,
        token: str,
        session: str,
        *script: str,
        accept: str = "text/event-stream",
        path: str | None = None,
        key: str | None = None,
    ):
        self.socket = server.connect()
        path = path or f"/api/sessions/{session}/chat"
        body = json.dumps({"content": "\n".join(script)}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: parley\r\nAuthorization: Bearer {token}\r\n"
        head += f"Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        head = head.replace("\r\n", f"\r\nIdempotency-Key: {key}\r\n", 1) if key else head
        self.socket.sendall(head.encode() + body)

    def begin(self) -> HTTPResponse:
        """Await the answer's head and return it."""
        self.response = HTTPResponse(self.socket)
        self.response.begin()
        return self.response

    def event(self) -> tuple[str, Any]:
        """Await the next event."""
        while not (line := self.response.readline()).startswith(b"event: "):
            assert line, "the stream has ended"
        return line[7:].strip().decode(), json.loads(self.response.readline()[6:])

    def events(self) -> list[tuple[str, Any]]:
        """Await all events that are left."""
        found = re.findall(rb"event: (.*)\ndata: (.*)\n\n", self.response.read())
        return [(name.decode(), json.loads(data)) for name, data in found]

    def close(self) -> None:
        if hasattr(self, "response"):
            self.response.close()
        self.socket.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "data")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, fake_llm: FakeLlm) -> Iterator[tuple[ServerProcess, Home]]:
    home = Home(tmp_path_factory.mktemp("streams") / "data")
    with home.served(LLM_BASE_URL=fake_llm.url) as server:
        yield server, home
        assert "Traceback" not in server.log.read_text()


def new_session(server: ServerProcess, token: str) -> str:
    return str(server.request("POST", "/api/sessions", {}, token)[1]["id"])


def messages(server: ServerProcess, token: str, session: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.request("GET", f"/api/sessions/{session}", None, token)[1]["messages"]
    return found


def awaited(look: Callable[[], Any], seconds: float = 5) -> Any:
    """Return what ``look`` finds as soon as it finds anything."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def test_each_event_comes_when_it_happens(shared: tuple[ServerProcess, Home]) -> None:
    server, home = shared
    session = new_session(server, home.tokens[0])
    with closing(Stream(server, home.tokens[0], session, "say one", "wait 0.3", "say two", "wait 0.3")) as stream:
        assert stream.begin().headers["Content-Type"].startswith("text/event-stream")
        assert stream.event()[0] == "message"
        assert messages(server, home.tokens[0], session)[0]["role"] == "user"
        assert stream.event() == ("delta", {"content": "one"})
        assert len(messages(server, home.tokens[0], session)) == 1
        assert [name for name, _ in stream.events()] == ["delta", "message", "done"]
    assert [each["content"] for each in messages(server, home.tokens[0], session)][1:] == ["onetwo"]


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
@pytest.mark.parametrize(
    "script",
    [["wait 30"], ["say half", "wait 30"], ["say half", "repeat 1000 0.05 !"]],
    ids=["silent", "stalled", "busy"],
)
def test_a_client_that_leaves_ends_the_chat(
    shared: tuple[ServerProcess, Home], fake_llm: FakeLlm, script: list[str], accept: str
) -> None:
    server, home = shared
    token = home.tokens[1]
    session = new_session(server, token)
    asked = len(fake_llm.calls())
    with closing(Stream(server, token, session, *script, accept=accept)):
        assert awaited(lambda: len(fake_llm.calls()) > asked)
        time.sleep(0.2)
    left = time.time()
    call = awaited(lambda: next((call for call in fake_llm.calls()[asked:] if call["left"]), None))
    assert call["left"] - left < 1  # the contract's own second
    if len(script) > 1:
        reply = awaited(lambda: messages(server, token, session)[1:])[0]
        assert reply["content"].startswith("half")
        assert reply["metadata"]["finish_reason"] == "interrupted"
    # Its place is free again, as soon as that is stored.
    chat = (f"/api/sessions/{session}/chat", {"content": "say well"}, token, {"Accept": "application/json"})
    assert awaited(lambda: server.request("POST", *chat)[0] == 201)


def test_one_chat_at_a_time_in_a_session_and_three_of_a_user(shared: tuple[ServerProcess, Home]) -> None:
    server, home = shared
    token = home.tokens[2]
    sessions = [new_session(server, token) for _ in range(4)]
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(Stream(server, token, session, "wait 30"))) for session in sessions[:3]]
        for stream in streams:
            assert stream.begin().status == 200
            assert stream.event()[0] == "message"
        for session, status, code in ((sessions[0], 409, "conflict"), (sessions[3], 503, "too_many_streams")):
            path = f"/api/sessions/{session}/chat"
            refused, body, headers = server.request("POST", path, {"content": "x"}, token)
            assert (refused, body) == (status, {"error": code})
            assert ("Retry-After" in headers) is (status == 503)
        assert [len(messages(server, token, session)) for session in sessions] == [1, 1, 1, 0]
        with closing(Stream(server, home.tokens[3], new_session(server, home.tokens[3]), "say x")) as another:
            assert another.begin().status == 200
    asked = (f"/api/sessions/{sessions[3]}/chat", {"content": "x"}, token)
    assert awaited(lambda: server.request("POST", *asked)[0] == 200)


def test_when_all_are_busy_the_rest_is_served(home: Home, fake_llm: FakeLlm) -> None:
    with home.served(LLM_BASE_URL=fake_llm.url) as server, ExitStack() as stack:
        chats = [(token, new_session(server, token)) for token in home.tokens for _ in range(3)]
        streams = [
            stack.enter_context(closing(Stream(server, token, session, "say x", "wait 30")))
            for token, session in chats[:64]
        ]
        for stream in streams:
            assert stream.begin().status == 200
            assert [stream.event()[0] for _ in range(2)] == ["message", "delta"]
        token, session = chats[64]
        refused, body, headers = server.request("POST", f"/api/sessions/{session}/chat", {"content": "x"}, token)
        assert (refused, body, headers["Retry-After"]) == (503, {"error": "too_many_streams"}, "5")
        assert server.request("GET", "/healthz")[0] == 200
        assert len(server.request("GET", "/api/sessions", None, token)[1]["items"]) >= 1
        assert server.request("POST", "/api/sessions", {}, token)[0] == 201
        login = server.request("POST", "/api/auth/login", {"username": "nobody", "password": "x"})
        assert login[0] == 401
        document: dict[str, Any] = {"session": {}, "messages": []}
        assert server.request("POST", "/api/sessions/import", document, token)[0] == 201
        stack.close()  # all of them leave
        asked = (f"/api/sessions/{session}/chat", {"content": "hello"}, token)
        assert awaited(lambda: server.request("POST", *asked)[0] == 200)


def test_a_process_that_is_killed_leaves_nothing_half_said(home: Home, fake_llm: FakeLlm) -> None:
    token = home.tokens[0]
    with home.served(LLM_BASE_URL=fake_llm.url) as server:
        begun, silent = new_session(server, token), new_session(server, token)
        script = ("say a ", "repeat 1000 0.1 b ")
        with (
            closing(Stream(server, token, begun, *script, key="k")) as stream,
            closing(Stream(server, token, silent, "wait 30")) as mute,
        ):
            stream.begin(), mute.begin()
            assert mute.event()[0] == "message"
            for _ in range(30):  # three seconds: past the first time that it is kept
                stream.event()
            server.stop(signal.SIGKILL)
    with home.served(LLM_BASE_URL=fake_llm.url) as server:
        question, reply = messages(server, token, begun)
        assert question["content"].startswith("say a")
        assert re.fullmatch(r"a (b ){10,}", reply["content"])
        assert (reply["role"], reply["metadata"]["finish_reason"]) == ("assistant", "interrupted")
        assert [each["role"] for each in messages(server, token, silent)] == ["user"]
        with closing(Stream(server, token, begun, *script, key="k")) as stream:
            stream.begin()
            said = ("delta", {"content": reply["content"]})
            assert stream.events() == [("message", question), said, ("error", {"error": "upstream_error"})]
        with closing(Stream(server, token, begun, *script, key="k", accept="application/json")) as stream:
            assert stream.begin().status == 502
            details = {"messages": [question, reply]}
            assert json.loads(stream.response.read()) == {"error": "upstream_error", "details": details}
        with closing(Stream(server, token, begun, "say well")) as stream:
            stream.begin()
            assert stream.events()[-1][0] == "done"
        assert server.stop() == 0


@pytest.mark.slow
def test_a_process_that_is_stopped_keeps_what_was_said(home: Home, fake_llm: FakeLlm) -> None:
    token = home.tokens[0]
    with home.served(LLM_BASE_URL=fake_llm.url) as server:
        long, short = new_session(server, token), new_session(server, token)
        with (
            closing(Stream(server, token, long, "say half", "wait 60")) as stream,
            closing(Stream(server, token, short, "say all", "wait 3")) as other,
        ):
            stream.begin(), other.begin()
            assert [stream.event()[0] for _ in range(2)] == ["message", "delta"]
            other.event()
            assert server.stop() == 0
            assert other.events()[-1][0] == "done"
    with home.served(LLM_BASE_URL=fake_llm.url) as server:
        assert [each["content"] for each in messages(server, token, long)[1:]] == ["half"]
        assert messages(server, token, long)[1]["metadata"]["finish_reason"] == "interrupted"
        assert "duration_ms" in messages(server, token, long)[1]["metadata"]  # stored when it ended, not afterwards
        assert messages(server, token, short)[1]["metadata"]["finish_reason"] == "stop"


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


def test_a_process_that_is_killed_while_a_webhook_runs(
    home: Home, receiver: WebhookReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", WEBHOOK_SECRET)
    path = write_actions(tmp_path / "actions.toml", receiver.url)
    path.write_text(path.read_text().replace("timeout = 0.5", "timeout = 10"))
    token = home.tokens[0]
    with home.served(ACTIONS_FILE=path) as server:
        session = new_session(server, token)
        target = f"/api/sessions/{session}/actions/slow-30"
        with closing(server.connect()) as connection:
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            connection.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
            receiver.await_call()
            (running,) = server.request("GET", f"/api/sessions/{session}/webhook-runs", None, token)[1]["items"]
            assert (running["status"], running["finished_at"]) == ("running", None)
            server.stop(signal.SIGKILL)
    with home.served(ACTIONS_FILE=path) as server:
        (run,) = server.request("GET", f"/api/sessions/{session}/webhook-runs", None, token)[1]["items"]
        assert run["status"] == "interrupted"
        assert run["id"] == running["id"] == receiver.received[0][1]["data"]["run_id"]
        assert server.request("POST", f"/api/sessions/{session}/actions/ok", {}, token)[1]["status"] == "succeeded"
        assert WEBHOOK_SECRET not in server.log.read_text()


def test_a_request_that_waits_behind_a_chat_on_its_connection_is_served(shared: tuple[ServerProcess, Home]) -> None:
    server, home = shared
    token = home.tokens[5]
    with closing(Stream(server, token, new_session(server, token), "say x", accept="application/json")) as stream:
        stream.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with stream.socket.makefile("rb") as answers:  # both may come at once: one buffer for the two
            both = answers.read()
    assert re.findall(rb"HTTP/1.1 (\d+) ", both) == [b"201", b"200"]
    assert both.endswith(b'{"status":"ok"}\n')


def test_a_client_that_leaves_with_another_request_unread(
    shared: tuple[ServerProcess, Home], fake_llm: FakeLlm
) -> None:
    server, home = shared
    token = home.tokens[7]
    asked = len(fake_llm.calls())
    with closing(Stream(server, token, new_session(server, token), "wait 30", accept="application/json")) as stream:
        assert awaited(lambda: len(fake_llm.calls()) > asked)
        stream.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        time.sleep(0.2)
    left = time.time()
    call = awaited(lambda: next((call for call in fake_llm.calls()[asked:] if call["left"]), None))
    assert call["left"] - left < 1


def test_a_session_that_is_deleted_under_a_silent_chat(shared: tuple[ServerProcess, Home], fake_llm: FakeLlm) -> None:
    server, home = shared
    token = home.tokens[8]
    session = new_session(server, token)
    with closing(Stream(server, token, session, "wait 30")) as stream:
        stream.begin()
        assert server.request("DELETE", f"/api/sessions/{session}", None, token)[0] == 204
        assert stream.events()[-1] == ("error", {"error": "session_not_found"})


@pytest.mark.parametrize("before", ["/", "//", "http://parley"])
def test_however_its_path_is_written_a_chat_keeps_nobody_waiting(
    shared: tuple[ServerProcess, Home], before: str
) -> None:
    server, home = shared
    token = home.tokens[9]
    path = f"{before}/api/sessions/{new_session(server, token)}/chat"
    with closing(Stream(server, token, "", "say x", "wait 30", path=path)) as stream:
        assert stream.begin().status == 200
        assert [stream.event()[0] for _ in range(2)] == ["message", "delta"]
        assert server.request("POST", "/api/sessions", {}, token)[0] == 201


@pytest.mark.slow
def test_what_comes_behind_a_request_does_not_end_its_chat(shared: tuple[ServerProcess, Home]) -> None:
    server, home = shared
    token = home.tokens[10]
    with closing(Stream(server, token, new_session(server, token), "say x", "wait 70", "say y")) as stream:
        stream.socket.settimeout(90)
        stream.socket.sendall(b"\r\nGET /heal")  # a head must come within a minute
        stream.begin()
        assert stream.events()[-1][0] == "done"


def test_a_client_that_only_stops_sending_is_one_that_has_left(
    shared: tuple[ServerProcess, Home], fake_llm: FakeLlm
) -> None:
    """The two cannot be told apart before something is sent, which may be long after."""
    server, home = shared
    token = home.tokens[6]
    asked = len(fake_llm.calls())
    with closing(Stream(server, token, new_session(server, token), "wait 30")) as stream:
        stream.begin()
        assert awaited(lambda: len(fake_llm.calls()) > asked)  # before that there would be nothing to end
        stream.socket.shutdown(socket.SHUT_WR)
        assert awaited(lambda: [call for call in fake_llm.calls()[asked:] if call["left"]])
