"""Chats on a real server, event by event."""

from __future__ import annotations

import json
from http.client import HTTPResponse
from typing import Any

from tests.helpers.chats import parse_events
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.process import FakeLlm, ServerProcess


class ChatServer(ServerProcess):
    """A server, the tokens of its users, and requests about their sessions."""

    def __init__(self, folder: DataFolder, **settings: Any):
        super().__init__(folder.path, **settings)
        self.tokens = folder.tokens

    def __enter__(self) -> ChatServer:
        return self

    def create_session(self, token: str) -> str:
        return str(self.request("POST", "/api/sessions", {}, token)[1]["id"])

    def list_messages(self, token: str, session_id: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.request("GET", f"/api/sessions/{session_id}", None, token)[1]["messages"]
        return messages

    def stop_chat(self, token: str, session_id: str) -> int:
        """Stop a chat and return the status."""
        return self.request("DELETE", f"/api/sessions/{session_id}/chat", None, token)[0]

    def await_answer(self, token: str, session_id: str) -> dict[str, Any]:
        """Wait until the answer to a session's first question is stored, and return it."""
        answer: dict[str, Any] = wait_until(lambda: self.list_messages(token, session_id)[1:])[0]
        return answer

    def list_runs(self, token: str, session_id: str) -> list[dict[str, Any]]:
        path = f"/api/sessions/{session_id}/webhook-runs"
        items: list[dict[str, Any]] = self.request("GET", path, None, token)[1]["items"]
        return items


class ChatStream:
    """A chat that a client has started, or attached to, on a connection of its own."""

    def __init__(
        self,
        server: ServerProcess,
        token: str,
        session_id: str,
        *script: str,
        accept: str = "text/event-stream",
        path: str | None = None,
        key: str | None = None,
        method: str = "POST",
        body: Any = None,
    ):
        self.socket = server.connect()
        path = path or f"/api/sessions/{session_id}/chat"
        body = b"" if method == "GET" else json.dumps(body or {"content": "\n".join(script)}).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: parley\r\nAuthorization: Bearer {token}\r\n"
        head += f"Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        head += f"Idempotency-Key: {key}\r\n" if key else ""
        self.socket.sendall(f"{head}\r\n".encode() + body)

    @classmethod
    def attach(cls, server: ServerProcess, token: str, session_id: str, **options: Any) -> ChatStream:
        """Attach to a chat that has been started."""
        return cls(server, token, session_id, method="GET", **options)

    def begin(self) -> HTTPResponse:
        """Wait for the header of the response and return the response."""
        self.response = HTTPResponse(self.socket)
        self.response.begin()
        return self.response

    def next_event(self) -> tuple[str, Any]:
        """Wait for the next event."""
        while not (line := self.response.readline()).startswith(b"event: "):
            assert line, "the stream has ended"
        return line[7:].strip().decode(), json.loads(self.response.readline()[6:])

    def events(self) -> list[tuple[str, Any]]:
        """Wait for the end of the stream and return the events that are left."""
        return parse_events(self.response.read())

    def close(self) -> None:
        if hasattr(self, "response"):
            self.response.close()
        self.socket.close()


def text_of(events: list[tuple[str, Any]]) -> str:
    """Return the text of all deltas."""
    return "".join(data["content"] for name, data in events if name == "delta")


def first_disconnect(fake_llm: FakeLlm, calls_before: int) -> float:
    """Return when the first client of the calls since then disconnected, 0 if none did."""
    times = (call["disconnected_at"] for call in fake_llm.calls()[calls_before:])
    return next((time for time in times if time), 0.0)
