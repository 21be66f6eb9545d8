"""Protection of logins from brute force."""

from __future__ import annotations

import pytest

from auth import passwords, throttle
from tests.helpers.client import PASSWORD, ApiClient, error_of, log_in


def test_limits_a_name_from_an_address(anonymous: ApiClient, owner: ApiClient, other: ApiClient) -> None:
    for _ in range(10):
        assert log_in(anonymous, "Owner", "wrong").status_code == 401
    response = log_in(anonymous, "owner", PASSWORD)
    assert error_of(response) == (429, "rate_limited")
    assert 0 < int(response.headers["Retry-After"]) <= 300
    assert log_in(anonymous, "other").status_code == 200
    assert log_in(anonymous, environ_overrides={"REMOTE_ADDR": "10.0.0.9"}).status_code == 200


def test_limits_an_address(anonymous: ApiClient, owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "check_password_hash", lambda h, p: p == PASSWORD)
    for number in range(100):
        assert log_in(anonymous, f"name {number}", "wrong").status_code == 401
    assert error_of(log_in(anonymous)) == (429, "rate_limited")
    assert log_in(anonymous, environ_overrides={"REMOTE_ADDR": "10.0.0.9"}).status_code == 200


def test_counts_only_failures_and_forgets_them(
    anonymous: ApiClient, owner: ApiClient, monkeypatch: pytest.MonkeyPatch
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


def test_counts_wrong_current_passwords(owner: ApiClient) -> None:
    for _ in range(10):
        owner.post("/api/auth/password", {"current_password": "wrong", "new_password": "long enough"})
    response = owner.post("/api/auth/password", {"current_password": PASSWORD, "new_password": "long enough"})
    assert error_of(response) == (429, "rate_limited")
