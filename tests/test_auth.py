"""Logins: created with a password, and revoked."""

from __future__ import annotations

from typing import Any

import pytest

from auth import passwords
from models import User
from store import logins as stored_logins
from store import users
from tests.helpers.client import PASSWORD, ApiClient, error_of, log_in, new_login
from tests.helpers.database import query_db, run_in_transaction


@pytest.fixture
def changing(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list of passwords: after the next check of the owner's, it is changed to the first, and all logins revoked."""
    new: list[str] = []
    real = passwords.matches

    def matches(password: str, password_hash: str | None) -> bool:
        is_match = real(password, password_hash)
        if new:
            run_in_transaction(users.reset_password, owner.user_id, passwords.hash_password(new.pop()))
            run_in_transaction(stored_logins.delete_all, owner.user_id)
        return is_match

    monkeypatch.setattr(passwords, "matches", matches)
    return new


class TestLogin:
    @pytest.mark.parametrize("username", ["owner", "OWNER", "Owner", "ｏｗｎｅｒ", "oWner"])
    def test_matches_names_case_insensitively_in_nfkc(
        self, anonymous: ApiClient, owner: ApiClient, username: str
    ) -> None:
        response = log_in(anonymous, username)
        assert response.status_code == 200
        assert list(response.get_json()) == ["access_token", "refresh_token", "token_type", "expires_in"]
        assert (response.get_json()["token_type"], response.get_json()["expires_in"]) == ("Bearer", 900)
        me = ApiClient(anonymous.client, response.get_json()["access_token"]).get("/api/auth/me")
        assert (me.status_code, me.get_json()["id"], me.get_json()["username"]) == (200, owner.user_id, "owner")
        assert list(me.get_json()) == ["id", "username", "created_at"]

    @pytest.mark.parametrize(
        ("username", "password"),
        [("owner", "wrong"), ("owner", PASSWORD + " "), ("nobody", PASSWORD), ("owner ", PASSWORD)],
    )
    def test_wrong_name_and_wrong_password_get_the_same_response(
        self, anonymous: ApiClient, owner: ApiClient, username: str, password: str
    ) -> None:
        response = log_in(anonymous, username, password)
        assert (response.status_code, response.data) == (401, b'{"error":"invalid_credentials"}\n')
        assert response.headers["WWW-Authenticate"] == "Bearer"

    def test_unknown_name_costs_a_hash_too(
        self, anonymous: ApiClient, owner: ApiClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checked: list[str] = []
        real = passwords.check_password_hash

        def check(password_hash: str, password: str) -> bool:
            checked.append(password_hash.split("$")[0])
            return real(password_hash, password)

        monkeypatch.setattr(passwords, "check_password_hash", check)
        log_in(anonymous, "unknown", "wrong")
        assert checked == [passwords.hash_password("any").split("$")[0]]

    def test_rejects_a_password_that_is_changed_after_its_check(
        self, anonymous: ApiClient, owner: ApiClient, changing: list[str]
    ) -> None:
        changing.append("another one")
        assert error_of(log_in(anonymous)) == (401, "invalid_credentials")
        assert query_db("SELECT COUNT(*) FROM logins") == [(0,)]
        assert log_in(anonymous, password="another one").status_code == 200

    @pytest.mark.parametrize(
        "body",
        [
            ..., None, {}, [], {"username": "owner"}, {"password": PASSWORD},
            {"username": None, "password": PASSWORD},
            {"username": "owner", "password": None}, {"username": 5, "password": 5},
            {"username": "\0", "password": "x"}, {"username": "owner", "password": "a\0b"},
            {"username": "", "password": ""}, {"username": "x" * 2_000, "password": "x"},
            {"username": "owner", "password": "x" * 1_025},
        ],
    )  # fmt: skip
    def test_rejects_invalid_bodies(self, anonymous: ApiClient, owner: ApiClient, body: Any) -> None:
        assert error_of(anonymous.post("/api/auth/login", body)) == (400, "validation_error")

    def test_deletes_expired_logins_of_the_user(self, anonymous: ApiClient, owner: ApiClient) -> None:
        query_db("UPDATE logins SET expires_at = '2020-01-01T00:00:00.000Z'")
        log_in(anonymous)
        assert len(query_db("SELECT * FROM logins")) == 1


class TestLogout:
    @pytest.mark.parametrize("which", [0, 1])
    def test_with_either_token_revokes_both(self, anonymous: ApiClient, owner: ApiClient, which: int) -> None:
        tokens = access, refresh = new_login(anonymous, owner)
        response = tokens[which].post("/api/auth/logout")
        assert (response.status_code, response.data) == (204, b"")
        assert error_of(access.get("/api/auth/me")) == (401, "token_revoked")
        assert error_of(refresh.post("/api/auth/refresh")) == (401, "token_revoked")
        assert error_of(tokens[which].post("/api/auth/logout")) == (401, "token_revoked")
        assert owner.get("/api/auth/me").status_code == 200

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/api/sessions?limit=x"), ("GET", "/api/nothing"), ("PUT", "/api/sessions")]
    )
    def test_is_a_401_whatever_else_is_wrong(self, owner: ApiClient, method: str, path: str) -> None:
        assert owner(method, path).status_code in (400, 404, 405)
        owner.post("/api/auth/logout")
        assert error_of(owner(method, path)) == (401, "token_revoked")


class TestPassword:
    def test_change_revokes_every_other_login(self, anonymous: ApiClient, owner: ApiClient) -> None:
        access, refresh = new_login(anonymous, owner)
        response = access.post("/api/auth/password", {"current_password": PASSWORD, "new_password": "new password"})
        assert (response.status_code, response.data) == (204, b"")
        assert error_of(owner.get("/api/auth/me")) == (401, "token_revoked")
        assert access.get("/api/auth/me").status_code == 200
        assert refresh.post("/api/auth/refresh").status_code == 200
        assert log_in(anonymous).status_code == 401
        assert log_in(anonymous, password="new password").status_code == 200

    @pytest.mark.parametrize("new", ["x" * 7, "x" * 1_025, None, 5, "", "\0" * 10])
    def test_rejects_invalid_passwords(self, anonymous: ApiClient, owner: ApiClient, new: Any) -> None:
        response = owner.post("/api/auth/password", {"current_password": PASSWORD, "new_password": new})
        assert error_of(response) == (400, "validation_error")
        assert log_in(anonymous).status_code == 200

    def test_change_requires_the_current_password(self, anonymous: ApiClient, owner: ApiClient) -> None:
        body = {"current_password": "wrong", "new_password": "long enough"}
        assert error_of(owner.post("/api/auth/password", body)) == (401, "invalid_credentials")
        assert error_of(anonymous.post("/api/auth/password", body)) == (401, "missing_token")
        assert log_in(anonymous).status_code == 200

    def test_change_loses_to_one_that_was_made_after_its_check(
        self, anonymous: ApiClient, owner: ApiClient, changing: list[str]
    ) -> None:
        changing.append("another one")
        body = {"current_password": PASSWORD, "new_password": "long enough"}
        assert error_of(owner.post("/api/auth/password", body)) == (401, "invalid_credentials")
        assert log_in(anonymous, password="long enough").status_code == 401
        assert log_in(anonymous, password="another one").status_code == 200


class TestRemovedUser:
    def test_gets_401_and_has_no_rows(self, owner: ApiClient) -> None:
        owner.imported()
        User.delete().where(User.id == owner.user_id).execute()
        assert error_of(owner.get("/api/sessions")) == (401, "token_revoked")
        assert query_db("SELECT * FROM logins") == query_db("SELECT * FROM sessions") == []

    def test_gets_401_if_removed_during_the_request(self, owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
        User.delete().where(User.id == owner.user_id).execute()
        monkeypatch.setattr(stored_logins, "require_active", lambda *ids: None)
        assert error_of(owner.post("/api/sessions")) == (401, "token_revoked")
        assert error_of(owner.get("/api/auth/me")) == (401, "token_revoked")
