"""Logging in, the life of tokens, and the brake on guessing."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from flask import Flask

from auth import passwords, throttle, tokens
from auth.tokens import TokenVerifier
from models import User
from store import logins as stored_logins
from tests.helpers.client import PASSWORD, SECRET, ApiClient, add_user
from tests.helpers.database import query_db

USER_ID = "01a20000-0000-7000-8000-000000000000"


def log_in(anonymous: ApiClient, username: str = "owner", password: str = PASSWORD, **options: Any) -> Any:
    return anonymous.post("/api/auth/login", {"username": username, "password": password}, **options)


def logged_in(anonymous: ApiClient, owner: ApiClient) -> tuple[ApiClient, ApiClient]:
    """Callers with the access token and with the refresh token of a new login of the owner's."""
    pair = log_in(anonymous).get_json()
    return ApiClient(anonymous.client, pair["access_token"]), ApiClient(anonymous.client, pair["refresh_token"])


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["error"]


class TestLogin:
    @pytest.mark.parametrize("username", ["owner", "OWNER", "Owner", "ｏｗｎｅｒ", "oWner"])
    def test_compares_names_without_case_in_nfkc(self, anonymous: ApiClient, owner: ApiClient, username: str) -> None:
        answer = log_in(anonymous, username)
        assert answer.status_code == 200
        assert list(answer.get_json()) == ["access_token", "refresh_token", "token_type", "expires_in"]
        assert (answer.get_json()["token_type"], answer.get_json()["expires_in"]) == ("Bearer", 900)
        me = ApiClient(anonymous.client, answer.get_json()["access_token"]).get("/api/auth/me")
        assert (me.status_code, me.get_json()["id"], me.get_json()["username"]) == (200, owner.user_id, "owner")
        assert list(me.get_json()) == ["id", "username", "created_at"]

    @pytest.mark.parametrize(
        ("username", "password"),
        [("owner", "wrong"), ("owner", PASSWORD + " "), ("nobody", PASSWORD), ("owner ", PASSWORD)],
    )
    def test_tells_nothing_of_what_was_wrong(
        self, anonymous: ApiClient, owner: ApiClient, username: str, password: str
    ) -> None:
        answer = log_in(anonymous, username, password)
        assert (answer.status_code, answer.data) == (401, b'{"error":"invalid_credentials"}\n')
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_checks_a_hash_for_unknown_names_too(
        self, anonymous: ApiClient, owner: ApiClient, monkeypatch: Any
    ) -> None:
        checked: list[str] = []
        real = passwords.check_password_hash

        def check(password_hash: str, password: str) -> bool:
            checked.append(password_hash.split("$")[0])
            return real(password_hash, password)

        monkeypatch.setattr(passwords, "check_password_hash", check)
        log_in(anonymous, "owner", "wrong")
        log_in(anonymous, "unknown", "wrong")
        assert len(checked) == 2
        assert checked[0] == checked[1]

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
    def test_refuses_bad_bodies(self, anonymous: ApiClient, owner: ApiClient, body: Any) -> None:
        assert code(anonymous.post("/api/auth/login", body)) == (400, "validation_error")


