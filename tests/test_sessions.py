"""Sessions: create, list, update and delete, and what the next request sees."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from flask import Flask

from store import deletion
from tests.helpers.client import UNKNOWN_ID, ApiClient, message
from tests.helpers.clock import frozen_time
from tests.helpers.database import query_db

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SESSION_KEYS = ["id", "title", "system_prompt", "created_at", "updated_at"]
KEYS_DIFFER = "A session has other keys than SESSION_KEYS: change them here, in schemas.py and in Session.PUBLIC_FIELDS"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/nothing-here", ...),
        ("PUT", "/api/sessions", ...),
        ("PATCH", f"/api/sessions/{UNKNOWN_ID}", {"title": ""}),
    ],
)
def test_anonymous_gets_401_for_missing_paths_and_bad_bodies_too(
    anonymous: ApiClient, method: str, path: str, body: Any
) -> None:
    response = anonymous(method, path, body)
    assert (response.status_code, response.get_json()) == (401, {"error": "missing_token"})


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", f"/api/sessions/{UNKNOWN_ID}"), ("PATCH", f"/api/sessions/{UNKNOWN_ID}/system-prompt")],
)
def test_a_bad_body_on_a_missing_session_is_400(owner: ApiClient, method: str, path: str) -> None:
    response = owner(method, path, {"title": "", "system_prompt": 5})
    assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/chat", {"content": "new"}, (503, "llm_not_configured")),
        ("/actions/restart", {}, (404, "action_not_found")),
    ],
)
def test_ownership_is_checked_before_the_configuration(
    owner: ApiClient, other: ApiClient, path: str, body: Any, error: tuple[int, str]
) -> None:
    session = owner.session()
    invisible, missing = (other.post(f"/api/sessions/{each}{path}", body) for each in (session["id"], UNKNOWN_ID))
    assert (invisible.status_code, invisible.data) == (404, missing.data)
    assert invisible.get_json() == {"error": "session_not_found"}
    response = owner.post(f"/api/sessions/{session['id']}{path}", body)
    assert (response.status_code, response.get_json()["error"]) == error


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (..., None),
        (None, None),
        ({}, None),
        ({"unknown": 1}, None),
        ({"title": "x"}, "x"),
        ({"title": " not trimmed "}, " not trimmed "),
        ({"title": " "}, " "),
        ({"title": "é" * 120}, "é" * 120),
        ({"title": "\N{FAMILY}" * 120}, "\N{FAMILY}" * 120),
    ],
)
def test_create_accepts_optional_titles(owner: ApiClient, body: Any, title: str | None) -> None:
    response = owner.post("/api/sessions", body)
    session = response.get_json()
    assert response.status_code == 201
    assert list(session) == SESSION_KEYS, KEYS_DIFFER
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", session["id"])
    assert (session["title"], session["system_prompt"]) == (title, None)
    assert TIME.fullmatch(session["created_at"])
    assert session["updated_at"] == session["created_at"]
    assert owner.get(f"/api/sessions/{session['id']}").get_json() == session | {"messages": []}


@pytest.mark.parametrize(
    "body",
    [{"title": ""}, {"title": None}, {"title": 5}, {"title": ["x"]}, {"title": "x" * 121}, [], "x", 5, False],
)
def test_create_rejects_invalid_titles(owner: ApiClient, body: Any) -> None:
    response = owner.post("/api/sessions", body)
    assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
    assert response.get_json()["details"]
    assert owner.get("/api/sessions").get_json() == {"items": []}


def test_list_has_the_callers_sessions_alone(owner: ApiClient, other: ApiClient) -> None:
    mine, theirs = owner.session("mine"), other.session("theirs")
    assert owner.get("/api/sessions").get_json() == {"items": [mine]}
    assert other.get("/api/sessions").get_json() == {"items": [theirs]}
    assert [list(item) for item in owner.get("/api/sessions").get_json()["items"]] == [SESSION_KEYS], KEYS_DIFFER


def test_list_starts_with_the_most_recently_updated(owner: ApiClient) -> None:
    first, second, third = (owner.session(title)["id"] for title in "abc")
    time.sleep(0.002)  # in the same millisecond it would be a tie
    owner.patch(f"/api/sessions/{first}", {"title": "renamed"})
    assert [item["id"] for item in owner.get("/api/sessions").get_json()["items"]] == [first, third, second]


def test_list_breaks_ties_by_creation_time(owner: ApiClient) -> None:
    with frozen_time("2026-01-31T09:30:00.000Z"):
        ids = [owner.session()["id"] for _ in range(5)]
        old = owner.imported(created_at="2020-01-01")["id"]
    assert [item["id"] for item in owner.get("/api/sessions").get_json()["items"]] == [*reversed(ids), old]


def test_list_ignores_unknown_parameters(owner: ApiClient) -> None:
    assert owner.get("/api/sessions?colour=red&%ff=%00").get_json() == {"items": []}


@pytest.mark.parametrize(
    ("title", "trimmed"),
    [
        ("x", "x"),
        ("  x \n", "x"),
        ("\ufeff\u00a0x y\u2003\u3000", "x y"),
        ("\x85x\x1f", "\x85x\x1f"),  # blank to Python, not to ECMAScript's trim()
        (" " + "x" * 120 + " ", "x" * 120),
    ],
)
def test_rename_trims_titles(owner: ApiClient, title: str, trimmed: str) -> None:
    session = owner.session("before")
    response = owner.patch(f"/api/sessions/{session['id']}", {"title": title, "id": "other"})
    renamed = response.get_json()
    assert (response.status_code, renamed["title"]) == (200, trimmed)
    assert renamed["updated_at"] > session["updated_at"]
    assert renamed == session | {"title": trimmed, "updated_at": renamed["updated_at"]}
    assert owner.get("/api/sessions").get_json()["items"] == [renamed]


@pytest.mark.parametrize("body", [..., None, {}, {"title": None}, {"title": " \n"}, {"title": "x" * 121}, [], 0])
def test_rename_rejects_invalid_titles(owner: ApiClient, body: Any) -> None:
    session = owner.session("before")
    response = owner.patch(f"/api/sessions/{session['id']}", body)
    assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
    assert owner.get("/api/sessions").get_json()["items"] == [session]


def test_rename_to_the_same_title_is_an_update(owner: ApiClient) -> None:
    session = owner.session("same")
    response = owner.patch(f"/api/sessions/{session['id']}", {"title": "same"})
    renamed = response.get_json()
    assert (response.status_code, renamed) == (200, session | {"updated_at": renamed["updated_at"]})
    assert renamed["updated_at"] > session["updated_at"]
    assert owner.get("/api/sessions").get_json()["items"] == [renamed]


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ({"system_prompt": "  as sent\n"}, "  as sent\n"),
        ({"system_prompt": "x" * 8_000}, "x" * 8_000),
        ({"system_prompt": ""}, None),
        ({"system_prompt": " \n\t\ufeff"}, None),
    ],
)
def test_system_prompt_is_set_or_cleared(owner: ApiClient, body: Any, stored: str | None) -> None:
    session = owner.session()
    path = f"/api/sessions/{session['id']}/system-prompt"
    before = owner.patch(path, {"system_prompt": "before"}).get_json()
    response = owner.patch(path, body)
    assert (response.status_code, response.get_json()["system_prompt"]) == (200, stored)
    assert response.get_json()["updated_at"] > before["updated_at"]
    assert owner.get("/api/sessions").get_json()["items"] == [response.get_json()]


@pytest.mark.parametrize("body", [..., None, {}, {"system_prompt": None}, {"prompt": "x"}, {"system_prompt": "before"}])
def test_system_prompt_null_or_equal_is_a_no_op(owner: ApiClient, body: Any) -> None:
    path = f"/api/sessions/{owner.session()['id']}/system-prompt"
    before = owner.patch(path, {"system_prompt": "before"}).get_json()
    response = owner.patch(path, body)
    assert (response.status_code, response.get_json()) == (200, before)


@pytest.mark.parametrize(
    "body", [{"system_prompt": 5}, {"system_prompt": "x" * 8_001}, {"system_prompt": " " * 8_001}, []]
)
def test_system_prompt_rejects_invalid_values(owner: ApiClient, body: Any) -> None:
    path = f"/api/sessions/{owner.session()['id']}/system-prompt"
    before = owner.patch(path, {"system_prompt": "before"}).get_json()
    assert owner.patch(path, body).status_code == 400
    assert owner.get("/api/sessions").get_json()["items"] == [before]


def test_reading_does_not_update_the_session(owner: ApiClient) -> None:
    session = owner.imported(message())
    owner.get(f"/api/sessions/{session['id']}")
    owner.get(f"/api/sessions/{session['id']}/export")
    assert owner.get("/api/sessions").get_json()["items"] == [session]


def test_delete_cascades_to_messages_and_runs(owner: ApiClient) -> None:
    deleted, other = (owner.imported(message(), message())["id"] for _ in range(2))
    for number, session_id in enumerate((deleted, other)):
        query_db(
            "INSERT INTO webhook_runs (id, session_id, action, status, request, started_at) "
            "VALUES (?, ?, 'page', 'running', '{}', '2026-01-01T00:00:00.000Z')",
            str(number),
            session_id,
        )
    response = owner.delete(f"/api/sessions/{deleted}")
    assert (response.status_code, response.data) == (204, b"")
    assert owner.get(f"/api/sessions/{deleted}").status_code == 404
    assert owner.delete(f"/api/sessions/{deleted}").status_code == 404
    assert query_db("SELECT session_id, COUNT(*) FROM messages GROUP BY 1") == [(other, 2)]
    assert query_db("SELECT session_id, COUNT(*) FROM webhook_runs GROUP BY 1") == [(other, 1)]


def test_delete_all_deletes_the_callers_sessions_alone(owner: ApiClient, other: ApiClient) -> None:
    for _ in range(3):
        owner.imported(message())
    theirs = other.imported(message())
    response = owner.delete("/api/sessions")
    assert (response.status_code, response.get_json()) == (200, {"deleted": 3})
    assert owner.delete("/api/sessions").get_json() == {"deleted": 0}
    assert owner.get("/api/sessions").get_json() == {"items": []}
    deletion.erase()
    assert query_db("SELECT DISTINCT session_id FROM messages") == [(theirs["id"],)]


@pytest.mark.parametrize(
    "session_id",
    [
        UNKNOWN_ID.upper(),
        "x",
        "0",
        "-1",
        "%00",
        "%ff",
        "%F0%9F%92%A9",
        "..",
        "a" * 5_000,
        "%27%20OR%201=1",
        "{}",
        "null",
    ],
)
def test_invalid_ids_are_not_found(owner: ApiClient, session_id: str) -> None:
    owner.session()
    for method, body in (("GET", ...), ("PATCH", {"title": "x"}), ("DELETE", ...)):
        response = owner(method, f"/api/sessions/{session_id}", body)
        assert (response.status_code, response.get_json()["error"]) == (404, "session_not_found")


def test_updated_at_increases_when_the_clock_does_not(app: Flask, owner: ApiClient) -> None:
    session = owner.session()
    with frozen_time("2020-01-01T00:00:00.000Z"):
        updated = owner.patch(f"/api/sessions/{session['id']}", {"title": "x"}).get_json()
    assert updated["updated_at"] > session["updated_at"]


def test_get_without_messages_has_the_entity_tag_of_the_whole(owner: ApiClient) -> None:
    session = owner.imported(message("Is checkout down?"))
    path = f"/api/sessions/{session['id']}"
    whole, alone = owner.get(path), owner.get(f"{path}?messages=false")
    assert (len(whole.get_json().pop("messages")), list(alone.get_json())) == (1, SESSION_KEYS)
    assert alone.headers["ETag"] == whole.headers["ETag"]
    assert owner.get(f"{path}?messages=perhaps").status_code == 400
