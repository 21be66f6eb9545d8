"""The table of the API: each request, who may make it, and what it gets.

Tests of ownership, of openapi.json, of idempotency and of the documentation take their routes from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from tests.helpers.full_settings import ACTION

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


class Access(Enum):
    """Who may make a request."""

    PUBLIC = "anyone, without a token"
    USER = "a user, for what is their own"
    OWNER = "the owner of the session; for all others it does not exist"


@dataclass(frozen=True)
class Call:
    """A request that succeeds, if ``access`` allows it."""

    request: str
    """Method and path as in openapi.json."""
    access: Access
    status: int
    body: Any = ...
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str = "access_token"
    """Which token of a login it takes."""
    idempotent: bool = False
    """Whether it supports an Idempotency-Key."""
    not_idempotent_because: str = ""
    """The reason why a POST does not."""
    during_chat: bool = False
    """Whether it needs a chat in progress in the session."""

    @property
    def method(self) -> str:
        return self.request.partition(" ")[0]

    def path(self, session_id: str) -> str:
        path = self.request.partition(" ")[2]
        return (
            path.replace("{session_id}", session_id).replace("{name}", ACTION).replace("{path}", "app.js") + self.query
        )

    def __str__(self) -> str:
        accept = self.headers.get("Accept", "")
        return " ".join(filter(None, (self.request + self.query, accept, "null" if self.body is None else "")))


PUBLIC, USER, OWNER = Access
MESSAGE = {"role": "user", "content": "hello", "metadata": {"a": 1}}
DOCUMENT = {"session": {"title": "imported"}, "messages": [MESSAGE] * 3}
CREDENTIALS = {"username": "owner", "password": "correct horse battery"}
NEW_PASSWORD = {"current_password": "correct horse battery", "new_password": "long enough"}
AS_JSON, AS_LINES = {"Accept": "application/json"}, {"Accept": "application/x-ndjson"}

CALLS = (
    Call("GET /", PUBLIC, 200),
    Call("GET /static/{path}", PUBLIC, 200),
    Call("GET /healthz", PUBLIC, 200),
    Call("GET /readyz", PUBLIC, 200),
    Call("GET /openapi.json", PUBLIC, 200),
    Call("GET /docs", PUBLIC, 200),
    Call("GET /api/about", PUBLIC, 200),
    Call("POST /api/auth/login", PUBLIC, 200, CREDENTIALS, not_idempotent_because="each login is another one"),
    Call(
        "POST /api/auth/login",
        PUBLIC,
        200,
        CREDENTIALS | {"cookie": True},
        not_idempotent_because="each login is another one",
    ),
    Call(
        "POST /api/auth/refresh",
        USER,
        200,
        token="refresh_token",
        not_idempotent_because="a refresh token is for one use",
    ),
    Call("POST /api/auth/logout", USER, 204, not_idempotent_because="it creates nothing"),
    Call("GET /api/auth/me", USER, 200),
    Call("POST /api/auth/password", USER, 204, NEW_PASSWORD, not_idempotent_because="it creates nothing"),
    Call("GET /api/sessions", USER, 200),
    Call("GET /api/sessions", USER, 200, query="?limit=1"),
    Call("GET /api/sessions", USER, 200, query="?q=hello"),
    Call("POST /api/sessions", USER, 201, {"title": "new"}, idempotent=True),
    Call("POST /api/sessions", USER, 201, idempotent=True),
    Call("DELETE /api/sessions", USER, 200),
    Call("DELETE /api/sessions", USER, 200, {"ids": ["01a20000-0000-7000-8000-000000000000"]}),
    Call("GET /api/sessions/{session_id}", OWNER, 200),
    Call("PATCH /api/sessions/{session_id}", OWNER, 200, {"title": "new"}),
    Call("DELETE /api/sessions/{session_id}", OWNER, 204),
    Call("PATCH /api/sessions/{session_id}/system-prompt", OWNER, 200, {"system_prompt": "new"}),
    Call("PATCH /api/sessions/{session_id}/system-prompt", OWNER, 200),
    Call("GET /api/sessions/{session_id}/messages", OWNER, 200),
    Call("GET /api/sessions/{session_id}/messages", OWNER, 200, query="?order=desc"),
    Call("POST /api/sessions/{session_id}/messages", OWNER, 201, MESSAGE, idempotent=True),
    Call("GET /api/sessions/{session_id}/prompt", OWNER, 200),
    Call("GET /api/sessions/{session_id}/prompt", OWNER, 200, query="?content=hello"),
    Call("GET /api/sessions/{session_id}/prompt", OWNER, 200, query="?explain=1"),
    Call("POST /api/sessions/{session_id}/chat", OWNER, 200, {"content": "hello"}, idempotent=True),
    Call("POST /api/sessions/{session_id}/chat", OWNER, 201, {"content": "hello"}, headers=AS_JSON, idempotent=True),
    Call("POST /api/sessions/{session_id}/chat", OWNER, 200, {"retry": True}, idempotent=True),
    Call("GET /api/sessions/{session_id}/chat", OWNER, 200, during_chat=True),
    Call("GET /api/sessions/{session_id}/chat", OWNER, 200, headers=AS_JSON, during_chat=True),
    Call("DELETE /api/sessions/{session_id}/chat", OWNER, 204, during_chat=True),
    Call("GET /api/actions", USER, 200),
    Call("POST /api/sessions/{session_id}/actions/{name}", OWNER, 201, {"input": {"a": 1}}, idempotent=True),
    Call("POST /api/sessions/{session_id}/actions/{name}", OWNER, 201, idempotent=True),
    Call("GET /api/sessions/{session_id}/webhook-runs", OWNER, 200),
    Call("GET /api/sessions/{session_id}/export", OWNER, 200),
    Call("GET /api/sessions/{session_id}/export", OWNER, 200, query="?format=markdown"),
    Call("POST /api/sessions/import", USER, 201, DOCUMENT, idempotent=True),
    Call("POST /api/sessions/import", USER, 200, DOCUMENT, query="?dry_run=1", idempotent=True),
    Call("GET /api/export", USER, 200),
    Call("POST /api/import", USER, 200, DOCUMENT, not_idempotent_because="it skips what has been imported"),
    Call(
        "POST /api/import",
        USER,
        200,
        DOCUMENT,
        headers=AS_LINES,
        not_idempotent_because="it skips what has been imported",
    ),
)

REQUESTS = {call.request for call in CALLS}
NOT_IN_OPENAPI = {"GET /openapi.json", "GET /docs", "GET /", "GET /static/{path}"}
DOCUMENTED = {
    request.replace("{session_id}", ":id").replace("{name}", ":name") for request in REQUESTS - NOT_IN_OPENAPI
}
"""Method and path of each request that the documentation has, as it has them."""


def requests_of(rule: Rule) -> set[str]:
    """Return the requests that a rule of the app is for, as they are in the table."""
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
    return {f"{method} {path}" for method in METHODS & (rule.methods or set())}


def rules_of(app: Flask) -> list[Rule]:
    """Return the rules of an app, but for the files of the page that shows the API."""
    return [rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith("docs.swagger_ui")]
