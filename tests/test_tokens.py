"""Verification of tokens: their claims, their signature, the header that carries them, the cache."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from flask import Flask

from auth import tokens
from auth.tokens import TokenVerifier
from tests.helpers.client import UNKNOWN_ID, ApiClient, add_user, error_of
from tests.helpers.engine import SECRET


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
        (lambda real: real | {"login": UNKNOWN_ID}, "token_revoked"),
        (lambda real: real | {"sub": UNKNOWN_ID}, "token_revoked"),
        (lambda real: real | {"login": "\0"}, "invalid_token"),
        (lambda real: real | {"sub": "\0"}, "invalid_token"),
        (lambda real: real | {"login": "\ud800"}, "invalid_token"),
    ],
)
def test_rejects_invalid_claims(owner: ApiClient, change: Any, expected: str | None) -> None:
    forged = ApiClient(owner.client, jwt.encode(change(claims(owner)), SECRET, "HS256"))
    for _ in range(2):  # the second one is in the cache
        response = forged.get("/api/auth/me")
        if expected is None:
            assert response.status_code == 200
        else:
            assert error_of(response) == (401, expected)


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
def test_rejects_forged_tokens(owner: ApiClient, forge: Any) -> None:
    assert error_of(ApiClient(owner.client, forge(claims(owner))).get("/api/auth/me")) == (401, "invalid_token")


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
def test_parses_the_authorization_header(
    anonymous: ApiClient, owner: ApiClient, header: str, status: int, error: str | None
) -> None:
    response = anonymous.get("/api/auth/me", headers={"Authorization": header.format(token=owner.token)})
    assert response.status_code == status
    assert response.get_json().get("error") == error
    assert (response.headers.get("WWW-Authenticate") == "Bearer") is (status == 401)


def test_ignores_tokens_outside_the_header(anonymous: ApiClient, owner: ApiClient) -> None:
    anonymous.client.set_cookie("access_token_cookie", str(owner.token))
    assert anonymous.get(f"/api/auth/me?jwt={owner.token}&access_token={owner.token}").status_code == 401


def test_rejects_an_expired_token_from_the_cache(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert owner.get("/api/auth/me").status_code == 200
    real = time.time
    monkeypatch.setattr(tokens.time, "time", lambda: real() + 86_400)
    assert error_of(owner.get("/api/auth/me")) == (401, "token_expired")


def test_cache_is_bounded(app: Flask, owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenVerifier, "CACHE_SIZE", 3)
    for number in range(5):
        add_user(app, f"user {number}").get("/api/auth/me")
    assert len(app.extensions["verifier"]._cache) == 3
    assert owner.get("/api/auth/me").status_code == 200
