"""Export, import, and export again: what must stay the same."""

from __future__ import annotations

from typing import Any

from tests.helpers.client import ApiClient


def export_session(client: ApiClient, session_id: str) -> dict[str, Any]:
    """Return the export document of a session."""
    response = client.get(f"/api/sessions/{session_id}/export")
    assert response.status_code == 200
    document: dict[str, Any] = response.get_json()
    return document


def portable(document: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a document that an import preserves."""
    session = {key: value for key, value in document["session"].items() if key not in ("id", "updated_at")}
    messages = [
        {key: value for key, value in item.items() if key not in ("id", "session_id")} for item in document["messages"]
    ]
    return {"version": document["version"], "session": session, "messages": messages}


def check_round_trip(client: ApiClient, session_id: str) -> None:
    """Check that a session is the same after export and import, but for new ids."""
    first = export_session(client, session_id)
    response = client.post("/api/sessions/import", first)
    assert response.status_code == 201
    assert response.get_json()["imported_messages"] == len(first["messages"])
    second = export_session(client, response.get_json()["session"]["id"])
    assert portable(second) == portable(first)
    ids = [{document["session"]["id"], *(item["id"] for item in document["messages"])} for document in (first, second)]
    assert not ids[0] & ids[1]
