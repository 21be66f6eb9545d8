"""Part by part what a client sees of sessions: who may do what, and what is there afterwards."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from flask import Flask

from store import deletion
from tests.helpers.client import ApiClient, message
from tests.helpers.clock import frozen_time
from tests.helpers.database import query_db

UNKNOWN = "01a20000-0000-7000-8000-000000000000"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SESSION_KEYS = ["id", "title", "system_prompt", "created_at", "updated_at"]
MESSAGE_KEYS = ["id", "session_id", "role", "content", "metadata", "created_at"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/nothing-here", ...),
        ("PUT", "/api/sessions", ...),
        ("PATCH", f"/api/sessions/{UNKNOWN}", {"title": ""}),
    ],
)
def test_anonymous_gets_401_for_missing_paths_and_bad_bodies_too(
    anonymous: ApiClient, method: str, path: str, body: Any
) -> None:
    answer = anonymous(method, path, body)
    assert (answer.status_code, answer.get_json()) == (401, {"error": "missing_token"})


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", f"/api/sessions/{UNKNOWN}"), ("PATCH", f"/api/sessions/{UNKNOWN}/system-prompt")]
)
def test_a_bad_body_on_a_missing_session_is_400(owner: ApiClient, method: str, path: str) -> None:
    answer = owner(method, path, {"title": "", "system_prompt": 5})
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")


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
    invisible, missing = (other.post(f"/api/sessions/{each}{path}", body) for each in (session["id"], UNKNOWN))
    assert (invisible.status_code, invisible.data) == (404, missing.data)
    assert invisible.get_json() == {"error": "session_not_found"}
    answer = owner.post(f"/api/sessions/{session['id']}{path}", body)
    assert (answer.status_code, answer.get_json()["error"]) == error


class TestCreate:
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
    def test_takes(self, owner: ApiClient, body: Any, title: str | None) -> None:
        answer = owner.post("/api/sessions", body)
        session = answer.get_json()
        assert answer.status_code == 201
        assert list(session) == SESSION_KEYS
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", session["id"])
        assert (session["title"], session["system_prompt"]) == (title, None)
        assert TIME.fullmatch(session["created_at"])
        assert session["updated_at"] == session["created_at"]
        assert owner.get(f"/api/sessions/{session['id']}").get_json() == session | {"messages": []}

    @pytest.mark.parametrize(
        "body",
        [{"title": ""}, {"title": None}, {"title": 5}, {"title": ["x"]}, {"title": "x" * 121}, [], "x", 5, False],
    )
    def test_refuses(self, owner: ApiClient, body: Any) -> None:
        answer = owner.post("/api/sessions", body)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
        assert answer.get_json()["details"]
        assert owner.get("/api/sessions").get_json() == {"items": []}


class TestList:
    def test_has_the_callers_own_with_their_exact_keys(self, owner: ApiClient, other: ApiClient) -> None:
        mine, theirs = owner.session("mine"), other.session("theirs")
        assert owner.get("/api/sessions").get_json() == {"items": [mine]}
        assert other.get("/api/sessions").get_json() == {"items": [theirs]}
        assert [list(item) for item in owner.get("/api/sessions").get_json()["items"]] == [SESSION_KEYS]

    def test_has_the_one_that_moved_last_first(self, owner: ApiClient) -> None:
        first, second, third = (owner.session(title)["id"] for title in "abc")
        time.sleep(0.002)  # in the same millisecond it would be a tie
        owner.patch(f"/api/sessions/{first}", {"title": "moved"})
        assert [item["id"] for item in owner.get("/api/sessions").get_json()["items"]] == [first, third, second]

    def test_breaks_ties_by_the_newest_created(self, owner: ApiClient) -> None:
        with frozen_time("2026-01-31T09:30:00.000Z"):
            ids = [owner.session()["id"] for _ in range(5)]
            old = owner.imported(created_at="2020-01-01")["id"]
        assert [item["id"] for item in owner.get("/api/sessions").get_json()["items"]] == [*reversed(ids), old]

    def test_ignores_unknown_parameters(self, owner: ApiClient) -> None:
        assert owner.get("/api/sessions?colour=red&%ff=%00").get_json() == {"items": []}


class TestRename:
    @pytest.mark.parametrize(
        ("title", "kept"),
        [
            ("x", "x"),
            ("  x \n", "x"),
            ("\ufeff\u00a0x y\u2003\u3000", "x y"),
            ("\x85x\x1f", "\x85x\x1f"),  # blank to Python, not to ECMAScript's trim()
            (" " + "x" * 120 + " ", "x" * 120),
        ],
    )
    def test_takes(self, owner: ApiClient, title: str, kept: str) -> None:
        session = owner.session("before")
        answer = owner.patch(f"/api/sessions/{session['id']}", {"title": title, "id": "other"})
        renamed = answer.get_json()
        assert (answer.status_code, renamed["title"]) == (200, kept)
        assert renamed["updated_at"] > session["updated_at"]
        assert renamed == session | {"title": kept, "updated_at": renamed["updated_at"]}
        assert owner.get("/api/sessions").get_json()["items"] == [renamed]

    @pytest.mark.parametrize("body", [..., None, {}, {"title": None}, {"title": " \n"}, {"title": "x" * 121}, [], 0])
    def test_refuses(self, owner: ApiClient, body: Any) -> None:
        session = owner.session("before")
        answer = owner.patch(f"/api/sessions/{session['id']}", body)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
        assert owner.get("/api/sessions").get_json()["items"] == [session]


class TestSystemPrompt:
    @pytest.mark.parametrize(
        ("body", "kept"),
        [
            ({"system_prompt": "  as sent\n"}, "  as sent\n"),
            ({"system_prompt": "x" * 8_000}, "x" * 8_000),
            ({"system_prompt": ""}, None),
            ({"system_prompt": " \n\t\ufeff"}, None),
        ],
    )
    def test_is_set_or_cleared(self, owner: ApiClient, body: Any, kept: str | None) -> None:
        session = owner.session()
        path = f"/api/sessions/{session['id']}/system-prompt"
        before = owner.patch(path, {"system_prompt": "before"}).get_json()
        answer = owner.patch(path, body)
        assert (answer.status_code, answer.get_json()["system_prompt"]) == (200, kept)
        assert answer.get_json()["updated_at"] > before["updated_at"]
        assert owner.get("/api/sessions").get_json()["items"] == [answer.get_json()]

    @pytest.mark.parametrize(
        "body", [..., None, {}, {"system_prompt": None}, {"prompt": "x"}, {"system_prompt": "kept"}]
    )
    def test_stays(self, owner: ApiClient, body: Any) -> None:
        path = f"/api/sessions/{owner.session()['id']}/system-prompt"
        before = owner.patch(path, {"system_prompt": "kept"}).get_json()
        answer = owner.patch(path, body)
        assert (answer.status_code, answer.get_json()) == (200, before)

    @pytest.mark.parametrize(
        "body", [{"system_prompt": 5}, {"system_prompt": "x" * 8_001}, {"system_prompt": " " * 8_001}, []]
    )
    def test_refuses(self, owner: ApiClient, body: Any) -> None:
        path = f"/api/sessions/{owner.session()['id']}/system-prompt"
        before = owner.patch(path, {"system_prompt": "kept"}).get_json()
        assert owner.patch(path, body).status_code == 400
        assert owner.get("/api/sessions").get_json()["items"] == [before]


class TestMessages:
    def test_are_listed_in_the_order_written_with_their_exact_keys(self, owner: ApiClient) -> None:
        times = ["2026-03-01", "2026-01-01", "2026-02-01"]
        session = owner.imported(*(message(f"{n}", created_at=time) for n, time in enumerate(times)))
        messages = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
        assert [item["content"] for item in messages] == ["0", "1", "2"]
        assert [list(item) for item in messages] == [MESSAGE_KEYS] * 3
        assert {item["session_id"] for item in messages} == {session["id"]}
        assert [item["metadata"] for item in messages] == [{}] * 3

    @pytest.mark.parametrize("metadata", [None, {}, {"model": "m", "deep": [{"a": 2**70}]}])
    def test_are_appended(self, owner: ApiClient, metadata: Any) -> None:
        session = owner.imported(message("first"))
        body = message("second\n", role="assistant", created_at="2020-01-01", unknown=1)
        path = f"/api/sessions/{session['id']}"
        answer = owner.post(f"{path}/messages", body if metadata is None else body | {"metadata": metadata})
        added = answer.get_json()
        assert (answer.status_code, list(added)) == (201, MESSAGE_KEYS)
        assert (added["role"], added["content"], added["metadata"]) == ("assistant", "second\n", metadata or {})
        after = owner.get(path).get_json()
        assert after["messages"][1:] == [added]
        assert after["updated_at"] == added["created_at"] > session["updated_at"]

    @pytest.mark.parametrize(
        "body",
        [
            ..., None, {}, [], message(""), message("x" * 50_001), message("\0"), message(role="tool"),
            {"role": "user"}, {"content": "x"}, message(metadata=None), message(metadata=[]),
            message(metadata={"a": "\0"}),
        ],
    )  # fmt: skip
    def test_are_refused(self, owner: ApiClient, body: Any) -> None:
        session = owner.imported(message())
        before = owner.get(f"/api/sessions/{session['id']}").get_json()
        answer = owner.post(f"/api/sessions/{session['id']}/messages", body)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
        assert owner.get(f"/api/sessions/{session['id']}").get_json() == before

    def test_reading_moves_nothing(self, owner: ApiClient) -> None:
        session = owner.imported(message())
        owner.get(f"/api/sessions/{session['id']}")
        owner.get(f"/api/sessions/{session['id']}/export")
        assert owner.get("/api/sessions").get_json()["items"] == [session]


class TestDelete:
    def test_takes_messages_and_runs_with_it_in_the_database_itself(self, owner: ApiClient) -> None:
        gone, kept = (owner.imported(message(), message())["id"] for _ in range(2))
        for number, session_id in enumerate((gone, kept)):
            query_db(
                "INSERT INTO webhook_runs (id, session_id, action, status, request, started_at) "
                "VALUES (?, ?, 'page', 'running', '{}', '2026-01-01T00:00:00.000Z')",
                str(number),
                session_id,
            )
        answer = owner.delete(f"/api/sessions/{gone}")
        assert (answer.status_code, answer.data) == (204, b"")
        assert owner.get(f"/api/sessions/{gone}").status_code == 404
        assert owner.delete(f"/api/sessions/{gone}").status_code == 404
        assert query_db("SELECT session_id, COUNT(*) FROM messages GROUP BY 1") == [(kept, 2)]
        assert query_db("SELECT session_id, COUNT(*) FROM webhook_runs GROUP BY 1") == [(kept, 1)]

    def test_all_takes_the_callers_and_nobody_elses(self, owner: ApiClient, other: ApiClient) -> None:
        for _ in range(3):
            owner.imported(message())
        theirs = other.imported(message())
        answer = owner.delete("/api/sessions")
        assert (answer.status_code, answer.get_json()) == (200, {"deleted": 3})
        assert owner.delete("/api/sessions").get_json() == {"deleted": 0}
        assert owner.get("/api/sessions").get_json() == {"items": []}
        deletion.erase()
        assert query_db("SELECT DISTINCT session_id FROM messages") == [(theirs["id"],)]


@pytest.mark.parametrize(
    "session_id",
    [UNKNOWN.upper(), "x", "0", "-1", "%00", "%ff", "%F0%9F%92%A9", "..", "a" * 5_000, "%27%20OR%201=1", "{}", "null"],
)
def test_odd_ids_are_missing(owner: ApiClient, session_id: str) -> None:
    owner.session()
    for method, body in (("GET", ...), ("PATCH", {"title": "x"}), ("DELETE", ...)):
        answer = owner(method, f"/api/sessions/{session_id}", body)
        assert (answer.status_code, answer.get_json()["error"]) == (404, "session_not_found")


def test_updated_at_moves_on_when_the_clock_does_not(app: Flask, owner: ApiClient) -> None:
    session = owner.session()
    with frozen_time("2020-01-01T00:00:00.000Z"):
        moved = owner.patch(f"/api/sessions/{session['id']}", {"title": "x"}).get_json()
    assert moved["updated_at"] > session["updated_at"]
