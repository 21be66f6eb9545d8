"""Pagination: limits and cursors of the lists."""

from __future__ import annotations

from typing import Any

import pytest
from flask import g

from database import db
from limits import ORDERS
from models import Message
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
    messages = owner.get(path).get_json()["messages"]
    assert read_pages(owner, f"{path}/messages", limit) == messages
    assert read_pages(owner, f"{path}/messages?order=asc", limit) == messages
    assert read_pages(owner, f"{path}/messages?order=desc", limit) == messages[::-1]


def test_empty_list_is_one_page(owner: ApiClient) -> None:
    nothing: dict[str, Any] = {"items": [], "next_cursor": None}
    assert owner.get("/api/sessions?limit=5").get_json() == nothing
    path = f"/api/sessions/{owner.session()['id']}/messages"
    assert owner.get(path).get_json() == owner.get(f"{path}?order=desc").get_json() == nothing


def test_default_limits(owner: ApiClient) -> None:
    session = owner.imported(*(message(str(number)) for number in range(60)))
    first = owner.get(f"/api/sessions/{session['id']}/messages").get_json()
    assert len(first["items"]) == 50
    path = f"/api/sessions/{session['id']}/messages?cursor={first['next_cursor']}"
    assert [item["content"] for item in owner.get(path).get_json()["items"]] == [str(n) for n in range(50, 60)]
    assert set(owner.get("/api/sessions").get_json()) == {"items"}  # as ever


def test_newest_first_has_what_was_there_at_the_first_page(owner: ApiClient) -> None:
    session, another = (owner.imported(*(message(str(number)) for number in range(9))) for _ in range(2))
    path = f"/api/sessions/{session['id']}/messages"
    written = iter(range(9, 100))

    def write() -> None:
        for each in (session, another):
            owner.post(f"/api/sessions/{each['id']}/messages", message(str(next(written))))

    contents = [item["content"] for item in read_pages(owner, f"{path}?order=desc", 2, between_pages=write)]
    assert contents == [str(number) for number in range(8, -1, -1)]
    assert owner.get(f"{path}?order=desc&limit=1").get_json()["items"][0]["content"] == "15"


def test_newest_first_goes_on_although_messages_are_deleted(owner: ApiClient) -> None:
    session = owner.imported(*(message(str(number)) for number in range(6)))
    path = f"/api/sessions/{session['id']}/messages?order=desc&limit=2"
    first = owner.get(path).get_json()
    with db.write_transaction():
        Message.delete().where(Message.content << ["5", "4", "3"]).execute()
    second = owner.get(f"{path}&cursor={first['next_cursor']}").get_json()
    assert [item["content"] for item in second["items"]] == ["2", "1"]
    with db.write_transaction():
        Message.delete().where(Message.content == "0").execute()
    third = owner.get(f"{path}&cursor={second['next_cursor']}").get_json()
    assert third == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("order", ["", "DESC", "descending", "asc,desc", "1"])
def test_rejects_other_orders(owner: ApiClient, order: str) -> None:
    response = owner.get(f"/api/sessions/{owner.session()['id']}/messages?order={order}")
    assert (response.status_code, list(response.get_json()["details"])) == (400, ["order"])


def test_cursor_is_valid_for_its_order_only(owner: ApiClient) -> None:
    path = f"/api/sessions/{owner.imported(*[message()] * 3)['id']}/messages"
    cursors = {order: owner.get(f"{path}?limit=1&order={order}").get_json()["next_cursor"] for order in ORDERS}
    for order, cursor in cursors.items():
        statuses = {other: owner.get(f"{path}?order={other}&cursor={cursor}").status_code for other in ORDERS}
        assert statuses == {"asc": 400, "desc": 400} | {order: 200}
    assert owner.get(f"{path}?cursor={cursors['asc']}").status_code == 200


@pytest.mark.parametrize("order", ORDERS)
def test_page_of_long_messages_is_short(owner: ApiClient, order: str) -> None:
    long = {"a": ["y" * 90] * 5_000}
    contents = [message(str(n), metadata=long) for n in range(8)] + [message("é" * 50_000)] * 30 + [message("end")] * 60
    session = owner.imported(*contents)
    path = f"/api/sessions/{session['id']}"
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        page = owner.get(f"{path}/messages?limit=200&order={order}" + (f"&cursor={cursor}" if cursor else ""))
        assert len(page.data.decode()) < 1_048_576 + 500_000  # one message more than a megabyte, at most
        items += page.get_json()["items"]
        cursor = page.get_json()["next_cursor"]
        pages += 1
    whole = owner.get(path).get_json()["messages"]
    assert items == (whole if order == "asc" else whole[::-1])
    assert 4 <= pages <= 8
    assert [item["content"] for item in owner.get(f"{path}/export").get_json()["messages"]] == [
        each["content"] for each in contents
    ]


def test_page_of_sessions_with_long_prompts_is_short(owner: ApiClient) -> None:
    ids = [owner.session()["id"] for _ in range(80)]
    for session_id in ids:
        owner.patch(f"/api/sessions/{session_id}/system-prompt", {"system_prompt": "🚀" * 8_000})
    first = owner.get("/api/sessions?limit=200").get_json()
    assert 60 <= len(first["items"]) < 80
    second = owner.get(f"/api/sessions?limit=200&cursor={first['next_cursor']}").get_json()
    assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


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
