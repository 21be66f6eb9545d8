"""U+0000, which PostgreSQL rejects, and lone surrogates, which UTF-8 cannot hold, wherever a request may have text.

In a path they name nothing; everywhere else the request is rejected, or the text is of no use. Never a 500.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests import contract
from tests.contract import CALLS, Access, Call
from tests.helpers.client import UNKNOWN_ID, ApiClient, message
from tests.helpers.full_settings import ACTION, full_settings
from tests.helpers.process import FakeLlm
from tests.helpers.webhook_receiver import WebhookReceiver
from web.spec import spec_of

NUL, SURROGATE = "\0", "\ud800"
IN_URL = ["%00", "a%00b", "%ED%A0%80", "%FF"]
"""U+0000; a surrogate, and another byte, that are no UTF-8."""
HEADERS = ["Idempotency-Key", "If-Match", "If-None-Match", "Accept", "Cookie", "X-Request-Id", "X-Forwarded-For"]


@pytest.fixture
def settings(
    settings: dict[str, Any],
    fake_llm: FakeLlm,
    receiver: WebhookReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    return settings | full_settings(tmp_path, fake_llm.url, receiver.url, monkeypatch)


def send(caller: ApiClient, call: Call, path: str, **headers: str) -> Any:
    body = {} if call.body is ... else {"json": call.body}
    return caller(call.method, path, headers=dict(call.headers) | headers, **body)


def table(calls: Iterator[Call]) -> Any:
    return pytest.mark.parametrize("call", [pytest.param(call, id=str(call)) for call in calls])


@table(call for call in CALLS if call.access is Access.OWNER)
@pytest.mark.parametrize("text", IN_URL)
def test_an_id_in_a_path_names_nothing(owner: ApiClient, call: Call, text: str) -> None:
    missing = send(owner, call, call.path(UNKNOWN_ID))
    response = send(owner, call, call.path(text))
    assert (response.status_code, response.data) == (404, missing.data)


@table(call for call in CALLS if "{name}" in call.request)
@pytest.mark.parametrize("text", IN_URL)
def test_a_name_in_a_path_names_nothing(owner: ApiClient, call: Call, text: str) -> None:
    path = call.path(owner.session()["id"])
    response = send(owner, call, path.replace(ACTION, text))
    assert (response.status_code, response.get_json()) == (404, {"error": "action_not_found"})


@pytest.mark.parametrize("text", IN_URL)
def test_a_parameter_of_a_query(app: Flask, owner: ApiClient, text: str) -> None:
    session_id = owner.imported(message())["id"]
    for rule in contract.rules_of(app):
        query = spec_of(app.view_functions[rule.endpoint]).query
        for name in query.fields if query else ():
            path = rule.rule.replace("<session_id>", session_id).replace("<session:session_id>", session_id)
            for request in contract.requests_of(rule):
                response = owner(request.partition(" ")[0], f"{path}?{name}={text}")
                assert response.status_code < 500, (request, name)


@pytest.mark.parametrize("header", HEADERS)
def test_a_header(owner: ApiClient, header: str) -> None:
    """The server itself rejects U+0000 in it; surrogates cannot be in one."""
    for call in CALLS:
        if call.access is Access.OWNER and not call.path("").endswith("/chat"):
            path = call.path(owner.imported(message())["id"])
            assert send(owner, call, path, **{header: "a\0b"}).status_code < 500, call


def variants(value: Any) -> Iterator[Any]:
    """Yield copies of a JSON value that have a text of ours in place of one string."""
    match value:
        case str():
            yield from (NUL, SURROGATE)
        case dict():
            yield from (value | {key: changed} for key, item in value.items() for changed in variants(item))
        case list():
            yield from ([*value[:-1], changed] for changed in variants(value[-1]))


@table(call for call in CALLS if isinstance(call.body, dict) and call.request != "POST /api/import")
def test_a_string_in_a_body(owner: ApiClient, call: Call) -> None:
    session_id = owner.imported(message())["id"]
    before = owner.get(f"/api/sessions/{session_id}").data
    for body in variants(call.body):
        headers = {"Content-Type": "application/json", **call.headers}
        response = owner(call.method, call.path(session_id), headers=headers, data=json.dumps(body))
        assert response.status_code == 400, body
    assert owner.get(f"/api/sessions/{session_id}").data == before