class TestThrottle:
    def test_holds_back_one_name_from_one_address(
        self, app: Flask, anonymous: ApiClient, owner: ApiClient, other: ApiClient
    ) -> None:
        for _ in range(10):
            assert log_in(anonymous, "Owner", "wrong").status_code == 401
        answer = log_in(anonymous, "owner", PASSWORD)
        assert code(answer) == (429, "rate_limited")
        assert 0 < int(answer.headers["Retry-After"]) <= 300
        assert log_in(anonymous, "other").status_code == 200
        assert log_in(anonymous, environ_overrides={"REMOTE_ADDR": "10.0.0.9"}).status_code == 200

    def test_holds_back_one_address(self, app: Flask, anonymous: ApiClient, owner: ApiClient, monkeypatch: Any) -> None:
        monkeypatch.setattr(passwords, "check_password_hash", lambda h, p: p == PASSWORD)
        for number in range(100):
            assert log_in(anonymous, f"name {number}", "wrong").status_code == 401
        assert code(log_in(anonymous)) == (429, "rate_limited")
        assert log_in(anonymous, environ_overrides={"REMOTE_ADDR": "10.0.0.9"}).status_code == 200

    def test_counts_failures_alone_and_forgets_them(
        self, anonymous: ApiClient, owner: ApiClient, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(passwords, "check_password_hash", lambda h, p: p == PASSWORD)
        clock = [1_000.0]
        monkeypatch.setattr(throttle.time, "monotonic", lambda: clock[0])
        for _ in range(9):
            log_in(anonymous, password="wrong")
        for _ in range(20):
            assert log_in(anonymous).status_code == 200
        assert log_in(anonymous, password="wrong").status_code == 401
        assert log_in(anonymous).status_code == 429
        clock[0] += 299
        assert log_in(anonymous).headers["Retry-After"] == "1"
        clock[0] += 1
        assert log_in(anonymous).status_code == 200

    def test_counts_wrong_current_passwords_too(self, owner: ApiClient) -> None:
        for _ in range(10):
            owner.post("/api/auth/password", {"current_password": "wrong", "new_password": "long enough"})
        answer = owner.post("/api/auth/password", {"current_password": PASSWORD, "new_password": "long enough"})
        assert code(answer) == (429, "rate_limited")


class TestRefresh:
    def test_gives_a_new_pair_and_spends_the_old_token(self, anonymous: ApiClient, owner: ApiClient) -> None:
        access, refresh = logged_in(anonymous, owner)
        answer = refresh.post("/api/auth/refresh")
        assert answer.status_code == 200
        new_access = ApiClient(anonymous.client, answer.get_json()["access_token"])
        new_refresh = ApiClient(anonymous.client, answer.get_json()["refresh_token"])
        assert new_access.get("/api/auth/me").status_code == access.get("/api/auth/me").status_code == 200

        assert code(refresh.post("/api/auth/refresh")) == (401, "token_revoked")  # used again: a thief, or robbed
        for token in (access, new_access):
            assert code(token.get("/api/auth/me")) == (401, "token_revoked")
        assert code(new_refresh.post("/api/auth/refresh")) == (401, "token_revoked")

    def test_leaves_other_logins_alone(self, anonymous: ApiClient, owner: ApiClient) -> None:
        _, refresh = logged_in(anonymous, owner)
        refresh.post("/api/auth/refresh")
        refresh.post("/api/auth/refresh")
        assert owner.get("/api/auth/me").status_code == 200

    def test_wants_a_refresh_token(self, anonymous: ApiClient, owner: ApiClient) -> None:
        access, refresh = logged_in(anonymous, owner)
        assert code(access.post("/api/auth/refresh")) == (401, "invalid_token")
        for path in ("/api/auth/me", "/api/sessions"):
            assert code(refresh.get(path)) == (401, "invalid_token")
        assert code(anonymous.post("/api/auth/refresh")) == (401, "missing_token")


@pytest.mark.parametrize("which", [0, 1])
def test_logging_out_with_either_token_kills_both(anonymous: ApiClient, owner: ApiClient, which: int) -> None:
    tokens = access, refresh = logged_in(anonymous, owner)
    answer = tokens[which].post("/api/auth/logout")
    assert (answer.status_code, answer.data) == (204, b"")
    assert code(access.get("/api/auth/me")) == (401, "token_revoked")
    assert code(refresh.post("/api/auth/refresh")) == (401, "token_revoked")
    assert code(tokens[which].post("/api/auth/logout")) == (401, "token_revoked")
    assert owner.get("/api/auth/me").status_code == 200


class TestPassword:
    def test_changes_and_revokes_every_other_login(self, anonymous: ApiClient, owner: ApiClient) -> None:
        access, refresh = logged_in(anonymous, owner)
        answer = access.post("/api/auth/password", {"current_password": PASSWORD, "new_password": "new password"})
        assert (answer.status_code, answer.data) == (204, b"")
        assert code(owner.get("/api/auth/me")) == (401, "token_revoked")
        assert access.get("/api/auth/me").status_code == 200
        assert refresh.post("/api/auth/refresh").status_code == 200
        assert log_in(anonymous).status_code == 401
        assert log_in(anonymous, password="new password").status_code == 200

    @pytest.mark.parametrize("new", ["x" * 7, "x" * 1_025, None, 5, "", "\0" * 10])
    def test_refuses(self, anonymous: ApiClient, owner: ApiClient, new: Any) -> None:
        answer = owner.post("/api/auth/password", {"current_password": PASSWORD, "new_password": new})
        assert code(answer) == (400, "validation_error")
        assert log_in(anonymous).status_code == 200

    def test_wants_the_current_one(self, anonymous: ApiClient, owner: ApiClient) -> None:
        body = {"current_password": "wrong", "new_password": "long enough"}
        assert code(owner.post("/api/auth/password", body)) == (401, "invalid_credentials")
        assert code(anonymous.post("/api/auth/password", body)) == (401, "missing_token")
        assert log_in(anonymous).status_code == 200


def test_a_token_dies_with_its_user(app: Flask, owner: ApiClient) -> None:
    owner.imported()
    User.delete().where(User.id == owner.user_id).execute()
    assert code(owner.get("/api/sessions")) == (401, "token_revoked")
    assert query_db("SELECT * FROM logins") == query_db("SELECT * FROM sessions") == []


def test_a_user_removed_in_the_middle_of_a_request_is_a_401(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    User.delete().where(User.id == owner.user_id).execute()
    monkeypatch.setattr(stored_logins, "is_active", lambda *ids: True)
    assert code(owner.post("/api/sessions")) == (401, "token_revoked")
    assert code(owner.get("/api/auth/me")) == (401, "token_revoked")


def claims(owner: ApiClient) -> dict[str, Any]:
    real: dict[str, Any] = jwt.decode(str(owner.token), options={"verify_signature": False})
    return real


def without(*names: str) -> Any:
    return lambda real: {name: value for name, value in real.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda real: real, None),
        (lambda real: real | {"exp": int(time.time()) - 1}, "token_expired"),
        (lambda real: real | {"exp": 0}, "token_expired"),
        (lambda real: real | {"exp": "x"}, "invalid_token"),
        (lambda real: real | {"exp": None}, "invalid_token"),
        (lambda real: real | {"exp": []}, "invalid_token"),
        (lambda real: real | {"exp": float("inf")}, "invalid_token"),
        (lambda real: real | {"exp": float("nan")}, "invalid_token"),
        (without("exp"), "invalid_token"),
        (without("jti"), "invalid_token"),
        (without("type"), "invalid_token"),
        (without("sub"), "invalid_token"),
        (without("login"), "invalid_token"),
        (lambda real: real | {"type": "refresh"}, "invalid_token"),
        (lambda real: real | {"type": "other"}, "invalid_token"),
        (lambda real: real | {"type": ["access"]}, "invalid_token"),
        (lambda real: real | {"sub": 5}, "invalid_token"),
        (lambda real: real | {"jti": 5}, "invalid_token"),
        (lambda real: real | {"login": {}}, "invalid_token"),
        (lambda real: real | {"aud": "elsewhere"}, "invalid_token"),
        (lambda real: real | {"nbf": int(time.time()) + 1_000}, "invalid_token"),
        (lambda real: real | {"login": USER_ID}, "token_revoked"),
        (lambda real: real | {"sub": USER_ID}, "token_revoked"),
        (lambda real: real | {"login": "\0"}, "token_revoked"),
        (lambda real: real | {"login": "\ud800"}, "invalid_token"),
    ],
)
def test_what_a_token_must_say(owner: ApiClient, change: Any, expected: str | None) -> None:
    forged = ApiClient(owner.client, jwt.encode(change(claims(owner)), SECRET, "HS256"))
    for _ in range(2):  # the second one is remembered
        answer = forged.get("/api/auth/me")
        if expected is None:
            assert answer.status_code == 200
        else:
            assert code(answer) == (401, expected)


