"""Chats of two real processes on one database: read and stopped from the other one, limited together, killed."""

from __future__ import annotations

import select
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from server.loop import THREADS_PER_CHAT
from tests.helpers.clock import wait_until
from tests.helpers.deployment import Deployment
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import FakeLlm, ServerProcess
from tests.helpers.streams import ChatStream, text_of

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

JSON = {"Accept": "application/json"}
THREADS = 2
MAX_CHATS = 64  # of a process, by default


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    with PostgresqlServer(tmp_path_factory.mktemp("chats") / "data", fsync="off") as postgresql:
        yield postgresql


@pytest.fixture
def deployment(postgresql: PostgresqlServer, tmp_path: Path) -> Deployment:
    return Deployment(postgresql, tmp_path / "deployment", users=8)


@pytest.fixture
def processes(deployment: Deployment, fake_llm: FakeLlm) -> Iterator[list[ServerProcess]]:
    with ExitStack() as stack:
        serve = partial(deployment.serve, LLM_BASE_URL=fake_llm.url, THREADS=THREADS)
        processes = [stack.enter_context(serve()) for _ in range(2)]
        yield processes
        for process in processes:
            assert "Traceback" not in process.log.read_text()


def create_session(server: ServerProcess, token: str) -> str:
    return str(server.request("POST", "/api/sessions", {}, token)[1]["id"])


