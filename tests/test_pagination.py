"""Pagination: limits and cursors of the lists."""

from __future__ import annotations

from typing import Any

import pytest
from flask import g

from tests.helpers.client import ApiClient, message
from tests.helpers.clock import frozen_time
from tests.helpers.pages import read_pages
from web import pagination

MOMENT = "2026-01-31T09:30:00.000Z"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 200])
def test_pages_together_are_the_list(owner: ApiClient, other: ApiClient, limit: int) -> None:
    other.session("not mine")
    with frozen_time(MOMENT):  # ties
        sessions = [owner.session(str(number)) for number in range(4)]
    sessions += [owner.session(str(number)) for number in range(3)]
    owner.patch(f"/api/sessions/{sessions[1]['id']}", {"title": "moved"})
    assert read_pages(owner, "/api/sessions", limit) == owner.get("/api/sessions").get_json()["items"]

    contents = [message(str(number), metadata={"n": number}) for number in range(7)]
    session = owner.imported(*contents)
    path = f"/api/sessions/{session['id']}"
    assert read_pages(owner, f"{path}/messages", limit) == owner.get(path).get_json()["messages"]


def test_empty_list_is_one_page(owner: ApiClient) -> None:
    nothing: dict[str, Any] = {"items": [], "next_cursor": None}
    assert owner.get("/api/sessions?limit=5").get_json() == nothing
    assert owner.get(f"/api/sessions/{owner.session()['id']}/messages").get_json() == nothing


def test_default_limits(owner: ApiClient) -> None:
    session = owner.imported(*(message(str(number)) for number in range(60)))
    first = owner.get(f"/api/sessions/{session['id']}/messages").get_json()
    assert len(first["items"]) == 50
    path = f"/api/sessions/{session['id']}/messages?cursor={first['next_cursor']}"
    assert [item["content"] for item in owner.get(path).get_json()["items"]] == [str(n) for n in range(50, 60)]
    assert set(owner.get("/api/sessions").get_json()) == {"items"}  # as ever


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "", "1e2", str(2**70), "1_0", "%2B5", "%205", "５"])
def test_rejects_invalid_limits(owner: ApiClient, limit: str) -> None:
    session = owner.session()
    for path in ("/api/sessions", f"/api/sessions/{session['id']}/messages", "/api/sessions/nothing/messages"):
        response = owner.get(f"{path}?limit={limit}")
        assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
        assert set(response.get_json()["details"]) == {"limit"}


def test_cursor_is_valid_for_its_list_and_user_only(owner: ApiClient, other: ApiClient) -> None:
    session, another = (owner.imported(*[message()] * 3) for _ in range(2))
    other.session(), other.session()
    path = f"/api/sessions/{session['id']}/messages"
    cursor = owner.get(f"{path}?limit=1").get_json()["next_cursor"]
    sessions = owner.get("/api/sessions?limit=1").get_json()["next_cursor"]
    assert owner.get(f"{path}?cursor={cursor}").status_code == 200
    wrong = [f"{path}?cursor={bad}" for bad in (cursor[:-1], cursor + "x", "", "x", "%00", "é", sessions, "." * 5_000)]
    wrong += [f"{path}?cursor={cursor[:3]}{'A' if cursor[3] != 'A' else 'B'}{cursor[4:]}"]
    wrong += [f"/api/sessions?cursor={cursor}", f"/api/sessions/{another['id']}/messages?cursor={cursor}"]
    for target in wrong:
        response = owner.get(target)
        assert (response.status_code, response.get_json()["error"]) == (400, "validation_error"), target
        assert set(response.get_json()["details"]) == {"cursor"}
    assert other.get(f"/api/sessions?cursor={sessions}").status_code == 400
    assert other.get(f"{path}?limit=1").get_json() == {"error": "session_not_found"}


def test_rejects_a_cursor_of_an_earlier_version(owner: ApiClient) -> None:
    with owner.client.application.test_request_context("/api/sessions"):
        g.user_id = owner.user_id
        cursor = pagination.encode_cursor((["2026-01-31T09:30:00.000Z", MOMENT, "x"], "y", [1, 2]), {})
    assert owner.get(f"/api/sessions?cursor={cursor}").status_code == 400
