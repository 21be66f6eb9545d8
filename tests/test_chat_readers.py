"""A chat and its readers on a real server: it outlives them, others attach to it, and none depends on another."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.helpers.chats import parse_events
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.process import FakeLlm
from tests.helpers.streams import ChatServer, ChatStream, first_disconnect, text_of

SSE, JSON = "text/event-stream", "application/json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fake_llm: FakeLlm) -> Iterator[ChatServer]:
    with ChatServer(DataFolder(tmp_path_factory.mktemp("readers") / "data", 9), LLM_BASE_URL=fake_llm.url) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("accept", [SSE, JSON])
@pytest.mark.parametrize(
    "script",
    [["wait 1", "say all"], ["say all", "wait 1"], ["repeat 10 0.1 all"]],
    ids=["silent", "stalled", "busy"],
)
def test_a_chat_goes_on_without_its_client(
    server: ChatServer, fake_llm: FakeLlm, script: list[str], accept: str
) -> None:
    token = server.tokens[0]
    session = server.create_session(token)
    calls = len(fake_llm.calls())
    with closing(ChatStream(server, token, session, *script, accept=accept)):
        wait_until(lambda: len(fake_llm.calls()) > calls)
        time.sleep(0.2)
    answer = server.await_answer(token, session)
    assert (answer["content"], answer["metadata"]["finish_reason"]) == (
        "all" * (10 if "repeat" in script[0] else 1),
        "stop",
    )
    assert not first_disconnect(fake_llm, calls)
    path = f"/api/sessions/{session}/chat"
    wait_until(lambda: server.request("GET", path, None, token)[:2] == (404, {"error": "chat_not_found"}))


def test_attached_reader_sees_all_of_it_once(server: ChatServer, fake_llm: FakeLlm) -> None:
    token = server.tokens[1]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "say a", "say b", "hold", "say c", "hold", "say d")) as stream:
        stream.begin()
        first = [stream.next_event() for _ in range(3)]
        with closing(ChatStream.attach(server, token, session)) as attached:
            response = attached.begin()
            assert (response.status, response.headers["Content-Type"]) == (200, f"{SSE}; charset=utf-8")
            question = attached.next_event()
            assert question == first[0]
            assert attached.next_event() == ("delta", {"content": "ab"})
            fake_llm.release()
            rest = [attached.next_event()]
            fake_llm.release()
            rest += attached.events()
        assert rest == stream.events()
    assert [name for name, _ in rest] == ["delta", "delta", "message", "done"]
    assert [data for name, data in (question, rest[-2])] == server.list_messages(token, session)


def test_attached_reader_of_a_silent_chat_gets_the_question_first(server: ChatServer, fake_llm: FakeLlm) -> None:
    token = server.tokens[1]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "hold", "say x")) as stream:
        stream.begin()
        question = stream.next_event()
        with closing(ChatStream.attach(server, token, session)) as attached:
            attached.begin()
            assert attached.next_event() == question
            fake_llm.release()
            assert attached.events() == stream.events()


@pytest.mark.slow
def test_readers_that_attach_at_any_time_see_the_same_text(server: ChatServer) -> None:
    """Also the last of them, which attach as it ends, or too late."""
    token = server.tokens[2]
    session = server.create_session(token)
    words = " ".join(f"w{number}" for number in range(10))

    def attach(delay: float) -> tuple[int, list[tuple[str, Any]]]:
        time.sleep(delay)
        with closing(ChatStream.attach(server, token, session)) as stream:
            status = stream.begin().status
            body = stream.response.read()
            return status, parse_events(body) if status == 200 else []

    with (
        ThreadPoolExecutor(8) as pool,
        closing(ChatStream(server, token, session, f"repeat 50 0.02 {words}")) as stream,
    ):
        stream.begin()
        expected = [stream.next_event()]
        attached = [pool.submit(attach, 0.15 * number) for number in range(8)]
        expected += stream.events()
    (_, answer) = server.list_messages(token, session)
    assert text_of(expected) == answer["content"] == words * 50
    for status, events in (future.result(20) for future in attached):
        if status == 404:
            continue
        assert text_of(events) == answer["content"]
        assert [event for event in events if event[0] != "delta"] == [expected[0], ("message", answer), ("done", {})]
    assert attached[0].result()[0] == 200


@pytest.mark.parametrize(("end", "status", "code"), [((), 200, None), (("error",), 502, "upstream_error")])
def test_attached_json_client_gets_both_messages(
    server: ChatServer, fake_llm: FakeLlm, end: tuple[str, ...], status: int, code: str | None
) -> None:
    token = server.tokens[3]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "say x", "hold", *end)) as stream:
        stream.begin().readline()
        with closing(ChatStream.attach(server, token, session, accept=JSON)) as attached:
            time.sleep(0.5)  # it gets nothing before the end by which one could tell that it is attached
            fake_llm.release()
            response = attached.begin()
            body = json.loads(response.read())
    messages = server.list_messages(token, session)
    assert len(messages) == 2
    expected = {"error": code, "details": {"messages": messages}} if code else {"messages": messages}
    assert (response.status, body) == (status, expected)


@pytest.mark.slow
def test_a_reader_that_does_not_read_holds_nobody_up(server: ChatServer, fake_llm: FakeLlm) -> None:
    token = server.tokens[4]
    session = server.create_session(token)
    text = "x" * 24  # a megabyte of events
    with ExitStack() as stack:
        stream = stack.enter_context(closing(ChatStream(server, token, session, f"repeat 2000 0.0005 {text}", "hold")))
        stalled = [stack.enter_context(closing(ChatStream.attach(server, token, session))) for _ in range(3)]
        time.sleep(0.5)
        with closing(ChatStream.attach(server, token, session)) as attached:
            attached.begin()
            fake_llm.release()
            assert text_of(attached.events()) == text * 2_000
        stream.begin()
        assert text_of(stream.events()) == text * 2_000
        for late in stalled:
            if late.begin().status == 200:
                assert text_of(late.events()) == text * 2_000
        assert server.await_answer(token, session)["content"] == text * 2_000


def test_attached_clients_that_leave_end_nothing(server: ChatServer, fake_llm: FakeLlm) -> None:
    token = server.tokens[5]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "say x", "hold", "say y")) as stream:
        stream.begin().readline()
        for accept in (SSE, JSON):
            ChatStream.attach(server, token, session, accept=accept).close()
        fake_llm.release()
        assert text_of(stream.events()) == "xy"


def test_nobody_else_can_attach_or_stop(server: ChatServer) -> None:
    token, other = server.tokens[6:8]
    session = server.create_session(token)
    path = f"/api/sessions/{session}/chat"
    with closing(ChatStream(server, token, session, "say x", "wait 60")) as stream:
        stream.begin().readline()
        for method in ("GET", "DELETE"):
            assert server.request(method, path, None, other)[:2] == (404, {"error": "session_not_found"})
        assert server.stop_chat(token, session) == 204
        assert stream.events()[-1] == ("done", {})
    for method in ("GET", "DELETE"):
        assert server.request(method, path, None, token)[:2] == (404, {"error": "chat_not_found"})


@pytest.mark.slow
def test_comments_keep_an_attached_stream_alive(server: ChatServer) -> None:
    token = server.tokens[8]
    session = server.create_session(token)
    with closing(ChatStream(server, token, session, "wait 15", "say x")) as stream:
        stream.begin().readline()
        with closing(ChatStream.attach(server, token, session)) as attached:
            body = attached.begin().read()
    assert re.findall(rb"^(?:event: \w+|:)", body, re.MULTILINE) == [
        b"event: message",
        b":",
        b"event: delta",
        b"event: message",
        b"event: done",
    ]


def test_session_says_whether_there_is_a_chat_to_attach_to(server: ChatServer) -> None:
    token = server.tokens[1]
    session = server.create_session(token)
    path = f"/api/sessions/{session}?messages=false"
    with closing(ChatStream(server, token, session, "say half", "wait 60")) as stream:
        stream.begin()
        assert server.request("GET", path, None, token)[2]["Parley-Chat"] == "in-progress"
        server.request("DELETE", f"/api/sessions/{session}/chat", None, token)
    assert "Parley-Chat" not in server.request("GET", path, None, token)[2]
