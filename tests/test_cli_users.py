"""The commands for users, through Flask's own runner."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.helpers.client import PASSWORD, ApiClient, can_log_in, invoke, message
from tests.helpers.database import query_db


def test_add_creates_a_user(app: Flask, anonymous: ApiClient) -> None:
    assert invoke(app, "users", "add", "Zoë", "--password", PASSWORD).exit_code == 0
    assert can_log_in(anonymous, "zoë", PASSWORD)


def test_add_prompts_for_the_password(app: Flask, anonymous: ApiClient) -> None:
    result = invoke(app, "users", "add", "zoe", input=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert can_log_in(anonymous, "zoe", PASSWORD)


@pytest.mark.parametrize("name", ["owner", "OWNER", "ｏｗｎｅｒ"])
def test_add_rejects_a_taken_name(app: Flask, owner: ApiClient, name: str) -> None:
    result = invoke(app, "users", "add", name, "--password", PASSWORD)
    assert (result.exit_code, "already" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("name", "password"),
    [("", PASSWORD), ("x" * 65, PASSWORD), ("zoe", "short"), ("zoe", "x" * 1_025)],
)
def test_add_rejects_invalid_lengths(app: Flask, name: str, password: str) -> None:
    result = invoke(app, "users", "add", name, "--password", password)
    assert result.exit_code == 1
    assert "Length must be" in result.output
    assert query_db("SELECT * FROM users") == []


def test_list_sorts_by_name(app: Flask, owner: ApiClient, other: ApiClient) -> None:
    assert [line.split()[1] for line in invoke(app, "users", "list").output.splitlines()] == ["other", "owner"]


def test_passwd_revokes_every_login(app: Flask, anonymous: ApiClient, owner: ApiClient) -> None:
    assert invoke(app, "users", "passwd", "OWNER", "--password", "another one").exit_code == 0
    assert can_log_in(anonymous, "owner", "another one")
    assert not can_log_in(anonymous, "owner", PASSWORD)
    assert owner.get("/api/sessions").get_json() == {"error": "token_revoked"}


@pytest.mark.parametrize(("arguments", "reply", "remaining"), [((), "n\n", 2), ((), "y\n", 1), (("--yes",), "", 1)])
def test_remove_asks_and_cascades(
    app: Flask, owner: ApiClient, other: ApiClient, arguments: tuple[str, ...], reply: str, remaining: int
) -> None:
    owner.imported(message())
    other.imported(message())
    invoke(app, "users", "remove", "owner", *arguments, input=reply)
    for table in ("users", "logins", "sessions", "messages"):
        assert len(query_db(f"SELECT * FROM {table}")) == remaining


def test_token_can_be_revoked_but_not_refreshed(app: Flask, anonymous: ApiClient, owner: ApiClient) -> None:
    script = ApiClient(anonymous.client, invoke(app, "users", "token", "owner", "--days", "2").output.strip())
    assert script.get("/api/auth/me").get_json()["id"] == owner.user_id
    assert script.post("/api/auth/refresh").status_code == 401
    assert script.post("/api/auth/logout").status_code == 204
    assert script.get("/api/auth/me").status_code == 401


@pytest.mark.parametrize("command", [("passwd", "--password", PASSWORD), ("remove", "--yes"), ("token",)])
def test_unknown_name_is_reported(app: Flask, command: tuple[str, ...]) -> None:
    result = invoke(app, "users", command[0], "nobody", *command[1:])
    assert (result.exit_code, "There is no user 'nobody'" in result.output) == (1, True)
