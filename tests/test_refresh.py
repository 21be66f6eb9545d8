"""Refresh tokens: rotated at each use. Used again at once it is a race, later a theft."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from database import db
from store import logins as stored_logins
from tests.helpers.client import PASSWORD, ApiClient, error_of, new_login
from tests.helpers.clock import later
from tests.helpers.database import query_db
from tests.helpers.process import ServerProcess

RACED = (409, "refresh_raced")
REVOKED = (401, "token_revoked")


def refresh(client: ApiClient) -> tuple[ApiClient, ApiClient]:
    """Refresh with a client's token; return clients with the new access and refresh tokens."""
    pair = client.post("/api/auth/refresh").get_json()
    return ApiClient(client.client, pair["access_token"]), ApiClient(client.client, pair["refresh_token"])


def test_rotates_the_token(anonymous: ApiClient, owner: ApiClient) -> None:
    access, token = new_login(anonymous, owner)
    response = token.post("/api/auth/refresh")
    assert response.status_code == 200
    assert list(response.get_json()) == ["access_token", "refresh_token", "token_type", "expires_in"]
    new_access, new_token = (
        ApiClient(token.client, response.get_json()[f"{kind}_token"]) for kind in ("access", "refresh")
    )
    assert new_access.get("/api/auth/me").status_code == access.get("/api/auth/me").status_code == 200
    assert new_token.post("/api/auth/refresh").status_code == 200


def test_requires_a_refresh_token(anonymous: ApiClient, owner: ApiClient) -> None:
    access, token = new_login(anonymous, owner)
    assert error_of(access.post("/api/auth/refresh")) == (401, "invalid_token")
    for path in ("/api/auth/me", "/api/sessions"):
        assert error_of(token.get(path)) == (401, "invalid_token")
    assert error_of(anonymous.post("/api/auth/refresh")) == (401, "missing_token")


def test_used_again_at_once_is_a_race_and_revokes_nothing(anonymous: ApiClient, owner: ApiClient) -> None:
    access, token = new_login(anonymous, owner)
    new_access, new_token = refresh(token)
    for _ in range(3):
        assert error_of(token.post("/api/auth/refresh")) == RACED
    with later(29):
        assert error_of(token.post("/api/auth/refresh")) == RACED
        assert access.get("/api/auth/me").status_code == new_access.get("/api/auth/me").status_code == 200
        assert new_token.post("/api/auth/refresh").status_code == 200


def test_used_again_later_revokes_the_login(anonymous: ApiClient, owner: ApiClient) -> None:
    """By a thief, or after one."""
    access, token = new_login(anonymous, owner)
    new_access, new_token = refresh(token)
    with later(31):
        assert error_of(token.post("/api/auth/refresh")) == REVOKED
    for client in (access, new_access):
        assert error_of(client.get("/api/auth/me")) == REVOKED
    assert error_of(new_token.post("/api/auth/refresh")) == REVOKED
    assert owner.get("/api/auth/me").status_code == 200


def test_each_token_of_the_last_half_minute_may_race(anonymous: ApiClient, owner: ApiClient) -> None:
    """Of many tabs that are restored at once, the last asks when the first ones have rotated it several times."""
    _, first = new_login(anonymous, owner)
    _, second = refresh(first)
    with later(20):
        _, third = refresh(second)
        _, fourth = refresh(third)
        for spent in (first, second, third):
            assert error_of(spent.post("/api/auth/refresh")) == RACED
    with later(40):
        assert error_of(second.post("/api/auth/refresh")) == RACED
        _, fifth = refresh(fourth)
        assert error_of(first.post("/api/auth/refresh")) == REVOKED
        assert error_of(fifth.post("/api/auth/refresh")) == REVOKED


def test_a_login_keeps_few_of_its_tokens(
    anonymous: ApiClient, owner: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a client refreshes; the oldest are forgotten, and so revoke the login."""
    monkeypatch.setattr(stored_logins, "MAX_ROTATED", 3)
    _, token = new_login(anonymous, owner)
    tokens = [token]
    for _ in range(5):
        tokens.append(refresh(tokens[-1])[1])
    assert max(length for (length,) in query_db("SELECT length(rotated) FROM logins")) < 250
    assert [error_of(spent.post("/api/auth/refresh")) for spent in tokens[2:5]] == [RACED] * 3
    assert error_of(tokens[1].post("/api/auth/refresh")) == REVOKED


def test_reuse_revokes_the_login_in_a_group_of_writes_too(anonymous: ApiClient, owner: ApiClient) -> None:
    access, token = new_login(anonymous, owner)
    with db.write_transaction():
        assert token.post("/api/auth/refresh").status_code == 200
        assert error_of(token.post("/api/auth/refresh")) == RACED
        with later(31):
            assert error_of(token.post("/api/auth/refresh")) == REVOKED
    assert error_of(access.get("/api/auth/me")) == REVOKED


@pytest.mark.parametrize("as_cookie", [False, True])
def test_of_requests_at_once_with_one_token_one_rotates_it(server: ServerProcess, as_cookie: bool) -> None:
    """With the cookie too: who lost the race asks again, with what the winner has left in the jar."""
    page = {"X-Parley": "page", "Sec-Fetch-Site": "same-origin"}
    body = {"username": "alice", "password": PASSWORD, "cookie": as_cookie}

    def token_of(answer: Any) -> str:
        _, pair, headers = answer
        return str(headers["Set-Cookie"].partition(";")[0] if as_cookie else pair["refresh_token"])

    def send(token: str) -> Any:
        if as_cookie:
            return server.request("POST", "/api/auth/refresh", headers=page | {"Cookie": token})
        return server.request("POST", "/api/auth/refresh", token=token)

    token = token_of(server.request("POST", "/api/auth/login", body))
    for _ in range(3):
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(send, [token] * 20))
        assert Counter(answer[0] for answer in answers) == {200: 1, 409: 19}
        assert not any("Set-Cookie" in headers for status, _, headers in answers if status == 409)
        spent, token = token, token_of(next(answer for answer in answers if answer[0] == 200))
        assert send(spent)[1] == {"error": "refresh_raced"}
    status, pair, _ = send(token)
    assert status == 200
    assert server.request("GET", "/api/auth/me", token=pair["access_token"])[0] == 200
