"""How many chats there may be, and that they do not delay other requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.process import FakeLlm
from tests.helpers.streams import ChatServer, ChatStream

USERS = 22  # three chats each are 66, two above the limit


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return DataFolder(tmp_path_factory.mktemp("users") / "data", USERS)


@pytest.fixture
def server(users: DataFolder, tmp_path: Path, fake_llm: FakeLlm) -> Iterator[ChatServer]:
    with ChatServer(users.copy(tmp_path / "data"), LLM_BASE_URL=fake_llm.url) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def test_a_session_has_one_chat_and_a_user_three(server: ChatServer) -> None:
    token, another = server.tokens[:2]
    sessions = [server.create_session(token) for _ in range(4)]
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(ChatStream(server, token, session, "wait 60"))) for session in sessions[:3]
        ]
        for stream in streams:
            assert stream.begin().status == 200
            assert stream.next_event()[0] == "message"
        for session, status, code in ((sessions[0], 409, "conflict"), (sessions[3], 503, "too_many_streams")):
            path = f"/api/sessions/{session}/chat"
            rejected, body, headers = server.request("POST", path, {"content": "x"}, token)
            assert (rejected, body) == (status, {"error": code})
            assert ("Retry-After" in headers) is (status == 503)
        assert [len(server.list_messages(token, session)) for session in sessions] == [1, 1, 1, 0]
        with closing(ChatStream(server, another, server.create_session(another), "say x")) as stream:
            assert stream.begin().status == 200
    chat = (f"/api/sessions/{sessions[3]}/chat", {"content": "x"}, token)
    assert server.request("POST", *chat)[0] == 503  # the clients are gone, the chats are not
    assert server.stop_chat(token, sessions[0]) == 204
    assert server.request("POST", *chat)[0] == 200


def test_other_requests_are_served_while_all_slots_are_in_use(server: ChatServer) -> None:
    chats = [(token, server.create_session(token)) for token in server.tokens for _ in range(3)]
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(ChatStream(server, token, session, "say x", "wait 60")))
            for token, session in chats[:64]
        ]
        for stream in streams:
            assert stream.begin().status == 200
            assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
        token, session = chats[64]
        rejected, body, headers = server.request("POST", f"/api/sessions/{session}/chat", {"content": "x"}, token)
        assert (rejected, body, headers["Retry-After"]) == (503, {"error": "too_many_streams"}, "5")
        assert server.request("GET", "/healthz")[0] == 200
        assert len(server.request("GET", "/api/sessions", None, token)[1]["items"]) >= 1
        assert server.request("POST", "/api/sessions", {}, token)[0] == 201
        login = server.request("POST", "/api/auth/login", {"username": "nobody", "password": "x"})
        assert login[0] == 401
        document: dict[str, Any] = {"session": {}, "messages": []}
        assert server.request("POST", "/api/sessions/import", document, token)[0] == 201
        assert server.stop_chat(*chats[0]) == 204
        assert server.request("POST", f"/api/sessions/{session}/chat", {"content": "hello"}, token)[0] == 200


def test_a_user_may_attach_eight_times(server: ChatServer) -> None:
    token, another = server.tokens[:2]
    session, others = server.create_session(token), server.create_session(another)
    path = f"/api/sessions/{session}/chat"
    with ExitStack() as stack:
        for user, its_session in ((token, session), (another, others)):
            stream = stack.enter_context(closing(ChatStream(server, user, its_session, "say x", "wait 60")))
            assert stream.begin().status == 200
            assert stream.next_event()[0] == "message"
        attached = [stack.enter_context(closing(ChatStream.attach(server, token, session))) for _ in range(8)]
        for stream in attached:
            assert stream.begin().status == 200
            assert stream.next_event()[0] == "message"
        for accept in ("text/event-stream", "application/json"):
            rejected, body, headers = server.request("GET", path, None, token, {"Accept": accept})
            assert (rejected, body, headers["Retry-After"]) == (503, {"error": "too_many_streams"}, "5")
        with closing(ChatStream.attach(server, another, others)) as stream:
            assert stream.begin().status == 200
        attached[0].close()
        wait_until(lambda: attach_status(server, token, session) == 200)
        assert server.stop_chat(token, session) == 204


def attach_status(server: ChatServer, token: str, session_id: str) -> int:
    with closing(ChatStream.attach(server, token, session_id)) as stream:
        return stream.begin().status


def test_a_chat_delays_no_request_however_its_path_is_written(server: ChatServer) -> None:
    token = server.tokens[0]
    for before in ("/", "//", "http://parley"):
        path = f"{before}/api/sessions/{server.create_session(token)}/chat"
        with closing(ChatStream(server, token, "", "say x", "wait 60", path=path)) as stream:
            assert stream.begin().status == 200
            assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
            assert server.request("POST", "/api/sessions", {}, token)[0] == 201
