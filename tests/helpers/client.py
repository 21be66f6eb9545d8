"""Clients of an app within the test's process: anonymous, or with a user's token."""

from __future__ import annotations

from typing import Any

from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

import timestamps
from auth.logins import create_api_token
from ids import new_id
from models import User
from tests.helpers import openapi_checker
from tests.helpers.process import PASSWORD
from usernames import name_key

PASSWORD_HASH = generate_password_hash(PASSWORD, "scrypt:256:8:1")
"""Checked in a millisecond, while Parley's own hashes take 0.1 s."""

UNKNOWN_ID = "01a20000-0000-7000-8000-000000000000"
"""A valid id that nothing has."""


class ApiClient:
    """A client that sends a user's token, or none, with each request and checks each response against openapi.json."""

    def __init__(self, client: FlaskClient, token: str | None, user_id: str | None = None):
        self.client = client
        self.token = token
        self.user_id = user_id

    def __call__(self, method: str, path: str, json: Any = ..., **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        if json is not ...:
            options["json"] = json
        response = self.client.open(path, method=method, headers=headers, **options)
        openapi_checker.check(method, path, response)
        return response

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
        imported: dict[str, Any] = self.post("/api/sessions/import", document(*messages, **session)).get_json()[
            "session"
        ]
        return imported


def add_user(app: Flask, name: str) -> ApiClient:
    """Create a user with ``PASSWORD`` and return a client with a token of theirs."""
    user_id = new_id()
    User.insert(
        id=user_id, username=name, name_key=name_key(name), password_hash=PASSWORD_HASH, created_at=timestamps.now()
    ).execute()
    with app.app_context():
        return ApiClient(app.test_client(), create_api_token(user_id, days=1), user_id)


def log_in(anonymous: ApiClient, username: str = "owner", password: str = PASSWORD, **options: Any) -> TestResponse:
    """Send a name and a password, and return the response."""
    return anonymous.post("/api/auth/login", {"username": username, "password": password}, **options)


def new_login(anonymous: ApiClient, owner: ApiClient) -> tuple[ApiClient, ApiClient]:
    """Log in as ``owner``; return a client with the access token and one with the refresh token."""
    pair = log_in(anonymous).get_json()
    access, refresh = (
        ApiClient(anonymous.client, pair[f"{kind}_token"], owner.user_id) for kind in ("access", "refresh")
    )
    return access, refresh


def can_log_in(anonymous: ApiClient, username: str, password: str) -> bool:
    """Return whether this name and this password are accepted."""
    return log_in(anonymous, username, password).status_code == 200


def invoke(app: Flask, *arguments: str, **options: Any) -> Result:
    """Run a command of the app within this process."""
    return app.test_cli_runner().invoke(args=arguments, **options)


def message(content: str = "hello", role: str = "user", **more: Any) -> dict[str, Any]:
    """Return a message as a client sends it."""
    return {"role": role, "content": content, **more}


def document(*messages: dict[str, Any], **session: Any) -> dict[str, Any]:
    """Return an export document, as an import takes it."""
    return {"version": 1, "session": session, "messages": list(messages)}


def error_of(response: TestResponse) -> tuple[int, str]:
    """Return the status and the code of an error, which is JSON and has the one shape of errors."""
    assert response.content_type == "application/json"
    body = response.get_json()
    assert set(body) <= {"error", "details"}
    return response.status_code, body["error"]
