"""Group commit: each request has its own response, and none before the commit."""

from __future__ import annotations

import json
import select
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import peewee
import pytest
from flask import Flask

import errors
from database import db, sqlite
from database.sqlite import SqliteEngine
from server.batching import WriteBatcher
from server.task import Response
from tests.helpers.client import ApiClient
from tests.helpers.data_folder import DataFolder
from tests.helpers.database import query_db
from tests.helpers.process import ServerProcess, create_user
from tests.helpers.raw_http import raw_request


def test_a_rejected_request_undoes_nothing_of_its_group(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, ExitStack() as stack:
        token = create_user(server.data)
        _, session, _ = server.request("POST", "/api/sessions", None, token)
        path = f"/api/sessions/{session['id']}/messages"
        kinds = [
            (201, path, token, b'{"role":"user","content":"stored"}'),
            (400, path, token, b'{"role":"user","content":""}'),
            (400, path, token, b"{"),
            (401, path, token + "x", b'{"role":"user","content":"lost"}'),
            (404, "/api/sessions/missing/messages", token, b'{"role":"user","content":"lost"}'),
        ]
        sent = []
        server.process.send_signal(signal.SIGSTOP)  # so that all of them are waiting when it goes on
        for status, target, sender, body in kinds * 6:
            connection = stack.enter_context(server.connect())
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sender}\r\nConnection: close\r\n"
            framing = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + framing.encode() + body)
            sent.append((status, connection))
        server.process.send_signal(signal.SIGCONT)
        for status, connection in sent:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 %d " % status)
        _, found, _ = server.request("GET", path.removesuffix("/messages"), token=token)
        assert [message["content"] for message in found["messages"]] == ["stored"] * 6
        assert server.stop() == 0


class Request:
    """The part of a waitress request that the write batcher uses."""

    version = "1.1"
    response: Response | None = None
    group_error: errors.ApiError | None = None

    def __init__(self) -> None:
        self.rewound = 0

    def get_body_stream(self) -> Request:
        return self

    def seek(self, position: int) -> None:
        self.rewound += 1


class Channel:
    connected = True

    def __init__(self) -> None:
        self.requests = [Request()]


def failing(name: str) -> Callable[..., None]:
    def fail(*arguments: Any) -> None:
        error = peewee.OperationalError(name)
        error.sqlite_errorname = name  # type: ignore[attr-defined]
        raise error

    return fail


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("trouble", "group_error"),
    [
        (None, None),
        (("commit", "SQLITE_BUSY"), "database_busy"),
        (("write_transaction", "SQLITE_BUSY"), "database_busy"),
        (("commit", "SQLITE_FULL"), None),  # each is tried alone: what frees room gets through
    ],
)
def test_no_response_without_the_commit(
    owner: ApiClient,
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    trouble: tuple[str, str] | None,
    group_error: str | None,
) -> None:
    batcher = WriteBatcher(app, lambda channel: None)
    headers = {"Authorization": f"Bearer {owner.token}"}
    environ = app.test_request_context("/api/sessions", method="POST", headers=headers).request.environ
    monkeypatch.setattr(batcher, "_run_task", lambda task: Response.of(app, dict(environ)))
    channels: Any = [Channel(), Channel()]
    with monkeypatch.context() as patch:
        if trouble:
            patch.setattr(SqliteEngine, trouble[0], failing(trouble[1]))
        batcher._commit_group(channels)
    requests = [channel.requests[0] for channel in channels]
    if trouble is None:
        assert [request.response.status for request in requests] == ["201 CREATED"] * 2
        assert len(query_db("SELECT * FROM sessions")) == 2
    else:
        assert [request.response for request in requests] == [None] * 2
        assert [request.group_error and request.group_error.code for request in requests] == [group_error] * 2
        assert [request.rewound for request in requests] == [1] * 2
        assert query_db("SELECT * FROM sessions") == []
    batcher.close()


def test_transaction_that_sqlite_rolled_back_is_not_continued(owner: ApiClient, app: Flask, monkeypatch: Any) -> None:
    def respond(app: Any, environ: Any) -> str:
        db.rollback()
        return "never sent"

    batcher = WriteBatcher(app, lambda channel: None)
    monkeypatch.setattr(Response, "of", respond)
    task: Any = type("Task", (), {"get_environment": dict})()

    def write() -> None:
        with db.write_transaction():
            query_db("UPDATE users SET username = 'changed'")
            batcher._run_task(task)

    with pytest.raises(peewee.OperationalError) as raised:
        write()
    assert "the transaction is gone" in {str(error) for error in sqlite._exception_chain(raised.value)}
    assert query_db("SELECT username FROM users") == [("owner",)]
    batcher.close()


def test_large_bodies_do_not_delay_small_ones(data_folder: DataFolder) -> None:
    """What takes long to parse is parsed in a pool, and others' writes are served concurrently."""
    wide = json.dumps({"role": "user", "content": "x", "metadata": {f"key {n}": n for n in range(40_000)}}).encode()
    with ServerProcess(data_folder.path) as server, ExitStack() as stack:
        _, session, _ = server.request("POST", "/api/sessions", {"title": "x"}, data_folder.token)
        path = f"/api/sessions/{session['id']}/messages"
        sent = [stack.enter_context(server.connect()) for _ in range(12)]
        whole = raw_request("POST", path, wide, data_folder.token)
        for connection in sent:
            connection.sendall(whole[:-1])
        for connection in sent:  # so that all are there at once, however long sending them took
            connection.sendall(whole[-1:])
        other = server.request("POST", "/api/sessions", {"title": "small"}, data_folder.token)
        assert other[0] == 201
        waiting = [connection for connection in sent if not select.select([connection], [], [], 0)[0]]
        assert len(waiting) > 6  # it has not waited for all of them
        for connection in sent:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 201")
