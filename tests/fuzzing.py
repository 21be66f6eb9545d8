"""Runs schemathesis over the description: what it calls valid is taken, what it does not is refused, as it says."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import engine
from schemathesis import Case, Response
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import events
from schemathesis.openapi.checks import AllowHeaderMismatch, RejectedPositiveData, UnsupportedMethodResponse

CONFIG = Path(__file__).with_name("schemathesis.toml")
# These use up the token that they are called with.
ENDING = {"log_out": "access_token", "change_password": "access_token", "refresh": "refresh_token"}


def cursor_of_no_list(failure: Failure, case: Case, response: Response) -> bool:
    """A cursor is signed, and not for a search: a made-up one is refused, and no schema can tell."""
    return isinstance(failure, RejectedPositiveData) and set(response.json().get("details", ())) == {"cursor"}


def import_as_an_id(failure: Failure, case: Case, response: Response) -> bool:
    """``/api/sessions/import`` with another method than POST is, to the router, an id that no session has."""
    return (
        isinstance(failure, UnsupportedMethodResponse | AllowHeaderMismatch)
        and case.operation.path == "/api/sessions/import"
    )


EXCUSES = (cursor_of_no_list, import_as_an_id)


def fuzz(
    url: str, log_in: Callable[[], dict[str, str]], phases: dict[str, dict[str, Any]], seed: int
) -> tuple[Counter[str], list[str]]:
    """Return how many requests each phase sent to a server, and what did not agree with its description."""
    settings = tomllib.loads(CONFIG.read_text()) | {"seed": seed}
    settings["phases"] = {
        name: {"enabled": name in phases, **settings["phases"].get(name, {}), **phases.get(name, {})}
        for name in ("examples", "coverage", "fuzzing", "stateful")
    }
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig.from_dict(settings))
    common = log_in()

    @schema.auth(refresh_interval=None)
    class Tokens:
        def get(self, case: Any, context: Any) -> str:
            kind = ENDING.get(case.operation.definition.raw["operationId"])
            return log_in()[kind] if kind else common["access_token"]

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    @schema.hook
    def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
        return not any(excuse(failure, case, response) for excuse in EXCUSES)

    calls: Counter[str] = Counter()
    problems: dict[str, str] = {}
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            calls[event.phase.value] += len(event.recorder.interactions)
            for case_id, checks in event.recorder.checks.items():
                for check in checks:
                    if check.failure_info:
                        failure = check.failure_info.failure
                        label = event.recorder.cases[case_id].value.operation.label
                        key = f"{label}, {check.name}: {failure.title}: {failure.message[:100]}"
                        problems.setdefault(
                            key, f"{key} {failure.message[100:1000]}\n{check.failure_info.code_sample[:2000]}"
                        )
        elif isinstance(event, events.NonFatalError):
            problems[event.label] = f"{event.label}: {event.value!r}"
        elif isinstance(event, events.FatalError):
            raise event.exception
    return calls, list(problems.values())
