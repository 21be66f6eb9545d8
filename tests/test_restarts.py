"""Chats and webhook runs of a server that is killed or stopped: what the next one finds."""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers.actions import write_actions
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.database_files import expire_leases
from tests.helpers.process import FakeLlm
from tests.helpers.streams import ChatServer, ChatStream
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def test_killed_server_leaves_interrupted_messages(folder: DataFolder, fake_llm: FakeLlm) -> None:
    (token,) = folder.tokens
    with ChatServer(folder, LLM_BASE_URL=fake_llm.url) as server:
        started, silent = server.create_session(token), server.create_session(token)
        script = ("say a ", "repeat 1000 0.1 b ")
        with (
            closing(ChatStream(server, token, started, *script, key="k")) as stream,
            closing(ChatStream(server, token, silent, "wait 60")) as silent_stream,
        ):
            stream.begin(), silent_stream.begin()
            assert silent_stream.next_event()[0] == "message"
            for _ in range(45):  # at least four seconds and a half: the draft is saved every two
                stream.next_event()
            server.stop(signal.SIGKILL)
    expire_leases(folder.path)
    with ChatServer(folder, LLM_BASE_URL=fake_llm.url) as server:
        question, reply = server.list_messages(token, started)
        assert question["content"].startswith("say a")
        assert re.fullmatch(r"a (b ){10,}", reply["content"])
        assert (reply["role"], reply["metadata"]["finish_reason"]) == ("assistant", "interrupted")
        assert [message["role"] for message in server.list_messages(token, silent)] == ["user"]
        with closing(ChatStream(server, token, started, *script, key="k")) as stream:
            stream.begin()
            delta = ("delta", {"content": reply["content"]})
            assert stream.events() == [("message", question), delta, ("error", {"error": "upstream_error"})]
        with closing(ChatStream(server, token, started, *script, key="k", accept="application/json")) as stream:
            assert stream.begin().status == 502
            details = {"messages": [question, reply]}
            assert json.loads(stream.response.read()) == {"error": "upstream_error", "details": details}
        with closing(ChatStream(server, token, started, "say well")) as stream:
            stream.begin()
            assert stream.events()[-1][0] == "done"
        assert server.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("is_read", [True, False])
def test_stopped_server_stores_what_has_come(folder: DataFolder, fake_llm: FakeLlm, is_read: bool) -> None:
    """Chats have the same time to end whether or not a client reads them."""
    (token,) = folder.tokens
    with ChatServer(folder, LLM_BASE_URL=fake_llm.url) as server:
        long, short = server.create_session(token), server.create_session(token)
        with (
            closing(ChatStream(server, token, long, "say half", "wait 60")) as stream,
            closing(ChatStream(server, token, short, "say all", "wait 3")) as other,
        ):
            stream.begin(), other.begin()
            assert [stream.next_event()[0] for _ in range(2)] == ["message", "delta"]
            other.next_event()
            if not is_read:
                stream.close()
                other.close()
                time.sleep(0.5)
            assert server.stop() == 0
            if is_read:
                assert other.events()[-1][0] == "done"
    with ChatServer(folder, LLM_BASE_URL=fake_llm.url) as server:
        reply = server.list_messages(token, long)[1]
        assert [message["content"] for message in server.list_messages(token, long)[1:]] == ["half"]
        assert reply["metadata"]["finish_reason"] == "interrupted"
        assert "duration_ms" in reply["metadata"]  # stored when it ended, not by the next server
        assert server.list_messages(token, short)[1]["metadata"]["finish_reason"] == "stop"


def test_killed_server_leaves_interrupted_webhook_runs(
    folder: DataFolder, receiver: WebhookReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    path = write_actions(tmp_path / "actions.toml", receiver.url)
    path.write_text(path.read_text().replace("timeout = 2", "timeout = 10"))
    (token,) = folder.tokens
    with ChatServer(folder, ACTIONS_FILE=path) as server:
        session = server.create_session(token)
        with closing(server.connect()) as connection:
            head = f"POST /api/sessions/{session}/actions/slow-30 HTTP/1.1\r\nHost: x\r\n"
            connection.sendall(f"{head}Authorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n".encode())
            receiver.wait_for_call()
            (running,) = server.list_runs(token, session)
            assert (running["status"], running["finished_at"]) == ("running", None)
            server.stop(signal.SIGKILL)
    expire_leases(folder.path)
    with ChatServer(folder, ACTIONS_FILE=path) as server:
        wait_until(lambda: server.list_runs(token, session)[0]["status"] == "interrupted", "the run is interrupted")
        (run,) = server.list_runs(token, session)
        assert run["id"] == running["id"] == receiver.received[0][1]["data"]["run_id"]
        assert server.request("POST", f"/api/sessions/{session}/actions/ok", {}, token)[1]["status"] == "succeeded"
        assert SECRET not in server.log.read_text()
