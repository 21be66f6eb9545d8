"""openapi.json is what the routes and schemas say, and the service does what openapi.json says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask import Flask
from jsonschema import ValidationError
from openapi_spec_validator import validate

import openapi
from errors import STATUS_BY_CODE, ApiError
from store import entries
from tests.helpers import openapi_checker
from tests.helpers.client import ApiClient, message
from tests.helpers.openapi_checker import OPERATIONS


def test_document_is_built_from_the_routes(app: Flask) -> None:
    assert openapi.build(app) == openapi_checker.DOCUMENT, "the routes or schemas have changed: run make openapi"


def test_document_is_valid_openapi() -> None:
    validate(openapi_checker.DOCUMENT)


def test_document_is_served(anonymous: ApiClient) -> None:
    assert json.loads(anonymous.get("/openapi.json").data) == openapi_checker.DOCUMENT


def test_document_has_every_api_route(app: Flask) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if rule.rule.startswith("/api/") and method not in ("HEAD", "OPTIONS")
    }
    assert routes <= {(path, method) for path, method, _ in OPERATIONS}


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_operation_has_a_summary(path: str, method: str, operation: dict[str, object]) -> None:
    assert str(operation["summary"]).endswith(".")


def test_every_code_is_described_with_its_status() -> None:
    codes = set()
    for _, _, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                listed = openapi_checker.error_codes(response)
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
def test_schemas_accept_the_bodies_that_the_service_accepts(
    owner: ApiClient, name: str, valid: list[Any], invalid: list[Any]
) -> None:
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


def test_checker_finds_an_invalid_body() -> None:
    session = {"id": "x", "title": None, "system_prompt": None, "created_at": "2026", "updated_at": "2026", "more": 1}
    problems = openapi_checker.component("Session").iter_errors(session)
    assert {problem.validator for problem in problems} >= {"pattern", "additionalProperties"}
    with pytest.raises(ValidationError):
        openapi_checker.component("Session").validate({})


def test_checker_finds_an_undescribed_code(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ApiError("upstream_error")

    monkeypatch.setattr(entries, "read", fail)
    with pytest.raises(AssertionError, match="fails with upstream_error"):
        owner.get("/api/sessions/x")


def test_equal_errors_share_a_response() -> None:
    responses = openapi_checker.DOCUMENT["components"]["responses"]
    codes = [
        tuple(openapi_checker.error_codes(response)) for name, response in responses.items() if name != "NotModified"
    ]
    assert len(set(codes)) == len(codes)
    assert responses["Unauthorized"]["content"]["application/json"]["schema"]["properties"]["error"]["enum"] == [
        *("invalid_token", "missing_token", "token_expired", "token_revoked")
    ]
    for _, _, operation in OPERATIONS:
        assert all("$ref" in response for status, response in operation["responses"].items() if status >= "400")
