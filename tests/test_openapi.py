"""openapi.json is what the routes are, and what they answer is what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema import ValidationError
from openapi_spec_validator import validate

import openapi
from tests import described
from tests.conftest import PASSWORD, Caller, Upstream, message
from tests.receiver import SECRET

OPERATIONS = [
    (path, method, operation)
    for path, item in described.DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def test_it_is_what_the_routes_are(app: Flask) -> None:
    assert openapi.build(app) == described.DOCUMENT, "the routes have changed: make openapi"


def test_it_is_valid() -> None:
    validate(described.DOCUMENT)


def test_it_is_served(nobody: Caller) -> None:
    assert json.loads(nobody.get("/openapi.json").data) == described.DOCUMENT


def test_every_api_route_is_in_it(app: Flask) -> None:
    routes = {
        (rule.rule.replace("<session:", "{").replace("<", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if rule.rule.startswith("/api/") and method not in ("HEAD", "OPTIONS")
    }
    assert routes <= {(path, method) for path, method, _ in OPERATIONS}


@pytest.fixture
def settings(
    settings: dict[str, Any], upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.setenv("SECRET", SECRET)
    actions = tmp_path / "actions.toml"
    actions.write_text(
        '[[actions]]\nname = "restart"\ndescription = "x"\nurl = "http://127.0.0.1:9"\nsecret_env = "SECRET"\n'
    )
    return settings | {"PARLEY_LLM_BASE_URL": upstream.url, "PARLEY_ACTIONS_FILE": str(actions)}


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_operations_say_what_they_do(path: str, method: str, operation: dict[str, object]) -> None:
    assert str(operation["summary"]).endswith(".")
    assert bool(operation["security"]) is (path.startswith("/api/") and path != "/api/auth/login")


def test_every_operation_answers_as_it_says(nobody: Caller, owner: Caller) -> None:
    described.seen.clear()
    pair = nobody.post("/api/auth/login", {"username": "owner", "password": PASSWORD}).get_json()
    caller = Caller(nobody.client, pair["access_token"])
    session = caller.imported(message(metadata={"a": 1}), title="t")
    path = f"/api/sessions/{session['id']}"
    calls = [
        ("GET", "/api/auth/me", ...),
        ("POST", "/api/auth/password", {"current_password": PASSWORD, "new_password": "long enough"}),
        ("POST", "/api/sessions", {"title": "x"}),
        ("GET", "/api/export", ...),
        ("POST", "/api/import", {"session": {}, "messages": []}),
        ("GET", "/api/sessions", ...),
        ("GET", path, ...),
        ("PATCH", path, {"title": "x"}),
        ("PATCH", f"{path}/system-prompt", {"system_prompt": "x"}),
        ("POST", f"{path}/messages", message()),
        ("GET", f"{path}/messages", ...),
        ("GET", f"{path}/export", ...),
        ("POST", "/api/sessions/import?dry_run=1", {"session": {}, "messages": []}),
        ("GET", f"{path}/prompt", ...),
        ("POST", f"{path}/chat", {"content": "hello"}),
        ("GET", "/api/actions", ...),
        ("POST", f"{path}/actions/restart", {"input": {}}),
        ("GET", f"{path}/webhook-runs", ...),
        ("DELETE", path, ...),
        ("DELETE", "/api/sessions", ...),
        ("GET", "/healthz", ...),
        ("GET", "/readyz", ...),
    ]
    chat = caller.post(f"{path}/chat", {"content": "hello"}, headers={"Accept": "application/json"})
    assert chat.status_code == 201
    for method, target, body in calls:
        answer = caller(method, target, body)
        assert answer.status_code < 300
        answer.get_data()  # a chat ends when it has been read
    Caller(nobody.client, pair["refresh_token"]).post("/api/auth/refresh")
    caller.post("/api/auth/logout")
    for path, method, operation in OPERATIONS:
        for good in (status for status in operation["responses"] if status < "300"):
            assert (path, method, good) in described.seen


def test_the_check_itself_finds_a_difference() -> None:
    session = {"id": "x", "title": None, "system_prompt": None, "created_at": "2026", "updated_at": "2026", "more": 1}
    problems = described.validator("#/components/schemas/SessionOut").iter_errors(session)
    assert {problem.validator for problem in problems} >= {"pattern", "additionalProperties"}
    with pytest.raises(ValidationError):
        described.validator("#/components/schemas/SessionOut").validate({})
