"""Idempotency-Key: a request that is sent again gets the first response, and its work is done once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import jsonstream
from database import db
from tests.contract import CALLS, DOCUMENT
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db
from tests.helpers.full_settings import SLOW_ACTION, full_settings
from tests.helpers.idempotency import count_rows, send_with_key
from tests.helpers.process import FakeLlm
from tests.helpers.webhook_receiver import WebhookReceiver

CREATING = [
    (call.path("{id}"), call.body)
    for call in CALLS
    if call.idempotent and call.status == 201 and isinstance(call.body, dict)
]
"""Path and body of each request of the contract that creates something and supports a key."""
NOT_CHATS = [(path, body) for path, body in CREATING if not path.endswith("/chat")]


@pytest.fixture
def settings(
    settings: dict[str, Any],
    fake_llm: FakeLlm,
    receiver: WebhookReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    return settings | full_settings(tmp_path, fake_llm.url, receiver.url, monkeypatch)


@pytest.mark.parametrize(("path", "body"), CREATING)
def test_repeated_request_gets_the_first_response(owner: ApiClient, other: ApiClient, path: str, body: Any) -> None:
    session = owner.session()
    path = path.format(id=session["id"])
    first = send_with_key(owner, path, body, Accept="application/json")
    assert first.status_code == 201
    stored = count_rows()
    for _ in range(2):
        again = send_with_key(owner, path, body, Accept="application/json")
        assert (again.status_code, again.get_json()) == (201, first.get_json())
        assert count_rows() == stored
    for changed in (body | {"more": 1}, body | {"title": "x"}):
        rejected = send_with_key(owner, path, changed)
        assert (rejected.status_code, rejected.get_json()) == (409, {"error": "conflict"})
    assert send_with_key(owner, "/api/sessions", body).status_code == (201 if path == "/api/sessions" else 409)
    assert count_rows() == stored
    assert send_with_key(owner, path, body, "another key", Accept="application/json").get_json() != first.get_json()
    others = send_with_key(other, path, body, Accept="application/json")  # keys belong to a user
    assert others.status_code == (404 if session["id"] in path else 201)
    assert others.get_json() != first.get_json()


def test_body_that_is_read_from_a_file_is_told_from_another_one(
    owner: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonstream, "LARGE_BYTES", 10)
    first = send_with_key(owner, "/api/sessions", {"title": "a large body"})
    again = send_with_key(owner, "/api/sessions", {"title": "a large body"})
    assert (first.status_code, again.get_json()) == (201, first.get_json())
    other = send_with_key(owner, "/api/sessions", {"title": "another body"})
    assert (other.status_code, other.get_json()) == (409, {"error": "conflict"})


def test_response_is_the_first_even_after_updates(owner: ApiClient) -> None:
    first = send_with_key(owner, "/api/sessions", {"title": "one"}).get_json()
    owner.patch(f"/api/sessions/{first['id']}", {"title": "two"})
    assert send_with_key(owner, "/api/sessions", {"title": "one"}).get_json() == first
    owner.delete(f"/api/sessions/{first['id']}")
    assert send_with_key(owner, "/api/sessions", {"title": "one"}).get_json() == first
    assert owner.get("/api/sessions").get_json() == {"items": []}


def test_text_is_not_stored_beyond_its_session(owner: ApiClient) -> None:
    session = owner.session()
    path = f"/api/sessions/{session['id']}/messages"
    send_with_key(owner, path, message("a secret"))
    assert "a secret" not in str(query_db("SELECT * FROM retries"))
    owner.delete(f"/api/sessions/{session['id']}")
    assert send_with_key(owner, path, message("a secret")).get_json() == {"error": "session_not_found"}


def test_failed_requests_do_not_use_up_their_key(owner: ApiClient) -> None:
    assert send_with_key(owner, "/api/sessions", {"title": ""}).status_code == 400
    assert send_with_key(owner, "/api/sessions/nothing/messages", message()).status_code == 404
    assert send_with_key(owner, "/api/sessions/import?dry_run=1", DOCUMENT).status_code == 200
    assert query_db("SELECT * FROM retries") == []
    assert send_with_key(owner, "/api/sessions", {"title": "x"}).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
def test_rejects_invalid_keys(owner: ApiClient, key: str) -> None:
    response = send_with_key(owner, "/api/sessions", {}, key)
    assert (response.status_code, set(response.get_json()["details"])) == (400, {"Idempotency-Key"})
    assert owner.get("/api/sessions").get_json() == {"items": []}


def test_no_body_differs_from_an_empty_object(owner: ApiClient) -> None:
    key = {"Idempotency-Key": "k"}
    first = owner.post("/api/sessions", headers=key)
    assert owner.post("/api/sessions", headers=key).data == first.data
    assert owner.post("/api/sessions", {}, headers=key).status_code == 409


def test_keys_expire_after_a_day(owner: ApiClient) -> None:
    first = send_with_key(owner, "/api/sessions", {}).get_json()
    send_with_key(owner, "/api/sessions", {}, "recent")
    query_db("UPDATE retries SET created_at = '2026-01-01T00:00:00.000Z' WHERE key = 'a key'")
    assert send_with_key(owner, "/api/sessions", {}).get_json()["id"] != first["id"]
    again = send_with_key(owner, "/api/sessions", {})  # from now on the response to the second
    assert again.get_json()["id"] == query_db("SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1")[0][0]
    assert len(query_db("SELECT * FROM retries")) == 2


def test_expired_key_may_be_used_for_another_request(owner: ApiClient) -> None:
    session = owner.session()
    send_with_key(owner, "/api/sessions", {"title": "one"})
    query_db("UPDATE retries SET created_at = '2026-01-01T00:00:00.000Z'")
    path = f"/api/sessions/{session['id']}/messages"
    first = send_with_key(owner, path, message())
    assert first.status_code == 201
    assert send_with_key(owner, path, message()).get_json() == first.get_json()
    assert send_with_key(owner, "/api/sessions", {"title": "one"}).status_code == 409


@pytest.mark.parametrize(("path", "body"), [*NOT_CHATS, (f"/api/sessions/{{id}}/actions/{SLOW_ACTION}", {})])
def test_concurrent_requests_do_the_work_once(
    app: Flask, owner: ApiClient, receiver: WebhookReceiver, path: str, body: Any
) -> None:
    session = owner.session()
    before = count_rows()

    def send(_: int) -> Any:
        response = send_with_key(ApiClient(app.test_client(), owner.token), path.format(id=session["id"]), body)
        db.close()
        return response.status_code, response.get_json()

    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(send, range(4)))
    assert responses == [responses[0]] * 4
    assert responses[0][0] == 201
    after = count_rows()
    created = 1 if "import" not in path else 4
    assert sum(after.values()) - sum(before.values()) == created
    assert len(receiver.received) == (1 if "actions" in path else 0)


@pytest.mark.parametrize(("path", "body"), NOT_CHATS)
def test_repeated_request_waits_for_an_uncommitted_one(app: Flask, owner: ApiClient, path: str, body: Any) -> None:
    path = path.format(id=owner.session()["id"])
    before = count_rows()

    def repeat() -> Any:
        response = send_with_key(ApiClient(app.test_client(), owner.token), path, body)
        db.close()
        return response.status_code, response.get_json()

    with ThreadPoolExecutor(1) as pool:
        with db.write_transaction():
            first = send_with_key(owner, path, body)
            second = pool.submit(repeat)
            time.sleep(0.2)  # it does not see the first one, and waits for the write lock to do the work itself
        assert second.result(timeout=10) == (first.status_code, first.get_json())
    assert first.status_code == 201
    created = {table: number - before[table] for table, number in count_rows().items()}
    assert sum(created.values()) == (4 if "import" in path else 1)
