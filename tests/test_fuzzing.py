"""The service and its description agree, as a fuzzer sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import auth
from database import db
from tests.conftest import PASSWORD_HASH, SECRET, Caller, Upstream
from tests.fuzzing import fuzz
from tests.receiver import SECRET as HOOK_SECRET
from tests.receiver import Receiver
from tests.served import Served


@pytest.fixture
def log_in(app: Flask, owner: Caller) -> Callable[[], dict[str, str]]:
    """Start a login, past the brake on guessing."""

    def log_in() -> dict[str, str]:
        with app.app_context():
            db.prepare()
            pair = auth.log_in(str(owner.user_id), PASSWORD_HASH)
            db.close()
        return pair

    return log_in


@pytest.fixture
def server(app: Flask, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("SECRET", HOOK_SECRET)
    with Receiver() as receiver:
        actions = tmp_path / "actions.toml"
        actions.write_text(
            f'[[actions]]\nname = "restart"\ndescription = "x"\nurl = "{receiver.url}/ok"\nsecret_env = "SECRET"\n'
        )
        settings = {"JWT_SECRET_KEY": SECRET, "LLM_BASE_URL": upstream.url, "ACTIONS_FILE": actions}
        with Served(tmp_path, **settings) as server:
            yield server


def test_small(server: Served, log_in: Callable[[], dict[str, str]]) -> None:
    import os

    phases = eval(os.environ.get("PH", "{'coverage': {}}"))
    calls, problems = fuzz(server.url, log_in, phases, seed=int(os.environ.get("SEED", "1")))
    print(calls)
    Path("/tmp/problems.txt").write_text("\n\n".join(problems))
    assert not problems, f"{len(problems)} problems"
