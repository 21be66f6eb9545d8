"""Runs schemathesis against a server: valid requests are accepted, invalid ones rejected, as openapi.json says."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis import Case, Response, engine
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import events
from schemathesis.generation.meta import StatefulPhaseData
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData

from tests.helpers.full_settings import ACTION
from tests.helpers.process import ServerProcess

CONFIG = Path(__file__).with_name("schemathesis.toml")
# These revoke the token that they are called with.
REVOKING = {"delete_login": "access_token", "change_password": "access_token", "refresh_login": "refresh_token"}


def is_expected(failure: Failure, case: Case[Any], response: Response) -> bool:
    """Return whether no schema can describe why a request failed.

    A cursor is signed; `listed` requires a body; and no session is created with a chat in progress.
    """
    if isinstance(failure, EnsureResourceAvailability):
        return bool(case.operation.path.endswith("/chat"))
    if not isinstance(failure, RejectedPositiveData):
        return False
    details = response.json().get("details", {})
    return set(details) == {"cursor"} or details == {"ids": ["Missing: the body was lost on its way."]}


class Fuzzer:
    """One run against a server.

    ``log_in`` returns a new pair of tokens of the user whose requests these are. ``other`` is another user's token,
    for requests that would delete the sessions that the others need.
    """

    def __init__(self, server: ServerProcess, log_in: Callable[[], dict[str, str]], other: str):
        self.server, self.log_in, self.other = server, log_in, other
        self.token = log_in()["access_token"]
        self.session_id = self.new_session()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.problems: dict[str, str] = {}

    def new_session(self) -> str:
        status, session, _ = self.server.request("POST", "/api/sessions", {}, self.token)
        assert status == 201
        return str(session["id"])

    def run(self, description: dict[str, Any], phases: dict[str, dict[str, Any]], seed: int) -> None:
        """Send what these phases generate from a description, and collect what does not agree with it."""
        settings = tomllib.loads(CONFIG.read_text()) | {"seed": seed, "base-url": self.server.url}
        settings["phases"] = {
            name: phases.get(name, {}) | {"enabled": name in phases}
            for name in ("examples", "coverage", "fuzzing", "stateful")
        }
        schema = schemathesis.openapi.from_dict(description, config=SchemathesisConfig.from_dict(settings))
        self._hook_into(schema)
        for event in engine.from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                self._note(event)
            elif isinstance(event, events.NonFatalError):
                self.problems[event.label] = f"{event.label}: {event.value!r}"
            elif isinstance(event, events.FatalError):
                raise event.exception

    def _hook_into(self, schema: Any) -> None:
        @schema.auth(refresh_interval=None)
        class Tokens:
            def get(self_, case: Case[Any], context: Any) -> str:  # noqa: N805  # the Fuzzer is self here
                operation = case.operation.definition.raw["operationId"]
                if operation in REVOKING:
                    return self.log_in()[REVOKING[operation]]
                return self.other if operation == "delete_sessions" else self.token

            def set(self_, case: Case[Any], token: str, context: Any) -> None:  # noqa: N805
                case.headers["Authorization"] = f"Bearer {token}"

        @schema.hook
        def map_case(context: Any, case: Case[Any]) -> Case[Any]:
            if case.meta and not isinstance(case.meta.phase.data, StatefulPhaseData):
                self._let_succeed(case)
            return case

        @schema.hook
        def filter_failure(context: Any, failure: Failure, case: Case[Any], response: Response) -> bool:
            return not is_expected(failure, case, response)

    def _let_succeed(self, case: Case[Any]) -> None:
        """Replace valid parameters by those of existing rows: else most requests would get 404 or 409."""
        assert case.meta
        if not case.meta.is_negative_at(ParameterLocation.PATH):
            known = {"session_id": self.session_id, "name": ACTION}
            if case.method == "DELETE" and "session_id" in case.path_parameters:
                known["session_id"] = self.new_session()
            case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
        if "Idempotency-Key" in case.headers and not case.meta.is_negative_at(ParameterLocation.HEADER):
            case.headers["Idempotency-Key"] = f"{uuid4()}{case.headers['Idempotency-Key']}"[:255]

    def _note(self, event: events.ScenarioFinished) -> None:
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            if interaction.response:
                self.statuses[recorder.cases[case_id].value.operation.label, interaction.response.status_code] += 1
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if found := check.failure_info:
                    label = recorder.cases[case_id].value.operation.label
                    title = f"{check.name}, {label}: {found.failure.title}: {found.failure.message[:100]}"
                    details = f"{title}{found.failure.message[100:2_000]}\n{found.code_sample[:2_000]}"
                    self.problems.setdefault(title, details)
