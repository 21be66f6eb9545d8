"""The commands, through Flask's own runner."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from tests.helpers.client import PASSWORD, ApiClient, message
from tests.helpers.database import query_db


def run(app: Flask, *arguments: str, **options: str) -> Result:
    return app.test_cli_runner().invoke(args=arguments, **options)


def can_log_in(anonymous: ApiClient, username: str, password: str) -> bool:
    return anonymous.post("/api/auth/login", {"username": username, "password": password}).status_code == 200


class TestUsers:
    def test_add(self, app: Flask, anonymous: ApiClient) -> None:
        assert run(app, "users", "add", "Zoë", "--password", PASSWORD).exit_code == 0
        assert can_log_in(anonymous, "zoë", PASSWORD)

    def test_add_asks_for_the_password(self, app: Flask, anonymous: ApiClient) -> None:
        result = run(app, "users", "add", "zoe", input=f"{PASSWORD}\n{PASSWORD}\n")
        assert result.exit_code == 0
        assert PASSWORD not in result.output
        assert can_log_in(anonymous, "zoe", PASSWORD)

    @pytest.mark.parametrize("name", ["owner", "OWNER", "ｏｗｎｅｒ"])
    def test_add_refuses_a_name_that_is_taken(self, app: Flask, owner: ApiClient, name: str) -> None:
        result = run(app, "users", "add", name, "--password", PASSWORD)
        assert (result.exit_code, "already" in result.output) == (1, True)

    @pytest.mark.parametrize(
        ("name", "password"),
        [("", PASSWORD), ("x" * 65, PASSWORD), ("zoe", "short"), ("zoe", "x" * 1_025)],
    )
    def test_add_refuses_what_is_too_short_or_too_long(self, app: Flask, name: str, password: str) -> None:
        result = run(app, "users", "add", name, "--password", password)
        assert result.exit_code == 1
        assert "Length must be" in result.output
        assert query_db("SELECT * FROM users") == []

    def test_list(self, app: Flask, owner: ApiClient, other: ApiClient) -> None:
        assert [line.split()[1] for line in run(app, "users", "list").output.splitlines()] == ["other", "owner"]

    def test_passwd_revokes_every_login(self, app: Flask, anonymous: ApiClient, owner: ApiClient) -> None:
        assert run(app, "users", "passwd", "OWNER", "--password", "another one").exit_code == 0
        assert can_log_in(anonymous, "owner", "another one")
        assert not can_log_in(anonymous, "owner", PASSWORD)
        assert owner.get("/api/sessions").get_json() == {"error": "token_revoked"}

    @pytest.mark.parametrize(("arguments", "answer", "left"), [((), "n\n", 2), ((), "y\n", 1), (("--yes",), "", 1)])
    def test_remove_asks_and_cascades(
        self, app: Flask, owner: ApiClient, other: ApiClient, arguments: tuple[str, ...], answer: str, left: int
    ) -> None:
        owner.imported(message())
        other.imported(message())
        run(app, "users", "remove", "owner", *arguments, input=answer)
        for table in ("users", "logins", "sessions", "messages"):
            assert len(query_db(f"SELECT * FROM {table}")) == left

    def test_token_is_a_login_that_can_be_revoked(self, app: Flask, anonymous: ApiClient, owner: ApiClient) -> None:
        script = ApiClient(anonymous.client, run(app, "users", "token", "owner", "--days", "2").output.strip())
        assert script.get("/api/auth/me").get_json()["id"] == owner.user_id
        assert script.post("/api/auth/refresh").status_code == 401
        assert script.post("/api/auth/logout").status_code == 204
        assert script.get("/api/auth/me").status_code == 401

    @pytest.mark.parametrize("command", [("passwd", "--password", PASSWORD), ("remove", "--yes"), ("token",)])
    def test_an_unknown_name_is_said(self, app: Flask, command: tuple[str, ...]) -> None:
        result = run(app, "users", command[0], "nobody", *command[1:])
        assert (result.exit_code, "There is no user 'nobody'" in result.output) == (1, True)


class TestBackup:
    def test_is_whole_and_sound(self, app: Flask, owner: ApiClient, tmp_path: Path) -> None:
        owner.imported(*(message() for _ in range(100)))
        target = tmp_path / "backup.db"
        target.write_text("an older backup")
        result = run(app, "backup", str(target))
        assert (result.exit_code, result.output.startswith(f"Wrote {target}")) == (0, True)
        assert target.stat().st_mode & 0o777 == 0o600
        copy = sqlite3.connect(target)
        assert copy.execute("SELECT COUNT(*) FROM messages").fetchone() == (100,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        copy.close()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".backup")]

    @pytest.mark.parametrize("command", [("backup",), ("export", "owner")])
    @pytest.mark.parametrize("name", ["parley.db", "parley.db-wal", "parley.db-shm", "link"])
    def test_refuses_to_replace_the_database(
        self, app: Flask, owner: ApiClient, tmp_path: Path, command: tuple[str, ...], name: str
    ) -> None:
        """Whichever command it is that writes a file, and by whichever name."""
        owner.session()
        (tmp_path / "link").symlink_to("parley.db")
        result = run(app, *command, str(tmp_path / name))
        assert (result.exit_code, "the database itself" in result.output) == (1, True)
        assert len(owner.get("/api/sessions").get_json()["items"]) == 1

    def test_refuses_a_symlink_that_leads_nowhere_else(self, app: Flask, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to("loop")
        result = run(app, "backup", str(tmp_path / "loop"))
        assert (result.exit_code, "symbolic links" in result.output) == (1, True)
        assert (tmp_path / "loop").is_symlink()

    def test_says_where_it_cannot_write(self, app: Flask, tmp_path: Path) -> None:
        result = run(app, "backup", str(tmp_path / "missing" / "backup.db"))
        assert (result.exit_code, "No such file" in result.output) == (1, True)
