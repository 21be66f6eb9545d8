"""Import of an export document: what it accepts, what it rejects, and that it creates all or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from store import deletion, imports, messages
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.round_trip import check_round_trip, export_session

GOOD = message()


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-01-31T09:30:00.123Z", "2026-01-31T09:30:00.123Z"),
        ("2026-01-31T09:30:00.123999Z", "2026-01-31T09:30:00.123Z"),
        ("2026-01-31T09:30:00+02:00", "2026-01-31T07:30:00.000Z"),
        ("2026-01-31T23:30:00-05:30", "2026-02-01T05:00:00.000Z"),
        ("2026-01-31T09:30", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31 09:30:00", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31t09:30:00z", "2026-01-31T09:30:00.000Z"),
        ("20260131T093000Z", "2026-01-31T09:30:00.000Z"),
        ("20260131T0930+0200", "2026-01-31T07:30:00.000Z"),
        ("2026-01-31T09:30:00,5Z", "2026-01-31T09:30:00.500Z"),
        ("2026-01-31T09:30:00,000Z", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31T09:30:00-00:00", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31T24:00:00Z", "2026-02-01T00:00:00.000Z"),
        ("2026-01-31T09", "2026-01-31T09:00:00.000Z"),
        ("2026-01-31", "2026-01-31T00:00:00.000Z"),
        ("2026-W05-6", "2026-01-31T00:00:00.000Z"),
        ("2026-031", "2026-01-31T00:00:00.000Z"),
        ("2026-01", "2026-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_normalizes_iso_8601_times(owner: ApiClient, time: str, expected: str) -> None:
    session = owner.imported(message(created_at=time), created_at=time)
    assert session["created_at"] == expected
    assert export_session(owner, session["id"])["messages"][0]["created_at"] == expected
    check_round_trip(owner, session["id"])


@pytest.mark.parametrize(
    "time",
    [
        None, 5, True, [], {}, "", " ", "x", "yesterday", "1769851800", "2026-02-30", "2026-13-01", "0000-01-01",
        "１９９９-01-01", "2026-01-31T", "2026-01-31T25:00", "2026-01-31T09:60", "2026-01-31T24:30", "2026-01-31_09:30",
        "2026-01-31x09:30", "2026-01-31T09:30+25:00", "0001-01-01T00:00+14:00", "9999-12-31T23:59:59-01:00",
        "2026-01-31T09:30:00Z ", "Z" * 5_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["message", "session", "updated"])
def test_rejects_other_times(owner: ApiClient, time: Any, place: str) -> None:
    document: dict[str, Any] = {"session": {}, "messages": [message()]}
    where = document["messages"][0] if place == "message" else document["session"]
    key = "updated_at" if place == "updated" else "created_at"
    where[key] = time
    response = owner.post("/api/sessions/import", document)
    assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
    details = response.get_json()["details"]
    assert list(details["messages"]["0"] if place == "message" else details["session"]) == [key]


def test_creates_new_ids_and_an_update_time(owner: ApiClient, other: ApiClient) -> None:
    document = export_session(other, other.imported(message("theirs"))["id"])
    imported = owner.post("/api/sessions/import", document).get_json()["session"]
    assert imported["id"] != document["session"]["id"]
    assert imported["updated_at"] > document["session"]["updated_at"]
    assert imported["created_at"] == document["session"]["created_at"]
    assert other.get("/api/sessions").get_json()["items"][0]["id"] == document["session"]["id"]


@pytest.mark.parametrize("version", [0, 2, -1, 10**30, "1", 1.5, True, None, [], {}])
def test_rejects_another_version(owner: ApiClient, version: Any) -> None:
    response = owner.post("/api/sessions/import", {"version": version, "session": {}, "messages": []})
    assert response.status_code == 400
    assert response.get_json() == {"error": "unsupported_version", "details": {"version": ["Must be 1."]}}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (..., "_schema"),
        (None, "_schema"),
        ([], "_schema"),
        ({}, "session"),
        ({"messages": []}, "session"),
        ({"session": {}}, "messages"),
        ({"session": None, "messages": []}, "session"),
        ({"session": [], "messages": []}, "session._schema"),
        ({"session": {}, "messages": None}, "messages"),
        ({"session": {}, "messages": {}}, "messages"),
        ({"session": {"title": 5}, "messages": []}, "session.title"),
        ({"session": {"title": "x" * 121}, "messages": []}, "session.title"),
        ({"session": {}, "messages": [None]}, "messages.0._schema"),
        ({"session": {}, "messages": [[]]}, "messages.0._schema"),
        ({"session": {}, "messages": ["x"]}, "messages.0._schema"),
        ({"session": {}, "messages": [{}]}, "messages.0.role"),
        ({"session": {}, "messages": [GOOD, GOOD, GOOD, message(role="tool")]}, "messages.3.role"),
        ({"session": {}, "messages": [GOOD | {"role": None}]}, "messages.0.role"),
        ({"session": {}, "messages": [GOOD | {"role": ["user"]}]}, "messages.0.role"),
        ({"session": {}, "messages": [GOOD | {"role": {}}]}, "messages.0.role"),
        ({"session": {}, "messages": [{"role": "user"}]}, "messages.0.content"),
        ({"session": {}, "messages": [message("")]}, "messages.0.content"),
        ({"session": {}, "messages": [message("x" * 50_001)]}, "messages.0.content"),
        ({"session": {}, "messages": [GOOD | {"content": None}]}, "messages.0.content"),
        ({"session": {}, "messages": [GOOD | {"content": 5}]}, "messages.0.content"),
        ({"session": {}, "messages": [GOOD | {"metadata": None}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": []}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": "{}"}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": 0}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": {"a": "\0"}}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": {"\0": 1}}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": {"a": [{"b": ["\0"]}]}}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [message("a\0b")]}, "messages.0.content"),
        ({"session": {"title": "\0"}, "messages": []}, "session.title"),
    ],
)  # fmt: skip
def test_invalid_document_gets_the_path_of_the_error_and_creates_nothing(
    owner: ApiClient, document: Any, path: str
) -> None:
    response = owner.post("/api/sessions/import", document)
    assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
    details = response.get_json()["details"]
    for key in path.split("."):
        details = details[key]
    assert isinstance(details, list)
    assert all(isinstance(problem, str) for problem in details)
    assert query_db("SELECT * FROM sessions") == query_db("SELECT * FROM messages") == []


def test_invalid_role_gets_the_valid_ones(owner: ApiClient) -> None:
    response = owner.post("/api/sessions/import", {"session": {}, "messages": [GOOD, GOOD, GOOD, message(role="tool")]})
    assert response.get_json() == {
        "error": "validation_error",
        "details": {"messages": {"3": {"role": ["Must be one of: user, assistant, system."]}}},
    }


def test_many_errors_get_a_short_response(owner: ApiClient) -> None:
    response = owner.post("/api/sessions/import", {"session": {}, "messages": [{}] * 50_000})
    assert response.status_code == 400
    assert len(response.data) < 5_000


@pytest.mark.parametrize("count", [3, imports.IMPORT_BATCH_SIZE * 2 + 5])
def test_failure_at_the_last_message_leaves_nothing(
    owner: ApiClient, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Past the validation, so that the database itself rejects the last row.
    ids = iter([f"id {n}" for n in range(count - 1)] + ["id 1"])
    monkeypatch.setattr(messages, "new_id", lambda: next(ids))
    response = owner.post("/api/sessions/import", {"session": {}, "messages": [GOOD] * count})
    assert response.status_code == 500
    deletion.erase()
    assert query_db("SELECT * FROM sessions") == query_db("SELECT * FROM messages") == []


def test_orphaned_import_is_invisible_and_deleted(owner: ApiClient) -> None:
    expected = owner.imported(message())
    orphan = owner.imported(message())
    query_db("UPDATE sessions SET user_id = NULL WHERE id = ?", orphan["id"])
    assert owner.get("/api/sessions").get_json()["items"] == [expected]
    assert owner.get(f"/api/sessions/{orphan['id']}").status_code == 404
    run_in_transaction(imports.delete_orphans)
    deletion.erase()
    assert query_db("SELECT id FROM sessions") == [(expected["id"],)]
    assert query_db("SELECT session_id FROM messages") == [(expected["id"],)]


@pytest.mark.parametrize("wanted", ["1", "true", "True", "yes"])
def test_dry_run_writes_nothing(owner: ApiClient, wanted: str) -> None:
    document = {"version": 1, "session": {"title": "x"}, "messages": [message(), message()]}
    response = owner.post(f"/api/sessions/import?dry_run={wanted}", document)
    assert (response.status_code, response.get_json()) == (200, {"imported_messages": 2})
    assert owner.get("/api/sessions").get_json() == {"items": []}
    assert owner.post("/api/sessions/import?dry_run=0", document).status_code == 201


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"version": 2},
        {"session": {}, "messages": [message(""), message(role="tool")]},
        {"session": {"title": 5}},
    ],
)
def test_dry_run_rejects_what_the_import_rejects(owner: ApiClient, document: Any) -> None:
    real, checked = (owner.post(f"/api/sessions/import{query}", document) for query in ("", "?dry_run=1"))
    assert (checked.status_code, checked.data) == (real.status_code, real.data)
    assert real.status_code == 400
    assert owner.post("/api/sessions/import?dry_run=maybe", document).status_code == 400
