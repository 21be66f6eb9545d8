"""Documents of many messages for a server, and what a session has in the end."""

from __future__ import annotations

from typing import Any

from tests.helpers.process import ServerProcess


def document(*contents: str) -> dict[str, Any]:
    """Return a document whose messages have these contents."""
    messages = [{"role": "user", "content": content} for content in contents]
    return {"version": 1, "session": {"title": "imported"}, "messages": messages}


def numbered_document(count: int, title: str = "", text: str = "message {}") -> dict[str, Any]:
    """Return a document of many messages; in their text, ``{}`` stands for their number."""
    return document(*(text.format(number) for number in range(count))) | {"session": {"title": title}}


def message_contents(server: ServerProcess, token: str, session_id: str) -> list[str]:
    """Return the contents of a session's messages."""
    status, session, _ = server.request("GET", f"/api/sessions/{session_id}", token=token)
    assert status == 200
    return [message["content"] for message in session["messages"]]
