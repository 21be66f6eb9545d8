"""An app with its own database for each test, and callers: anonymous, another user, the owner."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import timestamps
from app import create_app
from auth.logins import create_api_token
from auth.passwords import hash_password
from database import db
from ids import new_id
from models import User
from tests.helpers import openapi_checker
from tests.helpers.process import ROOT
from usernames import name_key

# What a developer has set up is not for the tests, nor for the processes that they start.
for name in [name for name in os.environ if name.startswith("PARLEY_")]:
    del os.environ[name]
os.environ["FLASK_SKIP_DOTENV"] = "1"

SECRET = "a secret for tests only, long enough for each of the algorithms "
PASSWORD = "correct horse battery"
PASSWORD_HASH = hash_password(PASSWORD)


class ApiClient:
    """A client that sends one user's token with each request, or none, and holds each answer against openapi.json."""

    def __init__(self, client: FlaskClient, token: str | None, user_id: str | None = None):
        self.client = client
        self.token = token
        self.user_id = user_id

    def __call__(self, method: str, path: str, json: Any = ..., **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        if json is not ...:
            options["json"] = json
        answer = self.client.open(path, method=method, headers=headers, **options)
        openapi_checker.check(method, path, answer)
        return answer

    def get(self, path: str, **options: Any) -> TestResponse:
        return self("GET", path, **options)

    def post(self, path: str, json: Any = ..., **options: Any) -> TestResponse:
        return self("POST", path, json, **options)

    def patch(self, path: str, json: Any = ..., **options: Any) -> TestResponse:
        return self("PATCH", path, json, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self("DELETE", path, **options)

    def session(self, title: str | None = None) -> dict[str, Any]:
        """Create a session and return it."""
        session: dict[str, Any] = self.post("/api/sessions", {} if title is None else {"title": title}).get_json()
        return session

    def imported(self, *messages: dict[str, Any], **session: Any) -> dict[str, Any]:
        """Import a conversation and return its session."""
        document = {"version": 1, "session": session, "messages": list(messages)}
        imported: dict[str, Any] = self.post("/api/sessions/import", document).get_json()["session"]
        return imported


def message(content: str = "hello", role: str = "user", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


class FakeLlm:
    """The stand-in for a model's API, as a process; see fake_llm.py."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.helpers.fake_llm"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._address = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.url = f"{self._address}/v1"

    def calls(self) -> list[dict[str, Any]]:
        """Return what it was asked so far, and when each client left, if it did."""
        with urlopen(f"{self._address}/calls", timeout=10) as answer:
            calls: list[dict[str, Any]] = json.load(answer)
        return calls

    def __enter__(self) -> FakeLlm:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)  # its input ends, and so does it


def query_db(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Look into the database itself."""
    return list(db.execute_sql(sql, values))


def run_in_transaction(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a function of the store that writes, in a transaction of its own."""
    with db.write_transaction(frees_space=True):
        return function(*arguments, **named)


@contextmanager
def frozen_time(moment: str) -> Iterator[None]:
    """Let the service believe that it is this moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timestamps, "now", lambda: moment)
        yield


@pytest.fixture(scope="session")
def fake_llm() -> Iterator[FakeLlm]:
    with FakeLlm() as fake_llm:
        yield fake_llm


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has been through all migrations, to be copied: that takes a fifth of the time."""
    folder = tmp_path_factory.mktemp("empty")
    create_app({"PARLEY_DATA_DIR": str(folder), "PARLEY_JWT_SECRET_KEY": SECRET})
    db.checkpoint_and_close()
    return folder / "parley.db"


@pytest.fixture
def settings(tmp_path: Path, empty_database: Path) -> dict[str, Any]:
    shutil.copy(empty_database, tmp_path)
    return {
        "PARLEY_DATA_DIR": str(tmp_path),
        "PARLEY_JWT_SECRET_KEY": SECRET,
        "PARLEY_LOG_LEVEL": "WARNING",
        "TESTING": False,  # errors are answered, as in production
    }


@pytest.fixture
def app(settings: dict[str, Any]) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    assert not app.extensions["services"].chats.active, "a test has left a chat open"
    app.extensions["services"].close()
    if not db.is_closed():
        db.close()


def add_user(app: Flask, name: str) -> ApiClient:
    user_id = new_id()
    User.insert(
        id=user_id, username=name, name_key=name_key(name), password_hash=PASSWORD_HASH, created_at=timestamps.now()
    ).execute()
    with app.app_context():
        return ApiClient(app.test_client(), create_api_token(user_id, days=1), user_id)


@pytest.fixture
def anonymous(app: Flask) -> ApiClient:
    return ApiClient(app.test_client(), None)


@pytest.fixture
def owner(app: Flask) -> ApiClient:
    return add_user(app, "owner")


@pytest.fixture
def other(app: Flask) -> ApiClient:
    return add_user(app, "other")
