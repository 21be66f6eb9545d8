"""How a server starts, and what it says if it cannot."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from config import StartupError
from tests.helpers import engine
from tests.helpers.data_folder import DataFolder
from tests.helpers.database_files import query_file
from tests.helpers.process import ServerProcess, failed_start


def test_prints_one_line_with_address_and_database_and_how_to_add_a_user(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        assert server.stop() == 0
    (line,) = server.log.read_text().splitlines()
    assert server.url in line
    assert engine.location(tmp_path / "data") in line
    assert "flask users add NAME" in line


def test_does_not_print_how_to_add_a_user_if_there_is_one(data_folder: DataFolder) -> None:
    with ServerProcess(data_folder.path) as server:
        assert server.stop() == 0
    (line,) = server.log.read_text().splitlines()
    database = engine.location(data_folder.path)
    assert line == f"Parley listens on {server.url}, open it in a browser; database {database}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "65536"),
        ("JWT_SECRET_KEY", "a-short-secret"),
        ("DATABASE_URL", "mysql://alice:a-short-secret@127.0.0.1/x"),
        ("THREADS", "0"),
        ("SQLITE_SYNCHRONOUS", "OFF"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_names_a_wrong_setting_without_its_value(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    settings.pop(f"PARLEY_{name}", None)
    monkeypatch.setenv(f"PARLEY_{name}", value)
    with pytest.raises(StartupError) as raised:
        create_app(settings)
    message = raised.value.message
    assert f"PARLEY_{name}" in message
    assert "a-short-secret" not in message
    assert len(message.splitlines()) == 1


def test_names_all_wrong_settings_at_once(tmp_path: Path) -> None:
    message = failed_start(tmp_path / "data", PORT="abc", THREADS="x")
    assert "PARLEY_PORT" in message
    assert "PARLEY_THREADS" in message


def test_port_in_use_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = failed_start(tmp_path / "data", PORT=port)
    assert f"127.0.0.1:{port}" in message
    assert len(message.splitlines()) == 1


@pytest.mark.sqlite
def test_data_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_text("mine")
    message = failed_start(file)
    assert str(file) in message
    assert len(message.splitlines()) == 1
    assert file.read_text() == "mine"


def test_missing_secret_file_is_an_error(tmp_path: Path) -> None:
    message = failed_start(tmp_path / "data", JWT_SECRET_KEY_FILE=tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message
    assert len(message.splitlines()) == 1


def test_secret_is_read_from_its_file(data_folder: DataFolder, tmp_path: Path) -> None:
    secret, own = tmp_path / "secret", data_folder.path / "jwt_secret"
    secret.write_text(data_folder.secret)
    own.unlink(missing_ok=True)
    with ServerProcess(data_folder.path, JWT_SECRET_KEY_FILE=secret) as server:
        assert server.request("GET", "/api/auth/me", token=data_folder.token)[0] == 200
    assert not own.exists()


def test_database_of_a_newer_version_is_rejected_and_unchanged(data_folder: DataFolder) -> None:
    with closing(engine.connect(data_folder.path)) as connection:
        connection.execute("INSERT INTO schema_migration (name, applied) VALUES ('9999_future', '2026-01-01')")
        connection.commit()
    before = contents(data_folder)
    message = failed_start(data_folder.path)
    assert "newer" in message
    assert "9999_future" in message
    assert contents(data_folder) == before


def contents(folder: DataFolder) -> Any:
    """Return the bytes of the database's file; of one on a server, the columns of its tables."""
    if engine.server is None:
        return (folder.path / "parley.db").read_bytes()
    return query_file(
        folder.path, "SELECT * FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 3, 4"
    )
