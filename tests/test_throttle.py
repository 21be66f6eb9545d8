"""Protection of logins from brute force."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

import timestamps
from auth import passwords
from database import db
from store import login_attempts
from store.login_attempts import digest
from tests.helpers.client import PASSWORD, ApiClient, error_of, log_in
from tests.helpers.database import query_db, run_in_transaction


def age_attempts(seconds: float) -> None:
    """Make all attempts so many seconds older."""
    for attempt_id, attempted_at in query_db("SELECT id, attempted_at FROM login_attempts"):
        older = timestamps.timestamp_before(attempted_at, seconds=seconds)
        query_db("UPDATE login_attempts SET attempted_at = ? WHERE id = ?", older, attempt_id)


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "check_password_hash", lambda h, p: p == PASSWORD)


def test_limits_a_name_from_an_address(anonymous: ApiClient, owner: ApiClient, other: ApiClient) -> None:
    for _ in range(10):
        assert log_in(anonymous, "Owner", "wrong").status_code == 401
    response = log_in(anonymous, "owner", PASSWORD)
    assert error_of(response) == (429, "rate_limited")
    assert 0 < int(response.headers["Retry-After"]) <= 300
    assert log_in(anonymous, "other").status_code == 200
    assert log_in(anonymous, environ_overrides={"REMOTE_ADDR": "10.0.0.9"}).status_code == 200


@pytest.mark.usefixtures("quick_hashes")
def test_limits_an_address(anonymous: ApiClient, owner: ApiClient) -> None:
    for number in range(100):
        assert log_in(anonymous, f"name {number}", "wrong").status_code == 401
    assert error_of(log_in(anonymous)) == (429, "rate_limited")
    assert log_in(anonymous, environ_overrides={"REMOTE_ADDR": "10.0.0.9"}).status_code == 200


@pytest.mark.usefixtures("quick_hashes")
def test_counts_only_failures_and_forgets_them(anonymous: ApiClient, owner: ApiClient) -> None:
    for _ in range(9):
        log_in(anonymous, password="wrong")
    for _ in range(20):
        assert log_in(anonymous).status_code == 200
    assert log_in(anonymous, password="wrong").status_code == 401
    assert log_in(anonymous).status_code == 429
    age_attempts(200)
    assert 1 <= int(log_in(anonymous).headers["Retry-After"]) <= 100
    age_attempts(100)
    assert log_in(anonymous).status_code == 200


def test_retry_after_is_when_the_tenth_from_the_end_is_too_old(anonymous: ApiClient, owner: ApiClient) -> None:
    """Processes that check at the same moment may have exceeded the limit."""
    for minutes_ago in (4, 3, 2, 1, 0):
        for _ in range(3 if minutes_ago else 1):
            run_in_transaction(login_attempts.create, digest("127.0.0.1"), digest("owner"))
        age_attempts(60 if minutes_ago else 0)
    assert 60 < int(log_in(anonymous).headers["Retry-After"]) <= 120


def test_an_attempt_in_progress_counts(app: Flask, anonymous: ApiClient, owner: ApiClient) -> None:
    """So that many at once gain nothing."""

    def attempt(_: int) -> int:
        try:
            return log_in(ApiClient(app.test_client(), None), password="wrong").status_code
        finally:
            db.close()

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(attempt, range(24)))
    refused = statuses.count(401)
    assert set(statuses) == {401, 429}
    assert refused == 10 if db.dialect == "sqlite" else 10 <= refused <= 21


def test_counts_wrong_current_passwords(owner: ApiClient) -> None:
    for _ in range(10):
        owner.post("/api/auth/password", {"current_password": "wrong", "new_password": "long enough"})
    response = owner.post("/api/auth/password", {"current_password": PASSWORD, "new_password": "long enough"})
    assert error_of(response) == (429, "rate_limited")


@pytest.mark.usefixtures("quick_hashes")
def test_other_failures_do_not_count(anonymous: ApiClient, owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "check_password_hash", lambda h, p: 1 / 0)
        for _ in range(11):
            assert log_in(anonymous).status_code == 500
    assert log_in(anonymous).status_code == 200
    assert query_db("SELECT * FROM login_attempts") == []


@pytest.mark.usefixtures("quick_hashes")
def test_a_blocked_attempt_writes_nothing(anonymous: ApiClient, owner: ApiClient) -> None:
    for _ in range(10):
        log_in(anonymous, password="wrong")
    stored = query_db("SELECT id FROM login_attempts")
    assert len(stored) == 10
    for _ in range(5):
        assert log_in(anonymous, password="wrong").status_code == 429
    assert query_db("SELECT id FROM login_attempts") == stored


@pytest.mark.usefixtures("quick_hashes")
@pytest.mark.parametrize("name", ["my secret password", "x" * 1_024, "🜁" * 1_000])
def test_what_was_typed_is_not_stored(anonymous: ApiClient, owner: ApiClient, name: str) -> None:
    """A password is easily typed as a name."""
    for _ in range(10):
        assert log_in(anonymous, name, "x").status_code == 401
    assert log_in(anonymous, name, "x").status_code == 429
    assert name[:50] not in str(query_db("SELECT * FROM login_attempts"))


@pytest.mark.usefixtures("quick_hashes")
def test_old_attempts_are_deleted(anonymous: ApiClient, owner: ApiClient) -> None:
    for _ in range(3):
        log_in(anonymous, password="wrong")
    age_attempts(300)
    log_in(anonymous, password="wrong")
    login_attempts.delete_expired()
    assert len(query_db("SELECT * FROM login_attempts")) == 1
