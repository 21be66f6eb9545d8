"""Firing actions: the call, its run, and who may fire what."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from database import db
from services import webhooks
from store import webhook_runs
from tests.helpers.actions import action_table, fire, list_runs, write_actions
from tests.helpers.client import UNKNOWN_ID, ApiClient, message
from tests.helpers.clock import frozen_time
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.webhook_receiver import SECRET, Handler, WebhookReceiver

TIMESTAMP = "2026-01-31T09:30:00.000Z"


@pytest.fixture
def settings(
    settings: dict[str, Any], receiver: WebhookReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # must not be used
    return settings | {"PARLEY_ACTIONS_FILE": str(write_actions(tmp_path / "actions.toml", receiver.url))}


def test_list_has_no_urls_and_secrets(owner: ApiClient, anonymous: ApiClient) -> None:
    response = owner.get("/api/actions")
    items = response.get_json()["items"]
    assert [item["name"] for item in items][2:4] == ["ok", "status-500"]
    assert {tuple(item) for item in items} == {("name", "description", "parameters")}
    assert items[0]["parameters"] == {"type": "object"}
    assert b"127.0.0.1" not in response.data
    assert SECRET.encode() not in response.data
    assert anonymous.get("/api/actions").status_code == 401


def test_call_is_signed_and_recorded(owner: ApiClient, receiver: WebhookReceiver) -> None:
    session = owner.session()
    response = fire(owner, session, "ok", input={"a": [1, "é", None], "big": 2**70})
    run = response.get_json()
    assert response.status_code == 201
    assert list_runs(owner, session) == [run]
    ((path, event, headers, body),) = receiver.received
    assert (path, event) == ("/ok", run["request"])
    assert f'"big":{2**70}' in body
    assert event["type"] == "ok"
    assert event["data"] == {
        "run_id": run["id"],
        "session_id": session["id"],
        "input": {"a": [1, "é", None], "big": 2**70},
    }
    assert headers["webhook-id"] == run["id"]
    assert "Authorization" not in headers
    assert (run["status"], run["response_status"], run["response_body"]) == ("succeeded", 200, '{"done": true}')
    assert (run["action"], run["error"]) == ("ok", None)
    assert run["started_at"] <= run["finished_at"]
    assert run["duration_ms"] >= 0


@pytest.mark.parametrize(
    ("name", "status", "error", "response_status", "response_body"),
    [
        ("status-500", "failed", "bad_status", 500, "no"),
        ("status-404", "failed", "bad_status", 404, "no"),
        ("redirect", "failed", "bad_status", 302, ""),
        ("large-20000", "succeeded", None, 200, "é" * 8_192),
        ("large-3", "succeeded", None, 200, "ééé"),
        ("odd", "succeeded", None, 200, "a\ufffdb\ufffd"),
        ("slow-30", "failed", "timeout", 200, "begun"),
        ("close", "failed", "unreachable", None, None),
        ("gone", "failed", "unreachable", None, None),
    ],
)
def test_run_has_the_outcome(
    owner: ApiClient, name: str, status: str, error: str | None, response_status: int | None, response_body: str | None
) -> None:
    session = owner.session()
    response = fire(owner, session, name)
    run = response.get_json()
    assert response.status_code == 201
    assert (run["status"], run["error"]) == (status, error)
    assert (run["response_status"], run["response_body"]) == (response_status, response_body)
    assert list_runs(owner, session) == [run]


def test_cookies_are_not_stored(owner: ApiClient, other: ApiClient, receiver: WebhookReceiver) -> None:
    for client in (owner, other, owner):
        assert fire(client, client.session(), "cookie-who-alice").get_json()["status"] == "succeeded"
    assert [headers.get("Cookie") for _, _, headers, _ in receiver.received] == [None] * 3


def test_each_call_has_its_own_connection(owner: ApiClient, receiver: WebhookReceiver) -> None:
    session = owner.session()
    for _ in range(30):  # at once, just after the connection before is closed
        assert fire(owner, session, "hang-up").get_json()["status"] == "succeeded"
    assert len(set(receiver.connections)) == len(receiver.received) == 30


def test_receiver_with_a_short_keep_alive_gets_every_call(
    owner: ApiClient, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.05)  # that of the handler's socket
    session = owner.session()
    for number in range(20):
        time.sleep(0.045 + number % 5 * 0.003)  # just when the receiver closes the connection
        assert fire(owner, session, "ok").get_json()["status"] == "succeeded"


def test_query_of_a_url_is_sent_and_shown_nowhere(
    owner: ApiClient,
    receiver: WebhookReceiver,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    query = "sig=only%2Bfor?receivers&sp=/x"
    tables = [
        action_table(name, f"{url}?{query}")
        for name, url in {
            "ok": f"{receiver.url}/ok",
            "no": f"{receiver.url}/status/500",
            "close": f"{receiver.url}/close",
            "gone": "http://127.0.0.1:9",
            "redirect": f"{receiver.url}/redirect",
        }.items()
    ]
    path = tmp_path / "signed.toml"
    path.write_text("\n".join(tables))
    app = create_app(settings | {"PARLEY_ACTIONS_FILE": str(path), "PARLEY_LOG_LEVEL": "DEBUG"})
    for name in ("parley", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name).propagate = True
    caplog.set_level(logging.DEBUG)
    client = ApiClient(app.test_client(), owner.token)
    app.extensions["services"].start()
    session = client.session()
    shown = [client.get("/api/actions").text, repr(app.extensions["services"].actions)]
    for name in ("ok", "no", "close", "gone", "redirect"):
        shown.append(fire(client, session, name).text)
    shown += [fire(client, session, "ok", input=5).text, fire(client, session, "nothing").text]
    for rest in ("", "/webhook-runs", "/export", "/export?format=markdown", "/prompt?content=x"):
        shown.append(client.get(f"/api/sessions/{session['id']}{rest}").text)
    shown.append(str(query_db("SELECT * FROM webhook_runs")))
    app.extensions["services"].close()
    assert next(path for path, *_ in receiver.received) == f"/ok?{query}"
    assert len(receiver.received) == 4
    for text in (*shown, caplog.text):
        assert "sig=" not in text
        assert "receivers" not in text


def test_runs_are_listed_oldest_first(owner: ApiClient) -> None:
    session = owner.session()
    names = ["ok", "large-3", "gone", "ok"]
    with frozen_time(TIMESTAMP):
        fired = [fire(owner, session, name).get_json() for name in names]
    assert list_runs(owner, session) == fired
    assert list_runs(owner, owner.session()) == []


def test_runs_are_not_exported_and_are_deleted_with_the_session(owner: ApiClient) -> None:
    session = owner.imported(message())
    fire(owner, session, "ok")
    assert set(owner.get(f"/api/sessions/{session['id']}/export").get_json()) == {
        "version",
        "exported_at",
        "session",
        "messages",
    }
    assert len(query_db("SELECT * FROM webhook_runs")) == 1
    owner.delete(f"/api/sessions/{session['id']}")
    assert query_db("SELECT * FROM webhook_runs") == []


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ({}, {"input"}),
        ({"name": 5}, {"input.name"}),
        ({"name": "longer"}, {"input.name"}),
        ({"name": "x", "more": 1}, {"input"}),
        ({"name": "x", "count": 1.5, "tags": ["a", 2]}, {"input.count", "input.tags.1"}),
    ],
)
def test_rejects_input_that_does_not_match_the_parameters(
    owner: ApiClient, receiver: WebhookReceiver, value: Any, paths: set[str]
) -> None:
    session = owner.session()
    for target in (session, {"id": UNKNOWN_ID}):  # the body is checked first
        response = fire(owner, target, "strict", input=value)
        assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
        assert set(response.get_json()["details"]) == paths
    assert list_runs(owner, session) == []
    assert receiver.received == []
    assert fire(owner, session, "strict", input={"name": "x", "count": 2, "tags": ["a"]}).status_code == 201


@pytest.mark.parametrize("body", [[], {"input": []}, {"input": None}, {"input": "x"}, {"input": {"a": "\0"}}])
def test_rejects_an_invalid_body(owner: ApiClient, body: Any) -> None:
    session = owner.session()
    response = owner.post(f"/api/sessions/{session['id']}/actions/ok", body)
    assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
    assert list_runs(owner, session) == []


def test_missing_body_is_an_empty_input(owner: ApiClient) -> None:
    session = owner.session()
    assert owner.post(f"/api/sessions/{session['id']}/actions/ok").get_json()["request"]["data"]["input"] == {}


def test_unknown_action(owner: ApiClient) -> None:
    session = owner.session()
    response = fire(owner, session, "nothing")
    assert (response.status_code, response.get_json()) == (404, {"error": "action_not_found"})
    assert fire(owner, {"id": UNKNOWN_ID}, "nothing").get_json() == {"error": "session_not_found"}


def test_firing_requires_ownership(
    owner: ApiClient, other: ApiClient, anonymous: ApiClient, receiver: WebhookReceiver
) -> None:
    session = owner.session()
    assert fire(anonymous, session, "ok").status_code == 401
    assert fire(other, session, "ok").data == fire(other, {"id": UNKNOWN_ID}, "ok").data
    assert fire(other, session, "ok").get_json() == {"error": "session_not_found"}
    assert receiver.received == []
    assert list_runs(owner, session) == []


def test_run_is_committed_before_the_call(owner: ApiClient, receiver: WebhookReceiver, app: Flask) -> None:
    session = owner.session()
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(fire_from_thread, app, owner, session, "held")
        receiver.wait_for_call()
        assert [run["status"] for run in list_runs(owner, session)] == ["running"]
        receiver.release.set()
        assert response.result(20).get_json()["status"] == "succeeded"


def fire_from_thread(app: Flask, client: ApiClient, session: dict[str, Any], name: str) -> Any:
    try:
        return fire(ApiClient(app.test_client(), client.token), session, name)
    finally:
        db.close()


def test_runs_of_a_dead_process_are_marked_interrupted(owner: ApiClient) -> None:
    session = owner.session()
    done = fire(owner, session, "ok").get_json()
    query_db(
        "INSERT INTO webhook_runs (id, session_id, action, status, request, started_at) "
        "VALUES (?, ?, 'ok', 'running', ?, ?)",
        UNKNOWN_ID,
        session["id"],
        "{}",
        TIMESTAMP,
    )
    run_in_transaction(webhook_runs.mark_interrupted)
    first, second = list_runs(owner, session)
    assert first == done
    assert (second["status"], second["response_status"], second["duration_ms"]) == ("interrupted", None, None)
    assert second["finished_at"] > TIMESTAMP


def test_rejects_a_long_input(owner: ApiClient) -> None:
    response = fire(owner, owner.session(), "ok", input={"a": "x" * 65_536})
    assert (response.status_code, set(response.get_json()["details"])) == (400, {"input"})
    assert fire(owner, owner.session(), "ok", input={"a": "x" * 65_000}).status_code == 201


def test_concurrent_calls_are_limited_per_user(
    owner: ApiClient, other: ApiClient, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MAX_CALLS_PER_USER", 0)
    response = fire(owner, owner.session(), "ok")
    assert (response.status_code, response.get_json()) == (429, {"error": "rate_limited"})
    assert response.headers["Retry-After"] == "1"
    monkeypatch.setattr(webhooks, "MAX_CALLS_PER_USER", 1)
    for client in (owner, other, owner):  # each releases its slot
        assert fire(client, client.session(), "ok").status_code == 201
