"""Stopping a chat: what had come is stored, its readers get the end, and it may be asked again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.process import FakeLlm
from tests.helpers.streams import ChatServer, ChatStream, first_disconnect, text_of

JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fake_llm: FakeLlm) -> Iterator[ChatServer]:
    with ChatServer(DataFolder(tmp_path_factory.mktemp("stop") / "data", 4), LLM_BASE_URL=fake_llm.url) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def test_what_had_come_is_stored_before_the_response(server: ChatServer, fake_llm: FakeLlm) -> None:
    token = server.tokens[0]
    session = server.create_session(token)
    calls = len(fake_llm.calls())
    with closing(ChatStream(server, token, session, "say half", "wait 60")) as stream:
        stream.begin()
        begun = [stream.next_event() for _ in range(2)]
        with closing(ChatStream.attach(server, token, session)) as attached:
            attached.begin()
            assert [attached.next_event() for _ in range(2)] == begun
            assert server.stop_chat(token, session) == 204
            question, answer = server.list_messages(token, session)
            assert stream.events() == attached.events() == [("message", answer), ("done", {})]
    assert begun[0] == ("message", question)
    assert (answer["role"], answer["content"]) == ("assistant", "half")
    assert answer["metadata"]["finish_reason"] == "stopped"
    assert type(answer["metadata"]["duration_ms"]) is int
    wait_until(lambda: first_disconnect(fake_llm, calls))


def test_a_chat_that_is_stopped_before_its_first_delta_has_no_answer(server: ChatServer) -> None:
    token = server.tokens[0]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "wait 60")) as stream:
        stream.begin()
        assert stream.next_event()[0] == "message"
        assert server.stop_chat(token, session) == 204
        assert stream.events() == [("done", {})]
    assert [message["role"] for message in server.list_messages(token, session)] == ["user"]


@pytest.mark.parametrize(("script", "answers"), [("say half\nwait 60", ["half"]), ("wait 60", [])])
def test_json_clients_get_what_is_stored(
    server: ChatServer, fake_llm: FakeLlm, script: str, answers: list[str]
) -> None:
    token = server.tokens[1]
    session = server.create_session(token)
    path = f"/api/sessions/{session}/chat"
    calls = len(fake_llm.calls())
    with ThreadPoolExecutor(2) as pool:
        started = pool.submit(server.request, "POST", path, {"content": script}, token, JSON)
        wait_until(lambda: len(fake_llm.calls()) > calls)
        attached = pool.submit(server.request, "GET", path, None, token, JSON)
        time.sleep(0.5)
        assert server.stop_chat(token, session) == 204
        stored = {"messages": server.list_messages(token, session)}
        assert started.result(20)[:2] == (201, stored)
        assert attached.result(20)[:2] == (200, stored)
    assert [message["content"] for message in stored["messages"][1:]] == answers


def test_the_next_chat_can_start_at_once(server: ChatServer) -> None:
    token = server.tokens[2]
    session = server.create_session(token)
    for number in range(5):
        with closing(ChatStream(server, token, session, f"say {number}", "wait 60")) as stream:
            assert stream.begin().status == 200
            assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
            assert server.stop_chat(token, session) == 204
    contents = [message["content"] for message in server.list_messages(token, session)]
    assert contents[1::2] == ["0", "1", "2", "3", "4"]


def test_a_stop_that_meets_the_end_leaves_one_answer(server: ChatServer) -> None:
    """Whichever comes first; and of two stops at once."""
    token = server.tokens[3]
    outcomes = set()
    with ThreadPoolExecutor(2) as pool:
        for number in range(12):
            session = server.create_session(token)
            with closing(ChatStream(server, token, session, "say a", "wait 0.1", "say b")) as stream:
                stream.begin()
                assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
                time.sleep(0.085 + 0.003 * number)
                stops = [pool.submit(server.stop_chat, token, session) for _ in range(2)]
                events = stream.events()
            assert {stop.result(20) for stop in stops} <= {204, 404}
            _, answer = server.list_messages(token, session)
            assert events[-2:] == [("message", answer), ("done", {})]
            assert "a" + text_of(events) == answer["content"]
            outcomes.add((answer["content"], answer["metadata"]["finish_reason"]))
    assert outcomes <= {("a", "stopped"), ("ab", "stopped"), ("ab", "stop")}
