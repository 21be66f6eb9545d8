"""A client of a started server with a user's token."""

from __future__ import annotations

from typing import Any

from tests.helpers.client import document
from tests.helpers.http_client import HttpClient
from tests.helpers.process import ServerProcess


class Api:
    """A user's requests, each of which has to succeed."""

    def __init__(self, server: ServerProcess, token: str):
        self._client = HttpClient(server, token)
        self.username: str = self.get("/api/auth/me")["username"]

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        status, content = self._client(method, path, body)
        assert status < 300, f"{method} {path}: {status} {content}"
        return content

    def get(self, path: str) -> Any:
        return self("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        return self("POST", path, body)

    def patch(self, path: str, body: Any = None) -> Any:
        return self("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self("DELETE", path)

    def session(self, title: str | None = None) -> dict[str, Any]:
        """Create a session and return it."""
        session: dict[str, Any] = self.post("/api/sessions", {} if title is None else {"title": title})
        return session

    def imported(self, *messages: dict[str, Any], **session: Any) -> dict[str, Any]:
        """Import a conversation and return its session."""
        imported: dict[str, Any] = self.post("/api/sessions/import", document(*messages, **session))["session"]
        return imported

    def messages(self, session: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the messages of a session."""
        messages: list[dict[str, Any]] = self.get(f"/api/sessions/{session['id']}")["messages"]
        return messages

    def sessions(self) -> list[dict[str, Any]]:
        """Return the user's sessions, the most recently updated first."""
        items: list[dict[str, Any]] = self.get("/api/sessions")["items"]
        return items

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.__exit__(*error)
