"""Streams on a real server: events as they happen, deletions, other requests on the same connection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.process import PASSWORD, FakeLlm, create_user, run_flask
from tests.helpers.streams import ChatServer, ChatStream, first_disconnect


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fake_llm: FakeLlm) -> Iterator[ChatServer]:
    folder = DataFolder(tmp_path_factory.mktemp("streams") / "data", users=11)
    with ChatServer(folder, LLM_BASE_URL=fake_llm.url) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def test_events_are_sent_as_they_happen(server: ChatServer, fake_llm: FakeLlm) -> None:
    token = server.tokens[0]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "say one", "hold", "say two")) as stream:
        assert stream.begin().headers["Content-Type"].startswith("text/event-stream")
        assert stream.next_event()[0] == "message"
        assert server.list_messages(token, session)[0]["role"] == "user"
        assert stream.next_event() == ("delta", {"content": "one"})
        assert len(server.list_messages(token, session)) == 1
        fake_llm.release()
        assert [name for name, _ in stream.events()] == ["delta", "message", "done"]
    assert [message["content"] for message in server.list_messages(token, session)][1:] == ["onetwo"]


@pytest.mark.slow
def test_deleting_the_user_ends_a_silent_chat(server: ChatServer, fake_llm: FakeLlm) -> None:
    create_user(server.data, "leaving")
    login = {"username": "leaving", "password": PASSWORD}
    token = server.request("POST", "/api/auth/login", login)[1]["access_token"]
    calls = len(fake_llm.calls())
    with closing(ChatStream(server, token, server.create_session(token), "say x", "wait 60")) as stream:
        stream.begin()
        assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
        assert run_flask(server.data, "users", "remove", "leaving", "--yes").returncode == 0
        assert stream.events()[-1] == ("error", {"error": "session_not_found"})
    wait_until(lambda: first_disconnect(fake_llm, calls))


def test_deleting_the_session_ends_a_silent_chat(server: ChatServer) -> None:
    token = server.tokens[8]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "wait 60")) as stream:
        stream.begin()
        assert server.request("DELETE", f"/api/sessions/{session}", None, token)[0] == 204
        assert stream.events()[-1] == ("error", {"error": "session_not_found"})


def test_pipelined_request_is_served_after_the_chat(server: ChatServer) -> None:
    token = server.tokens[5]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "say x", accept="application/json")) as stream:
        stream.socket.settimeout(120)  # only a hang takes as long
        stream.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with stream.socket.makefile("rb") as responses:  # both may come at once: one buffer for the two
            both = responses.read()
    assert re.findall(rb"HTTP/1.1 (\d+) ", both) == [b"201", b"200"]
    assert both.endswith(b'{"status":"ok"}\n')


@pytest.mark.slow
def test_unfinished_pipelined_request_does_not_end_the_chat(server: ChatServer) -> None:
    token = server.tokens[10]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "say x", "wait 70", "say y")) as stream:
        stream.socket.settimeout(120)
        stream.socket.sendall(b"\r\nGET /heal")  # a header must come within a minute
        stream.begin()
        assert stream.events()[-1][0] == "done"
