"""Export and import of documents through the API, a line each."""

from __future__ import annotations

import json
from typing import Any

from tests.helpers.client import ApiClient, message

NDJSON = "application/x-ndjson"
DOCUMENT = {"version": 1, "session": {"id": "elsewhere-1", "title": "t"}, "messages": [message("hello")]}


def export_lines(client: ApiClient) -> list[dict[str, Any]]:
    """Export all sessions, and return their documents."""
    response = client.get("/api/export")
    assert (response.status_code, response.mimetype) == (200, NDJSON)
    return [json.loads(line) for line in response.data.splitlines()]


def import_items(client: ApiClient, *items: Any, query: str = "", content_type: str = NDJSON) -> dict[str, Any]:
    """Import items, a line each, as bytes or as JSON; return the report, whose counts have been checked."""
    body = b"\n".join(item if isinstance(item, bytes) else json.dumps(item).encode() for item in items)
    response = client.post(f"/api/import{query}", data=body, content_type=content_type)
    assert response.status_code == 200, response.data
    report: dict[str, Any] = response.get_json()
    statuses = [each["status"] for each in report["sessions"]]
    counts = {status: statuses.count(status) for status in ("imported", "skipped", "refused")}
    counts["refused"] += report.get("not_listed", 0)
    assert report["counts"] == counts
    return report


def get_imported(client: ApiClient, report: dict[str, Any]) -> dict[str, Any]:
    """Return the session, with its messages, that an item's report has the id of."""
    session: dict[str, Any] = client.get(f"/api/sessions/{report['session_id']}").get_json()
    return session


def portable_part(document: dict[str, Any]) -> Any:
    """Return what must be the same after an export and an import."""
    session = {key: document["session"][key] for key in ("title", "created_at")}
    keys = ("role", "content", "metadata", "created_at")
    return session, [{key: each[key] for key in keys} for each in document["messages"]]
