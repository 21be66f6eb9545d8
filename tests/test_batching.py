"""Requests that are committed together: each still has its own response, and none before the commit."""

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


def test_one_that_is_refused_undoes_nothing_of_the_others(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, ExitStack() as stack:
        token = create_user(server.data)
        _, session, _ = server.request("POST", "/api/sessions", None, token)
        path = f"/api/sessions/{session['id']}/messages"
        kinds = [
            (201, path, token, b'{"role":"user","content":"kept"}'),
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
        assert [message["content"] for message in found["messages"]] == ["kept"] * 6
        assert server.stop() == 0


class Request:
    """As much of waitress's request as the writer looks at."""

    version = "1.1"
    response: Response | None = None
    moved = False
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


@pytest.mark.parametrize(
    ("trouble", "group_error"),
    [
        (None, None),
        (("commit", "SQLITE_BUSY"), "database_busy"),
        (("write_transaction", "SQLITE_BUSY"), "database_busy"),
        (("commit", "SQLITE_FULL"), None),  # each is tried alone: what frees room gets through
    ],
)
def test_without_its_commit_nothing_is_answered(
    owner: ApiClient,
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    trouble: tuple[str, str] | None,
    group_error: str | None,
) -> None:
    writer = WriteBatcher(app, lambda channel: None)
    headers = {"Authorization": f"Bearer {owner.token}"}
    environ = app.test_request_context("/api/sessions", method="POST", headers=headers).request.environ
    monkeypatch.setattr(writer, "_run_task", lambda task: Response.of(app, dict(environ)))
    channels: Any = [Channel(), Channel()]
    with monkeypatch.context() as patch:
        if trouble:
            patch.setattr(SqliteEngine, trouble[0], failing(trouble[1]))
        writer._commit_group(channels)
    requests = [channel.requests[0] for channel in channels]
    if trouble is None:
        assert [request.response.status for request in requests] == ["201 CREATED"] * 2
        assert len(query_db("SELECT * FROM sessions")) == 2
    else:
        assert [request.response for request in requests] == [None] * 2
        assert [request.group_error and request.group_error.code for request in requests] == [group_error] * 2
        assert [request.rewound for request in requests] == [1] * 2
        assert query_db("SELECT * FROM sessions") == []
    writer.close()


def test_a_transaction_that_sqlite_has_undone_is_not_gone_on_with(
    owner: ApiClient, app: Flask, monkeypatch: Any
) -> None:
    def response(app: Any, environ: Any) -> str:
        db.rollback()
        return "never sent"

    writer = WriteBatcher(app, lambda channel: None)
    monkeypatch.setattr(Response, "of", response)
    task: Any = type("Task", (), {"get_environment": dict})()

    def write() -> None:
        with db.write_transaction():
            query_db("UPDATE users SET username = 'changed'")
            writer._run_task(task)

    with pytest.raises(peewee.OperationalError) as raised:
        write()
    assert "the transaction is gone" in {str(error) for error in sqlite._exception_chain(raised.value)}
    assert query_db("SELECT username FROM users") == [("owner",)]
    writer.close()


def test_large_bodies_do_not_delay_small_ones(data_folder: DataFolder) -> None:
    """What takes long to parse is parsed where nobody waits: others' writes are answered meanwhile."""
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
