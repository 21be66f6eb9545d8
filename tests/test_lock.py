"""One server per database: a second one does not start, and does not touch the work of the first."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from config import StartupError
from database.lock import lock_database, log
from tests.helpers.data_folder import DataFolder
from tests.helpers.process import PASSWORD, FakeLlm, ServerProcess, create_user, failed_start, run_flask

pytestmark = pytest.mark.sqlite


@pytest.mark.parametrize("way", ["the same", "another data folder", "a symlink", "a folder that is a symlink"])
def test_second_server_fails_with_the_process_that_holds_the_lock(
    server: ServerProcess, token: str, tmp_path: Path, way: str
) -> None:
    data, database = server.data, server.data / "parley.db"
    settings: dict[str, Any] = {}
    folder = data
    if way == "another data folder":
        folder, settings = tmp_path / "other", {"DATABASE_URL": f"sqlite:///{database}"}
    elif way == "a symlink":
        folder = tmp_path / "other"
        folder.mkdir()
        (folder / "parley.db").symlink_to(database)
    elif way == "a folder that is a symlink":
        folder = tmp_path / "other"
        folder.symlink_to(data)
    (line,) = failed_start(folder, **settings).splitlines()
    assert line.startswith("Error: A server is running on the database ")
    assert "parley.db" in line
    assert f"process {server.process.pid} on " in line
    assert server.request("GET", "/api/sessions", token=token)[0] == 200


def test_database_with_two_names_is_served_under_neither(data_folder: DataFolder) -> None:
    data = data_folder.path
    os.link(data / "parley.db", data / "other.db")
    for name in ("parley.db", "other.db"):
        (line,) = failed_start(data, DATABASE_URL=f"sqlite:///{data / name}").splitlines()
        assert "hard link" in line
    (data / "other.db").unlink()
    with ServerProcess(data) as server:
        assert server.request("GET", "/readyz")[0] == 200


def test_second_server_does_not_interrupt_the_first_ones_chats(tmp_path: Path, fake_llm: FakeLlm) -> None:
    data = tmp_path / "data"
    token = create_user(data)
    with ServerProcess(data, LLM_BASE_URL=fake_llm.url) as server, closing(server.connect()) as connection:
        _, session, _ = server.request("POST", "/api/sessions", None, token)
        path = f"/api/sessions/{session['id']}"
        body = b'{"content":"say one\\nwait 2\\nsay two"}'
        head = (
            f"POST {path}/chat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n"
        )
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        received = b""
        while b'"one"' not in received:
            received += connection.recv(65_536)
        assert "A server is running" in failed_start(data, LLM_BASE_URL=fake_llm.url)
        while b"event: done" not in received:
            piece = connection.recv(65_536)
            assert piece, received
            received += piece
        _, read, _ = server.request("GET", path, token=token)
        assert [message["content"] for message in read["messages"]][1:] == ["onetwo"]


def test_the_end_of_a_process_releases_its_lock(tmp_path: Path) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        with ServerProcess(tmp_path / "data") as server:
            assert server.request("GET", "/healthz")[0] == 200
            server.stop(number)


def test_commands_work_beside_a_server(server: ServerProcess, tmp_path: Path) -> None:
    assert run_flask(server.data, "users", "add", "beside", "--password", PASSWORD).returncode == 0
    token = run_flask(server.data, "users", "token", "beside", "--days", "1").stdout.strip()
    assert run_flask(server.data, "backup", str(tmp_path / "backup.db")).returncode == 0
    assert server.request("GET", "/api/auth/me", token=token)[0] == 200


def test_file_system_without_locks_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    warnings: list[Any] = []
    monkeypatch.setattr(log, "warning", lambda *arguments: warnings.append(arguments))
    assert lock_database(tmp_path / "parley.db") is None
    assert str(tmp_path / "parley.db.lock") in str(warnings)


def test_lock_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as raised:
        lock_database(tmp_path / "nowhere" / "parley.db")
    assert "parley.db.lock" in str(raised.value.message)
