"""The service and its description agree, as a fuzzer sees it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth import logins
from database import db
from tests.helpers import openapi_checker
from tests.helpers.client import PASSWORD_HASH, SECRET, ApiClient
from tests.helpers.fuzzing import Fuzzer
from tests.helpers.process import FakeLlm, ServerProcess
from tests.helpers.webhook_receiver import SECRET as WEBHOOK_SECRET
from tests.helpers.webhook_receiver import WebhookReceiver


@pytest.fixture
def fuzzer(
    app: Flask, owner: ApiClient, other: ApiClient, fake_llm: FakeLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fuzzer]:
    """A fuzzer against a server that has all there is: a model, an action, a user."""

    def log_in() -> dict[str, str]:  # past the brake on guessing, which the fuzzer is soon caught by
        with app.app_context():
            db.ensure_connection()
            pair = logins.create_login(str(owner.user_id), PASSWORD_HASH)
            db.close()
        return pair

    monkeypatch.setenv("SECRET", WEBHOOK_SECRET)
    with WebhookReceiver() as receiver:
        actions = tmp_path / "actions.toml"
        actions.write_text(
            f'[[actions]]\nname = "restart"\ndescription = "x"\nurl = "{receiver.url}/ok"\nsecret_env = "SECRET"\n'
        )
        settings = {
            "JWT_SECRET_KEY": SECRET,
            "SQLITE_SYNCHRONOUS": "NORMAL",
            "LLM_BASE_URL": fake_llm.url,
            "ACTIONS_FILE": actions,
        }
        with ServerProcess(tmp_path, **settings) as server:
            yield Fuzzer(server, log_in, str(other.token))


EDGES = {"generate-duplicate-query-parameters": True}
# Nobody guesses the password.
NEVER_TAKEN = {"POST /api/auth/login", "POST /api/auth/password"}


def check(fuzzer: Fuzzer) -> None:
    """Nothing has been found, and each operation has been seen to do its work and to refuse."""
    assert not fuzzer.problems, "\n\n".join(fuzzer.problems.values())
    for path, item in openapi_checker.DOCUMENT["paths"].items():
        for label in (f"{method.upper()} {path}" for method in item):
            statuses = {status for operation, status in fuzzer.answers if operation == label}
            assert any(status < 300 for status in statuses) or label in NEVER_TAKEN, f"{label}: {statuses}"
            assert any(status >= 400 for status in statuses), f"{label}: {statuses}"


def test_the_edges_of_the_description(fuzzer: Fuzzer) -> None:
    fuzzer.run(openapi_checker.DOCUMENT, {"coverage": EDGES}, seed=1)
    check(fuzzer)


@pytest.mark.slow
def test_requests_that_are_made_up(fuzzer: Fuzzer) -> None:
    many = {"generation": {"max-examples": 200}}
    fuzzer.run(openapi_checker.DOCUMENT, {"examples": {}, "coverage": EDGES, "fuzzing": many, "stateful": many}, seed=2)
    check(fuzzer)


def test_what_does_not_agree_is_found(fuzzer: Fuzzer) -> None:
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
