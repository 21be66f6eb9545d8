"""Each request of the contract's table: without a token, by another user, by the owner; and the table has them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests import contract
from tests.contract import CALLS, OWNER, PUBLIC, USER, Call
from tests.helpers import openapi_checker
from tests.helpers.client import PASSWORD, UNKNOWN_ID, ApiClient, error_of, message
from tests.helpers.full_settings import full_settings
from tests.helpers.process import FakeLlm
from web.spec import spec_of


@pytest.fixture
def settings(
    settings: dict[str, Any], fake_llm: FakeLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Settings with a model and an action, so that every request can succeed."""
    return settings | full_settings(tmp_path, fake_llm.url, "http://127.0.0.1:9", monkeypatch)


@pytest.fixture
def session_id(owner: ApiClient) -> str:
    """A session of the owner's."""
    return str(owner.imported(message(metadata={"a": 1}), title="mine")["id"])


def send(caller: ApiClient, call: Call, session_id: str) -> Any:
    """Send a call's request and return the response, read to its end."""
    response = caller(call.method, call.path(session_id), call.body, headers=dict(call.headers))
    response.get_data()
    return response


def calls(*access: contract.Access) -> Any:
    """Parametrize a test with the calls that these may make."""
    return pytest.mark.parametrize("call", [call for call in CALLS if call.access in access], ids=str)


def log_in(anonymous: ApiClient, user: str) -> dict[str, str]:
    pair: dict[str, str] = anonymous.post("/api/auth/login", {"username": user, "password": PASSWORD}).get_json()
    return pair


def test_the_table_has_every_route(app: Flask) -> None:
    routes = {request for rule in contract.rules_of(app) for request in contract.requests_of(rule)}
    missing, removed = routes - contract.REQUESTS, contract.REQUESTS - routes
    assert not missing, f"add a Call to CALLS in tests/contract.py for {sorted(missing)}"
    assert not removed, f"remove from CALLS in tests/contract.py: {sorted(removed)}"


def test_routes_of_a_session_are_for_its_owner(app: Flask) -> None:
    of_a_session = {
        request
        for rule in contract.rules_of(app)
        if "session_id" in rule.arguments
        for request in contract.requests_of(rule)
    }
    owners = {call.request for call in CALLS if call.access is OWNER}
    others = of_a_session & {call.request for call in CALLS if call.access is not OWNER}
    assert not (of_a_session - owners) | others, (
        f"add a Call with OWNER to CALLS in tests/contract.py for {sorted((of_a_session - owners) | others)}"
    )


@calls(USER, OWNER)
def test_anonymous_gets_401(anonymous: ApiClient, session_id: str, call: Call) -> None:
    response = send(anonymous, call, session_id)
    assert (response.status_code, response.get_json()) == (401, {"error": "missing_token"})
    assert response.headers["WWW-Authenticate"] == "Bearer"


@calls(USER, OWNER)
def test_who_has_logged_out_gets_401(owner: ApiClient, anonymous: ApiClient, session_id: str, call: Call) -> None:
    caller = ApiClient(anonymous.client, log_in(anonymous, "owner")[call.token])
    caller.post("/api/auth/logout")
    assert error_of(send(caller, call, session_id)) == (401, "token_revoked")


@calls(OWNER)
def test_other_users_get_what_a_missing_session_gives(
    owner: ApiClient, other: ApiClient, session_id: str, call: Call
) -> None:
    before = owner.get(f"/api/sessions/{session_id}").data
    invisible, missing = send(other, call, session_id), send(other, call, UNKNOWN_ID)
    assert (invisible.status_code, invisible.get_json()) == (404, {"error": "session_not_found"})
    assert (missing.status_code, missing.data) == (404, invisible.data)
    headers, expected = dict(invisible.headers), dict(missing.headers)
    assert headers.pop("X-Request-Id") != expected.pop("X-Request-Id")
    assert headers == expected
    assert owner.get(f"/api/sessions/{session_id}").data == before


@calls(USER)
def test_other_users_change_nothing_of_the_owners(
    owner: ApiClient, other: ApiClient, anonymous: ApiClient, session_id: str, call: Call
) -> None:
    before = [owner.get(path).data for path in ("/api/sessions", f"/api/sessions/{session_id}", "/api/auth/me")]
    send(ApiClient(anonymous.client, log_in(anonymous, "other")[call.token]), call, session_id)
    after = [owner.get(path).data for path in ("/api/sessions", f"/api/sessions/{session_id}", "/api/auth/me")]
    assert after == before


@calls(PUBLIC)
def test_public_requests_need_no_token(owner: ApiClient, anonymous: ApiClient, call: Call) -> None:
    assert send(anonymous, call, UNKNOWN_ID).status_code == call.status


@calls(USER, OWNER)
def test_the_owner_succeeds(owner: ApiClient, anonymous: ApiClient, session_id: str, call: Call) -> None:
    caller = ApiClient(anonymous.client, log_in(anonymous, "owner")[call.token])
    if call.during_chat:
        chat = owner.post(f"/api/sessions/{session_id}/chat", {"content": "say x\nwait 0.5"})
    assert send(caller, call, session_id).status_code == call.status
    if call.during_chat:
        assert b"event: done" in chat.data


def test_every_described_success_has_a_call() -> None:
    described = {
        (f"{method.upper()} {path}", int(status))
        for path, method, operation in openapi_checker.OPERATIONS
        for status in operation["responses"]
        if int(status) < 300
    }
    called = {(call.request, call.status) for call in CALLS if call.request not in contract.NOT_IN_OPENAPI}
    assert not described - called, f"add a Call to CALLS in tests/contract.py for {sorted(described - called)}"
    assert not called - described, f"describe with @response or @other_response: {sorted(called - described)}"


def test_openapi_json_says_who_needs_a_token() -> None:
    public = {call.request for call in CALLS if call.access is PUBLIC}
    for path, method, operation in openapi_checker.OPERATIONS:
        assert bool(operation["security"]) is (f"{method.upper()} {path}" not in public)


def test_every_post_is_idempotent_or_says_why_not(app: Flask) -> None:
    idempotent = {
        request
        for rule in contract.rules_of(app)
        if spec_of(app.view_functions[rule.endpoint]).idempotent
        for request in contract.requests_of(rule)
    }
    for call in CALLS:
        assert call.idempotent is (call.request in idempotent), f"{call}: idempotent here, or in its view, but not both"
        reason_needed = call.method == "POST" and not call.idempotent
        assert bool(call.not_idempotent_because) is reason_needed, (
            f"{call}: decorate its view with @idempotent, or say in tests/contract.py why it is not"
        )