def list_messages(server: ServerProcess, token: str, session: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = server.request("GET", f"/api/sessions/{session}", None, token)[1]["messages"]
    return messages


def is_in_progress(server: ServerProcess, token: str, session: str) -> bool:
    return "Parley-Chat" in server.request("GET", f"/api/sessions/{session}?messages=false", None, token)[2]


def start_status(server: ServerProcess, token: str, session: str, body: Any = None) -> int:
    """Start a chat and leave it; return the status."""
    with closing(ChatStream(server, token, session, "say x", "wait 60", body=body)) as stream:
        return stream.begin().status


def four_of_each(processes: list[ServerProcess]) -> list[ServerProcess]:
    """Return eight processes, in turn."""
    return processes * 4


def test_attach_and_stop_from_the_other_process(deployment: Deployment, processes: list[ServerProcess]) -> None:
    one, two = processes
    token = deployment.token
    session = create_session(one, token)
    path = f"/api/sessions/{session}/chat"
    with ExitStack() as stack:
        stream = stack.enter_context(closing(ChatStream(one, token, session, "say half", "wait 60")))
        stream.begin()
        begun = [stream.next_event() for _ in range(2)]
        assert is_in_progress(one, token, session)
        assert is_in_progress(two, token, session)
        assert two.request("POST", path, {"content": "x"}, token)[:2] == (409, {"error": "conflict"})
        assert two.request("GET", path, None, deployment.tokens[1])[:2] == (404, {"error": "session_not_found"})
        attached = [stack.enter_context(closing(ChatStream.attach(each, token, session))) for each in processes]
        for each in attached:
            each.begin()
            assert [each.next_event() for _ in range(2)] == begun
        pool = stack.enter_context(ThreadPoolExecutor(1))
        as_json = pool.submit(two.request, "GET", path, None, token, JSON)
        wait_until(lambda: deployment.execute("SELECT count(*) FROM retries")[0][0] == 2)  # both readers of the other
        assert two.request("DELETE", path, None, token)[0] == 204
        question, answer = list_messages(two, token, session)
        ends = [each.events() for each in (stream, *attached)]
        assert ends == [[("message", answer), ("done", {})]] * 3
        assert as_json.result(20)[:2] == (200, {"messages": [question, answer]})
    assert (answer["content"], answer["metadata"]["finish_reason"]) == ("half", "stopped")
    assert not is_in_progress(two, token, session)
    for method in ("GET", "DELETE"):
        assert two.request(method, path, None, token)[:2] == (404, {"error": "chat_not_found"})


def test_readers_of_the_other_process_see_all_of_it_once(
    deployment: Deployment, processes: list[ServerProcess]
) -> None:
    one, two = processes
    token = deployment.token
    session = create_session(one, token)
    words = " ".join(f"w{number}" for number in range(10))
    with ExitStack() as stack:
        stream = stack.enter_context(closing(ChatStream(one, token, session, f"repeat 50 0.1 {words}\N{SNOWMAN}")))
        stream.begin()
        begun = [stream.next_event() for _ in range(2)]
        attached = []
        for _ in range(4):
            attached.append(stack.enter_context(closing(ChatStream.attach(two, token, session))))
            begun += [stream.next_event() for _ in range(8)]
        events = begun + stream.events()
        for each in attached:
            each.begin()
            got = each.events()
            assert text_of(got) == text_of(events) == f"{words}\N{SNOWMAN}" * 50
            assert [event for event in got if event[0] != "delta"] == [event for event in events if event[0] != "delta"]


def test_of_chats_that_start_at_once_one_gets_a_session(deployment: Deployment, processes: list[ServerProcess]) -> None:
    with ThreadPoolExecutor(8) as pool:
        for token in deployment.tokens:
            session = create_session(processes[0], token)
            statuses = sorted(pool.map(start_status, four_of_each(processes), [token] * 8, [session] * 8))
            assert statuses == [200] + [409] * 7
            assert len(list_messages(processes[0], token, session)) == 1


def test_of_chats_that_start_at_once_three_are_a_users(deployment: Deployment, processes: list[ServerProcess]) -> None:
    with ThreadPoolExecutor(8) as pool:
        for token in deployment.tokens:
            sessions = [create_session(processes[0], token) for _ in range(8)]
            statuses = sorted(pool.map(start_status, four_of_each(processes), [token] * 8, sessions))
            assert statuses == [200] * 3 + [503] * 5
            assert sum(len(list_messages(processes[1], token, session)) for session in sessions) == 3


@pytest.fixture
def interrupted(deployment: Deployment, processes: list[ServerProcess]) -> Iterator[tuple[str, ChatStream, ChatStream]]:
    """A session, a chat in it in the first process whose first text is saved, and a reader in the other one."""
    one, two = processes
    session = create_session(one, deployment.token)
    script = ("say half", "wait 25", "say  and half")
    with ExitStack() as stack:
        stream = stack.enter_context(closing(ChatStream(one, deployment.token, session, *script)))
        stream.begin()
        assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
        attached = stack.enter_context(closing(ChatStream.attach(two, deployment.token, session)))
        attached.begin()
        assert [attached.next_event()[0] for _ in range(2)] == ["message", "delta"]
        yield session, stream, attached


def test_a_killed_process_leaves_its_answer_once_and_a_session_that_can_be_used(
    deployment: Deployment, processes: list[ServerProcess], interrupted: tuple[str, ChatStream, ChatStream]
) -> None:
    one, two = processes
    token, (session, _, attached) = deployment.token, interrupted
    unread = create_session(two, token)  # a chat that nobody reads or asks for
    with closing(ChatStream(one, token, unread, "say unread", "wait 60")) as stream:
        stream.begin()
        wait_until(lambda: deployment.execute("SELECT 1 FROM drafts WHERE content = 'unread'"))
        one.stop(signal.SIGKILL)
    assert start_status(two, token, session) == 409
    assert attached.events() == [("error", {"error": "upstream_error"})]
    _, answer = list_messages(two, token, session)
    assert (answer["content"], answer["metadata"]["finish_reason"]) == ("half", "interrupted")
    assert not is_in_progress(two, token, session)
    assert start_status(two, token, session, {"retry": True}) == 200
    assert two.request("DELETE", f"/api/sessions/{session}/chat", None, token)[0] == 204
    wait_until(lambda: len(list_messages(two, token, unread)) == 2)
    answer = list_messages(two, token, unread)[1]
    assert (answer["content"], answer["metadata"]["finish_reason"]) == ("unread", "interrupted")


def test_a_suspended_process_has_its_whole_answer_once(
    deployment: Deployment, processes: list[ServerProcess], interrupted: tuple[str, ChatStream, ChatStream]
) -> None:
    one, two = processes
    token, (session, stream, attached) = deployment.token, interrupted
    one.process.send_signal(signal.SIGSTOP)
    try:
        assert attached.events() == [("error", {"error": "upstream_error"})]
        (_, answer) = list_messages(two, token, session)
        assert (answer["content"], answer["metadata"]["finish_reason"]) == ("half", "interrupted")
        asked = start_status(two, token, session)
    finally:
        one.process.send_signal(signal.SIGCONT)
    rest = stream.events()
    assert two.request("DELETE", f"/api/sessions/{session}/chat", None, token)[0] == 204
    _, whole, *others = list_messages(two, token, session)
    assert rest == [("delta", {"content": " and half"}), ("message", whole), ("done", {})]
    assert (whole["id"], whole["content"], whole["metadata"]["finish_reason"]) == (
        answer["id"],
        "half and half",
        "stop",
    )
    assert asked == 200
    assert [message["content"] for message in others] == ["say x\nwait 60", "x"]


def test_a_restart_of_the_database_ends_no_chat(
    deployment: Deployment, processes: list[ServerProcess], fake_llm: FakeLlm
) -> None:
    one, two = processes
    token = deployment.token
    session = create_session(one, token)
    with ExitStack() as stack:
        stream = stack.enter_context(closing(ChatStream(one, token, session, "say one ", "wait 6", "say two")))
        stream.begin()
        begun = [stream.next_event() for _ in range(2)]
        attached = stack.enter_context(closing(ChatStream.attach(two, token, session)))
        attached.begin()
        assert [attached.next_event() for _ in range(2)] == begun
        deployment.postgresql.restart()
        rest = stream.events()
        assert attached.events() == rest
        assert text_of(begun + rest) == "one two"
        assert rest[-1] == ("done", {})
    assert [message["content"] for message in list_messages(two, token, session)][1:] == ["one two"]


@pytest.fixture
def many(deployment: Deployment, processes: list[ServerProcess]) -> Iterator[list[tuple[str, str]]]:
    """Chats in the first process, each with a reader in it and one in the other; token and session of each."""
    one, two = processes
    chats = [(token, create_session(one, token)) for token in deployment.tokens for _ in range(3)]
    with ExitStack() as stack:
        for token, session in chats:
            for open_stream in (
                partial(ChatStream, one, token, session, "say x", "wait 60"),
                partial(ChatStream.attach, two, token, session),
            ):
                stream: ChatStream = stack.enter_context(closing(open_stream()))
                assert stream.begin().status == 200
                assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
        yield chats


def test_readers_hold_no_connections(
    deployment: Deployment, processes: list[ServerProcess], many: list[tuple[str, str]]
) -> None:
    """More chats than the pool of a process has connections, and as many readers of them elsewhere."""
    assert len(many) > 2 * THREADS + 12
    for server in processes:
        for token, session in many:
            assert is_in_progress(server, token, session)
            assert server.request("POST", "/api/sessions", {}, token)[0] == 201
    in_use = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
    wait_until(lambda: deployment.execute(in_use)[0][0] <= 3)


def test_readers_that_wait_cost_little(
    deployment: Deployment,
    processes: list[ServerProcess],
    many: list[tuple[str, str]],
    record_property: Callable[..., None],
) -> None:
    process = psutil.Process(processes[1].process.pid)

    def seconds_used() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    saved = "SELECT max(saved_at), min(saved_at) FROM drafts"
    before, (last, _) = seconds_used(), deployment.execute(saved)[0]
    for _ in range(3):  # six seconds, by what the other process does
        wait_until(lambda: deployment.execute(saved)[0][1] > last)  # noqa: B023
        last = deployment.execute(saved)[0][0]
    used = seconds_used() - before
    record_property("cpu_seconds", used)
    assert used < 1, used


def test_requests_of_one_user_that_wait_leave_threads_to_the_chats_of_others(
    deployment: Deployment, processes: list[ServerProcess]
) -> None:
    """One who asks again and again for the end of a chat whose process hangs."""
    one, two = processes
    token, other = deployment.tokens[:2]
    session = create_session(one, token)
    stop = f"DELETE /api/sessions/{session}/chat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    with ExitStack() as stack:
        stream = stack.enter_context(closing(ChatStream(one, token, session, "say x", "wait 60")))
        assert stream.begin().status == 200
        one.process.send_signal(signal.SIGSTOP)
        stack.callback(one.process.send_signal, signal.SIGCONT)
        stops = [stack.enter_context(two.connect()) for _ in range(THREADS_PER_CHAT * MAX_CHATS + 10)]
        for connection in stops:
            connection.sendall(stop)
        for _ in range(3):
            chat = ChatStream(two, other, create_session(two, other), "say x", "wait 60")
            assert stack.enter_context(closing(chat)).begin().status == 200
        assert select.select(stops, [], [], 0)[0] == []  # none of them has ended, and left its thread
