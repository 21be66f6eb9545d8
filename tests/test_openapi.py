"""openapi.json is what the routes are, and what they answer is what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema import ValidationError
from openapi_spec_validator import validate

import openapi
from errors import STATUS_BY_CODE
from tests.helpers import openapi_checker
from tests.helpers.client import PASSWORD, ApiClient, message
from tests.helpers.process import FakeLlm
from tests.helpers.webhook_receiver import SECRET

OPERATIONS = [
    (path, method, operation)
    for path, item in openapi_checker.DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def test_it_is_what_the_routes_are(app: Flask) -> None:
    assert openapi.build(app) == openapi_checker.DOCUMENT, "the routes have changed: make openapi"


def test_it_is_valid() -> None:
    validate(openapi_checker.DOCUMENT)


def test_it_is_served(anonymous: ApiClient) -> None:
    assert json.loads(anonymous.get("/openapi.json").data) == openapi_checker.DOCUMENT


def test_every_api_route_is_in_it(app: Flask) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if rule.rule.startswith("/api/") and method not in ("HEAD", "OPTIONS")
    }
    assert routes <= {(path, method) for path, method, _ in OPERATIONS}


@pytest.fixture
def settings(
    settings: dict[str, Any], fake_llm: FakeLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.setenv("SECRET", SECRET)
    actions = tmp_path / "actions.toml"
    actions.write_text(
        '[[actions]]\nname = "restart"\ndescription = "x"\nurl = "http://127.0.0.1:9"\nsecret_env = "SECRET"\n'
    )
    return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url, "PARLEY_ACTIONS_FILE": str(actions)}


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_operations_say_what_they_do(path: str, method: str, operation: dict[str, object]) -> None:
    assert str(operation["summary"]).endswith(".")
    assert bool(operation["security"]) is (path.startswith("/api/") and path not in ("/api/auth/login", "/api/about"))


def described_operations() -> list[tuple[str, str, dict[str, Any]]]:
    paths = openapi_checker.DOCUMENT["paths"]
    return [(path, method, operation) for path, item in paths.items() for method, operation in item.items()]


def test_errors_say_their_codes() -> None:
    codes = set()
    for _, _, operation in described_operations():
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                listed = response["content"]["application/json"]["schema"]["properties"]["error"]["enum"]
                assert {STATUS_BY_CODE[code] for code in listed} == {int(status)}
                codes.update(listed)
    # No operation has these.
    assert set(STATUS_BY_CODE) - codes == {"method_not_allowed", "not_implemented", "not_found"}
    assert openapi_checker.component("Error").is_valid({"error": "rate_limited"})
    assert not openapi_checker.component("Error").is_valid({"error": "rate_limit"})


@pytest.mark.parametrize(
    ("name", "valid", "invalid"),
    [
        (
            "CreateSession",
            [{}, {"title": " "}, {"title": "x" * 120}, {"more": 1}],
            [{"title": ""}, {"title": "x" * 121}],
        ),
        ("CreateSession", [], [{"title": None}, {"title": "a\0b"}, [], 1]),
        ("UpdateSession", [{"title": f"\ufeff {'x' * 120}\n"}, {"title": "🚀" * 120}], [{"title": "x" * 121}, {}]),
        ("UpdateSession", [{"title": "a\n\u2028b"}], [{"title": " \u3000\n"}, {"title": f" {'x' * 60} {'x' * 60} "}]),
        ("SetSystemPrompt", [{}, {"system_prompt": None}, {"system_prompt": ""}], [{"system_prompt": "x" * 8_001}]),
        (
            "AppendMessage",
            [message(metadata={"a": [{"b": None}, 1e300]})],
            [message(metadata=None), message(metadata=[])],
        ),
        ("AppendMessage", [message(role="system")], [message(metadata={"a": ["\0"]}), message(metadata={"\0": 1})]),
        ("AppendMessage", [message("x" * 50_000)], [message(""), message("x" * 50_001), message(role="tool"), {}]),
    ],
)
def test_bodies_are_what_the_service_takes(owner: ApiClient, name: str, valid: list[Any], invalid: list[Any]) -> None:
    path = f"/api/sessions/{owner.session()['id']}"
    method, path = {
        "CreateSession": ("POST", "/api/sessions"),
        "UpdateSession": ("PATCH", path),
        "SetSystemPrompt": ("PATCH", f"{path}/system-prompt"),
        "AppendMessage": ("POST", f"{path}/messages"),
    }[name]
    for body in valid:
        assert openapi_checker.component(name).is_valid(body)
        assert owner(method, path, body).status_code < 300
    for body in invalid:
        assert not openapi_checker.component(name).is_valid(body)
        assert owner(method, path, body).status_code == 400


def test_every_operation_answers_as_it_says(anonymous: ApiClient, owner: ApiClient) -> None:
    openapi_checker.seen.clear()
    pair = anonymous.post("/api/auth/login", {"username": "owner", "password": PASSWORD}).get_json()
    caller = ApiClient(anonymous.client, pair["access_token"])
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
        ("GET", "/api/about", ...),
        ("GET", "/healthz", ...),
        ("GET", "/readyz", ...),
    ]
    chat = caller.post(f"{path}/chat", {"content": "hello"}, headers={"Accept": "application/json"})
    assert chat.status_code == 201
    for method, target, body in calls:
        answer = caller(method, target, body)
        assert answer.status_code < 300
        answer.get_data()  # a chat ends when it has been read
    ApiClient(anonymous.client, pair["refresh_token"]).post("/api/auth/refresh")
    caller.post("/api/auth/logout")
    for path, method, operation in OPERATIONS:
        for good in (status for status in operation["responses"] if status < "300"):
            assert (path, method, good) in openapi_checker.seen


def test_the_check_itself_finds_a_difference() -> None:
    session = {"id": "x", "title": None, "system_prompt": None, "created_at": "2026", "updated_at": "2026", "more": 1}
    problems = openapi_checker.component("Session").iter_errors(session)
    assert {problem.validator for problem in problems} >= {"pattern", "additionalProperties"}
    with pytest.raises(ValidationError):
        openapi_checker.component("Session").validate({})
