"""Lists in pages: all of it, once, whatever others write meanwhile."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from database import db
from tests.conftest import Caller, frozen, message

MOMENT = "2026-01-31T09:30:00.000Z"


def pages(caller: Caller, path: str, limit: int, between: Any = lambda: None) -> list[dict[str, Any]]:
    """Return the items of all pages, held against the limit."""
    items: list[dict[str, Any]] = []
    answer = caller.get(f"{path}?limit={limit}").get_json()
    while True:
        assert set(answer) == {"items", "next_cursor"}
        items += answer["items"]
        if answer["next_cursor"] is None:
            return items
        assert len(answer["items"]) == limit
        between()
        answer = caller.get(f"{path}?limit={limit}&cursor={quote(answer['next_cursor'])}").get_json()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 200])
def test_all_pages_are_the_list(owner: Caller, other: Caller, limit: int) -> None:
    other.session("not mine")
    with frozen(MOMENT):  # ties
        sessions = [owner.session(str(number)) for number in range(4)]
    sessions += [owner.session(str(number)) for number in range(3)]
    owner.patch(f"/api/sessions/{sessions[1]['id']}", {"title": "moved"})
    assert pages(owner, "/api/sessions", limit) == owner.get("/api/sessions").get_json()["items"]

    contents = [message(str(number), metadata={"n": number}) for number in range(7)]
    session = owner.imported(*contents)
    path = f"/api/sessions/{session['id']}"
    assert pages(owner, f"{path}/messages", limit) == owner.get(path).get_json()["messages"]


def test_an_empty_list(owner: Caller) -> None:
    nothing: dict[str, Any] = {"items": [], "next_cursor": None}
    assert owner.get("/api/sessions?limit=5").get_json() == nothing
    assert owner.get(f"/api/sessions/{owner.session()['id']}/messages").get_json() == nothing


def test_without_a_limit(owner: Caller) -> None:
    session = owner.imported(*(message(str(number)) for number in range(60)))
    first = owner.get(f"/api/sessions/{session['id']}/messages").get_json()
    assert len(first["items"]) == 50
    path = f"/api/sessions/{session['id']}/messages?cursor={first['next_cursor']}"
    assert [item["content"] for item in owner.get(path).get_json()["items"]] == [str(n) for n in range(50, 60)]
    assert set(owner.get("/api/sessions").get_json()) == {"items"}  # as ever


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "", "1e2", str(2**70)])
def test_a_limit_that_is_none(owner: Caller, limit: str) -> None:
    session = owner.session()
    for path in ("/api/sessions", f"/api/sessions/{session['id']}/messages", "/api/sessions/nothing/messages"):
        answer = owner.get(f"{path}?limit={limit}")
        assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
        assert set(answer.get_json()["details"]) == {"limit"}


def test_a_cursor_is_good_for_its_list_and_its_user_alone(owner: Caller, other: Caller) -> None:
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
        answer = owner.get(target)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error"), target
        assert set(answer.get_json()["details"]) == {"cursor"}
    assert other.get(f"/api/sessions?cursor={sessions}").status_code == 400
    assert other.get(f"{path}?limit=1").get_json() == {"error": "session_not_found"}


def test_what_moves_between_two_pages_comes_once(owner: Caller) -> None:
    """Sessions that have come move, sessions that have yet to come move, some go, some are new."""
    chosen = random.Random(7)
    there = [owner.session(str(number))["id"] for number in range(30)]
    gone: set[str] = set()

    def between() -> None:
        for session in chosen.sample(there, 6):
            owner.post(f"/api/sessions/{session}/messages", message())
        owner.session("new")
        last = chosen.choice(there)
        owner.delete(f"/api/sessions/{last}")
        gone.add(last)

    came = [item["id"] for item in pages(owner, "/api/sessions", 4, between)]
    assert len(came) == len(set(came))
    assert set(there) - gone <= set(came) <= set(there)


def test_while_another_thread_writes(app: Flask, owner: Caller) -> None:
    there = [owner.session(str(number))["id"] for number in range(40)]
    conversation = owner.imported(*(message(str(number)) for number in range(40)))
    path = f"/api/sessions/{conversation['id']}/messages"
    done = Event()

    def write() -> int:
        writer, chosen, count = Caller(app.test_client(), owner.token), random.Random(3), 0
        while not done.is_set():
            writer.patch(f"/api/sessions/{chosen.choice(there)}", {"title": str(count)})
            writer.post("/api/sessions", {})
            writer.post(path, message(str(40 + count)))
            count += 1
        db.close()
        return count

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        for _ in range(5):
            came = [item["id"] for item in pages(owner, "/api/sessions", 3)]
            assert len(came) == len(set(came))
            assert set(there) <= set(came)
            contents = [item["content"] for item in pages(owner, path, 7)]
            assert contents == [str(number) for number in range(len(contents))]
            assert len(contents) >= 40
        done.set()
        assert written.result() > 5