@pytest.mark.parametrize(
    "forge",
    [
        lambda real: jwt.encode(real, SECRET, "HS384"),
        lambda real: jwt.encode(real, SECRET, "HS512"),
        lambda real: jwt.encode(real, None, "none"),
        lambda real: jwt.encode(real, SECRET + "x", "HS256"),
        lambda real: jwt.encode(real, SECRET, "HS256")[:-2],
        lambda real: jwt.encode(real, SECRET, "HS256").rpartition(".")[0] + ".",
        lambda real: jwt.encode(real, SECRET, "HS256") + "x",
        lambda real: "." * 2,
        lambda real: "x",
        lambda real: "é",
        lambda real: "a.b.c.d.e",
        lambda real: "e30.e30.e30",
        lambda real: "x" * 10_000,
        lambda real: jwt.encode(real, SECRET, "HS256") + " again",
    ],
)  # fmt: skip
def test_forged_tokens(owner: ApiClient, forge: Any) -> None:
    assert code(ApiClient(owner.client, forge(claims(owner))).get("/api/auth/me")) == (401, "invalid_token")


@pytest.mark.parametrize(
    ("header", "status", "error"),
    [
        ("Bearer {token}", 200, None),
        ("bearer {token}", 200, None),
        ("BEARER   {token}  ", 200, None),
        ("", 401, "missing_token"),
        ("Bearer", 401, "missing_token"),
        ("Bearer ", 401, "missing_token"),
        ("{token}", 401, "missing_token"),
        ("Basic {token}", 401, "missing_token"),
        ("Bearer{token}", 401, "missing_token"),
        ("Bearer Bearer {token}", 401, "invalid_token"),
        ("Bearer {token}, Bearer {token}", 401, "invalid_token"),
    ],
)
def test_the_authorization_header(
    anonymous: ApiClient, owner: ApiClient, header: str, status: int, error: str | None
) -> None:
    answer = anonymous.get("/api/auth/me", headers={"Authorization": header.format(token=owner.token)})
    assert answer.status_code == status
    assert answer.get_json().get("error") == error
    assert (answer.headers.get("WWW-Authenticate") == "Bearer") is (status == 401)


def test_tokens_come_in_headers_only(anonymous: ApiClient, owner: ApiClient) -> None:
    anonymous.client.set_cookie("access_token_cookie", str(owner.token))
    assert anonymous.get(f"/api/auth/me?jwt={owner.token}&access_token={owner.token}").status_code == 401


def test_an_expired_token_is_refused_though_it_is_remembered(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert owner.get("/api/auth/me").status_code == 200
    real = time.time
    monkeypatch.setattr(tokens.time, "time", lambda: real() + 86_400)
    assert code(owner.get("/api/auth/me")) == (401, "token_expired")


def test_what_is_remembered_is_bounded(app: Flask, owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenVerifier, "CACHE_SIZE", 3)
    for number in range(5):
        add_user(app, f"user {number}").get("/api/auth/me")
    assert len(app.extensions["verifier"]._cache) == 3
    assert owner.get("/api/auth/me").status_code == 200


def test_old_logins_go_when_a_new_one_comes(anonymous: ApiClient, owner: ApiClient) -> None:
    query_db("UPDATE logins SET expires_at = '2020-01-01T00:00:00.000Z'")
    log_in(anonymous)
    assert len(query_db("SELECT * FROM logins")) == 1
