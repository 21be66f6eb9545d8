"""A fuzzer finds no difference between the service and openapi.json."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth import logins
from database import db
from tests.helpers import engine, openapi_checker
from tests.helpers.client import PASSWORD_HASH, ApiClient
from tests.helpers.engine import SECRET
from tests.helpers.full_settings import full_settings
from tests.helpers.fuzzing import Fuzzer
from tests.helpers.process import FakeLlm, ServerProcess
from tests.helpers.webhook_receiver import WebhookReceiver


@pytest.fixture
def fuzzer(
    app: Flask, owner: ApiClient, other: ApiClient, fake_llm: FakeLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fuzzer]:
    """A fuzzer against a server that has all there is: a model, an action, a user."""

    def log_in() -> dict[str, str]:  # not through the API, whose throttle the fuzzer soon reaches
        with app.app_context():
            db.ensure_connection()
            pair = logins.create_login(str(owner.user_id), PASSWORD_HASH)
            db.close()
        return pair

    with WebhookReceiver() as receiver:
        full = full_settings(tmp_path, fake_llm.url, receiver.url, monkeypatch)
        full |= {"PARLEY_JWT_SECRET_KEY": SECRET} | engine.settings(engine.SHARED)
        settings = {name.removeprefix("PARLEY_"): value for name, value in full.items()}
        with ServerProcess(tmp_path, SQLITE_SYNCHRONOUS="NORMAL", **settings) as server:
            yield Fuzzer(server, log_in, str(other.token))


EDGES = {"generate-duplicate-query-parameters": True}
# The fuzzer does not know the password, and no chat is in progress between its requests.
NEVER_ACCEPTED = {
    "POST /api/auth/login",
    "POST /api/auth/password",
    "GET /api/sessions/{session_id}/chat",
    "DELETE /api/sessions/{session_id}/chat",
}


def check(fuzzer: Fuzzer) -> None:
    """Check that nothing was found, and that each operation has accepted and rejected requests."""
    assert not fuzzer.problems, "\n\n".join(fuzzer.problems.values())
    for path, item in openapi_checker.DOCUMENT["paths"].items():
        for label in (f"{method.upper()} {path}" for method in item):
            statuses = {status for operation, status in fuzzer.statuses if operation == label}
            assert any(status < 300 for status in statuses) or label in NEVER_ACCEPTED, f"{label}: {statuses}"
            assert any(status >= 400 for status in statuses), f"{label}: {statuses}"


@pytest.mark.slow
def test_edge_cases_agree_with_the_description(fuzzer: Fuzzer) -> None:
    fuzzer.run(openapi_checker.DOCUMENT, {"coverage": EDGES}, seed=1)
    check(fuzzer)


@pytest.mark.slow
def test_generated_requests_agree_with_the_description(fuzzer: Fuzzer) -> None:
    many = {"generation": {"max-examples": 200}}
    fuzzer.run(openapi_checker.DOCUMENT, {"examples": {}, "coverage": EDGES, "fuzzing": many, "stateful": many}, seed=2)
    check(fuzzer)


def test_fuzzer_finds_each_disagreement(fuzzer: Fuzzer) -> None:
    path = "/api/sessions/{session_id}"
    wrong: dict[str, Any] = deepcopy(openapi_checker.DOCUMENT)
    wrong["paths"] = {each: wrong["paths"][each] for each in ("/api/sessions", path, f"{path}/messages")}
    schemas = wrong["components"]["schemas"]
    schemas["CreateSession"]["properties"]["title"]["maxLength"] += 1
    schemas["AppendMessage"]["required"].remove("role")
    schemas["UpdateSession"]["properties"]["title"]["pattern"] = "^a*$"
    schemas["Message"]["properties"]["role"]["enum"] = ["system"]
    schemas["Session"]["properties"]["title"]["type"] = "null"
    del wrong["paths"][path]["get"]["responses"]["404"]
    del wrong["paths"][path]["patch"]
    fuzzer.run(wrong, {"coverage": EDGES}, seed=1)
    assert {problem.partition(":")[0] for problem in fuzzer.problems} >= {
        "positive_data_acceptance, POST /api/sessions",
        "positive_data_acceptance, POST /api/sessions/{session_id}/messages",
        "response_schema_conformance, POST /api/sessions",
        "response_schema_conformance, POST /api/sessions/{session_id}/messages",
        "status_code_conformance, GET /api/sessions/{session_id}",
        "unsupported_method, GET /api/sessions/{session_id}",
    }
