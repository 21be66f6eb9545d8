"""The commands that write files, through Flask's own runner; export and import are in test_transfer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from flask import Flask

from tests.helpers.client import ApiClient, invoke, message

OUTPUTS = pytest.mark.parametrize(
    "command", [pytest.param(("backup",), marks=pytest.mark.sqlite), ("export", "owner")], ids=" ".join
)


@pytest.mark.sqlite
def test_backup_is_complete_and_sound(app: Flask, owner: ApiClient, tmp_path: Path) -> None:
    owner.imported(*(message() for _ in range(100)))
    target = tmp_path / "backup.db"
    target.write_text("an older backup")
    result = invoke(app, "backup", str(target))
    assert (result.exit_code, result.output.startswith(f"Wrote {target}")) == (0, True)
    assert target.stat().st_mode & 0o777 == 0o600
    copy = sqlite3.connect(target)
    assert copy.execute("SELECT COUNT(*) FROM messages").fetchone() == (100,)
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".backup")]


@pytest.mark.postgresql
def test_backup_names_the_program_to_use_instead(app: Flask, tmp_path: Path) -> None:
    result = invoke(app, "backup", str(tmp_path / "backup.db"))
    assert (result.exit_code, "pg_dump -Fc -d" in result.output) == (1, True)
    assert not (tmp_path / "backup.db").exists()


@pytest.mark.sqlite
@pytest.mark.parametrize("command", [("backup",), ("export", "owner")])
@pytest.mark.parametrize("name", ["parley.db", "parley.db-wal", "parley.db-shm", "link"])
def test_output_rejects_the_database_itself(
    app: Flask, owner: ApiClient, tmp_path: Path, command: tuple[str, ...], name: str
) -> None:
    """Every command that writes a file, by every name of it."""
    owner.session()
    (tmp_path / "link").symlink_to("parley.db")
    result = invoke(app, *command, str(tmp_path / name))
    assert (result.exit_code, "the database itself" in result.output) == (1, True)
    assert len(owner.get("/api/sessions").get_json()["items"]) == 1


@OUTPUTS
def test_output_rejects_a_symlink_loop(app: Flask, owner: ApiClient, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    result = invoke(app, *command, str(tmp_path / "loop"))
    assert (result.exit_code, "symbolic links" in result.output) == (1, True)
    assert (tmp_path / "loop").is_symlink()


@OUTPUTS
def test_output_reports_a_missing_folder(
    app: Flask, owner: ApiClient, tmp_path: Path, command: tuple[str, ...]
) -> None:
    result = invoke(app, *command, str(tmp_path / "missing" / "output"))
    assert (result.exit_code, "No such file" in result.output) == (1, True)
