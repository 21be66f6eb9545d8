"""Lists in pages: all of it, once, whatever others write meanwhile."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Event
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask, current_app, g
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import timestamps
from database import db
from ids import new_id
from models import User
from services import documents
from store import deletion, messages, moves, session_pages, sessions
from store.session_pages import SessionCursor
from tests.helpers.client import ApiClient, message
from tests.helpers.clock import frozen_time
from tests.helpers.database import query_db, run_in_transaction
from timestamps import timestamp
from web import pagination

MOMENT = "2026-01-31T09:30:00.000Z"


def pages(caller: ApiClient, path: str, limit: int, between: Any = lambda: None) -> list[dict[str, Any]]:
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
def test_all_pages_are_the_list(owner: ApiClient, other: ApiClient, limit: int) -> None:
    other.session("not mine")
    with frozen_time(MOMENT):  # ties
        sessions = [owner.session(str(number)) for number in range(4)]
    sessions += [owner.session(str(number)) for number in range(3)]
    owner.patch(f"/api/sessions/{sessions[1]['id']}", {"title": "moved"})
    assert pages(owner, "/api/sessions", limit) == owner.get("/api/sessions").get_json()["items"]

    contents = [message(str(number), metadata={"n": number}) for number in range(7)]
    session = owner.imported(*contents)
    path = f"/api/sessions/{session['id']}"
    assert pages(owner, f"{path}/messages", limit) == owner.get(path).get_json()["messages"]


def test_an_empty_list(owner: ApiClient) -> None:
    nothing: dict[str, Any] = {"items": [], "next_cursor": None}
    assert owner.get("/api/sessions?limit=5").get_json() == nothing
    assert owner.get(f"/api/sessions/{owner.session()['id']}/messages").get_json() == nothing


def test_without_a_limit(owner: ApiClient) -> None:
    session = owner.imported(*(message(str(number)) for number in range(60)))
    first = owner.get(f"/api/sessions/{session['id']}/messages").get_json()
    assert len(first["items"]) == 50
    path = f"/api/sessions/{session['id']}/messages?cursor={first['next_cursor']}"
    assert [item["content"] for item in owner.get(path).get_json()["items"]] == [str(n) for n in range(50, 60)]
    assert set(owner.get("/api/sessions").get_json()) == {"items"}  # as ever


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "", "1e2", str(2**70), "1_0", "%2B5", "%205", "５"])
def test_a_limit_that_is_none(owner: ApiClient, limit: str) -> None:
    session = owner.session()
    for path in ("/api/sessions", f"/api/sessions/{session['id']}/messages", "/api/sessions/nothing/messages"):
        answer = owner.get(f"{path}?limit={limit}")
        assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
        assert set(answer.get_json()["details"]) == {"limit"}


def test_a_cursor_is_good_for_its_list_and_its_user_alone(owner: ApiClient, other: ApiClient) -> None:
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


def test_what_moves_between_two_pages_comes_once(owner: ApiClient) -> None:
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


def test_while_another_thread_writes(app: Flask, owner: ApiClient) -> None:
    there = [owner.session(str(number))["id"] for number in range(40)]
    conversation = owner.imported(*(message(str(number)) for number in range(40)))
    path = f"/api/sessions/{conversation['id']}/messages"
    done = Event()

    def write() -> int:
        writer, chosen, count = ApiClient(app.test_client(), owner.token), random.Random(3), 0
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
        assert written.result() > 0


class Clock:
    """A clock that the test sets, forwards and back."""

    def __init__(self) -> None:
        self.milliseconds = 0

    def __call__(self) -> str:
        return timestamp(datetime(2026, 1, 31, tzinfo=UTC) + timedelta(milliseconds=self.milliseconds))


class Pager:
    """A client that goes through the list, and what it has to get."""

    def __init__(self, there: set[str]):
        self.there = there
        self.came: list[str] = []
        self.place: SessionCursor | None = None
        self.done = False

    def fetch(self, user_id: str, limit: int, characters: int) -> None:
        items, self.place = session_pages.list_page(user_id, limit, self.place, characters)
        self.done = self.place is None
        assert len(items) == limit or self.done or characters < 10_000
        assert items or self.done
        order = [(item["updated_at"], item["created_at"], item["id"]) for item in items]
        assert sum(after > before for before, after in pairwise(order)) <= 1  # what has passed, and then the list
        self.came += [item["id"] for item in items]
        with current_app.test_request_context("/api/sessions"):
            g.user_id = user_id
            cursor = pagination.encode_cursor(self.place)
            assert len(cursor or "") <= 512
            if cursor:
                self.place = pagination.decode_cursor({"cursor": cursor}, SessionCursor._make)


NUMBER = st.integers(0, 50)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["append", "rename", "prompt", "delete"]), NUMBER, NUMBER),
    st.tuples(st.just("create"), NUMBER, NUMBER),
    st.tuples(st.just("pager"), NUMBER, NUMBER),
    st.tuples(st.just("page"), NUMBER, st.integers(1, 4)),
    st.tuples(st.just("page"), NUMBER, st.just(3)),
    st.tuples(st.just("clock"), st.integers(-30, 30), NUMBER),
)


def update(user_id: str, session_id: str, **changes: str) -> None:
    with db.write_transaction():
        sessions.update(sessions.get(user_id, session_id), **changes)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=5, max_size=60), characters=st.sampled_from([1, 500, 2_000_000]))
def test_whatever_is_written_between_pages_all_comes_once(
    app: Flask, steps: list[tuple[str, int, int]], characters: int
) -> None:
    """Against a model: any number of pagers, moves of all kinds, and a clock that goes back and stands still."""
    clock, user_id = Clock(), new_id()
    User.insert(id=user_id, username="x", name_key=user_id, password_hash="", created_at=MOMENT).execute()
    with pytest.MonkeyPatch.context() as patch, app.app_context():
        patch.setattr(timestamps, "now", clock)
        ids = [run_in_transaction(sessions.create, user_id)["id"] for _ in range(6)]
        pagers = [Pager(set(ids))]
        for what, number, other in steps:
            if what == "create":
                ids.append(run_in_transaction(sessions.create, user_id, title="new")["id"])
            elif what == "clock":
                clock.milliseconds += number
            elif what == "pager":
                pagers.append(Pager(set(ids)))
                pagers[-1].fetch(user_id, 1 + other % 3, characters)
            elif what == "page":
                pager = pagers[number % len(pagers)]
                if not (pager.came or pager.done):
                    pager.there = set(ids)
                if not pager.done:
                    pager.fetch(user_id, other, characters)
            elif ids and what == "append":
                run_in_transaction(messages.append, user_id, ids[number % len(ids)], "user", "hello", "{}")
            elif ids and what == "rename":
                update(user_id, ids[number % len(ids)], title=str(other))
            elif ids and what == "prompt":
                update(user_id, ids[number % len(ids)], system_prompt="x" * 300)
            elif ids:
                run_in_transaction(deletion.delete_session, ids.pop(number % len(ids)))
        for pager in pagers:
            if not pager.came:
                pager.there = set(ids)
            while not pager.done:
                pager.fetch(user_id, 3, characters)
            assert len(pager.came) == len(set(pager.came))
            assert pager.there & set(ids) <= set(pager.came)


def test_a_cursor_is_short_however_much_has_come(owner: ApiClient) -> None:
    for _ in range(300):
        run_in_transaction(sessions.create, str(owner.user_id))
    cursor = owner.get("/api/sessions?limit=1").get_json()["next_cursor"]
    for _ in range(3):
        page = owner.get(f"/api/sessions?limit=90&cursor={cursor}").get_json()
        cursor = page["next_cursor"]
        assert len(cursor) < 300


def test_a_cursor_is_good_for_a_day(owner: ApiClient) -> None:
    ids = [owner.session()["id"] for _ in range(3)]
    cursor = owner.get("/api/sessions?limit=1").get_json()["next_cursor"]
    path = f"/api/sessions?limit=200&cursor={cursor}"
    for session_id in ids:
        owner.patch(f"/api/sessions/{session_id}", {"title": "moved"})
    moves.delete_old()
    assert {item["id"] for item in owner.get(path).get_json()["items"]} == {*ids[:2]}
    moves.delete_old(hours=-1)
    assert [row[0] for row in query_db("SELECT seq FROM moves")] == [3]  # so that none is used twice
    answer = owner.get(path)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
    assert "old" in answer.get_json()["details"]["cursor"][0]
    assert len(owner.get("/api/sessions?limit=200").get_json()["items"]) == 3


def test_moves_are_forgotten_in_steps(owner: ApiClient) -> None:
    session = owner.session()["id"]
    old, new = "2026-01-01T00:00:00.000Z", timestamps.now()
    for count, moment in ((700, old), (5, new)):
        for _ in range(count):
            query_db(
                "INSERT INTO moves SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ? FROM moves",
                *(owner.user_id, session, old, moment),
            )
    moves.delete_old()
    assert query_db("SELECT min(seq), count(*) FROM moves") == [(701, 5)]


def test_a_cursor_of_an_earlier_version_is_refused(owner: ApiClient) -> None:
    with owner.client.application.test_request_context("/api/sessions"):
        g.user_id = owner.user_id
        cursor = pagination.encode_cursor((["2026-01-31T09:30:00.000Z", MOMENT, "x"], "y", [1, 2]))
    assert owner.get(f"/api/sessions?cursor={cursor}").status_code == 400


def test_a_long_list_is_sent_in_pages_and_is_the_same(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        session = owner.session(f'{number} \x01\x7f\u2028"\\é🚀\n')
        owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": f"{number} \x1f" * 100})
    whole = owner.get("/api/sessions")
    monkeypatch.setattr(documents, "MAX_WHOLE_LIST_BYTES", 1_000)
    monkeypatch.setattr(documents, "LIST_PAGE_CHARACTERS", 1_000)
    pieces = documents.session_list(str(owner.user_id))
    assert not isinstance(pieces, bytes)
    streamed = list(pieces)
    assert len(streamed) > 5
    assert b"".join(streamed) + b"\n" == whole.data
    assert owner.get("/api/sessions").data == whole.data


def test_what_moves_while_the_list_is_sent_comes_once(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    there = [owner.session(str(number))["id"] for number in range(30)]
    monkeypatch.setattr(documents, "MAX_WHOLE_LIST_BYTES", 1)
    monkeypatch.setattr(documents, "LIST_PAGE_SIZE", 4)
    chosen = random.Random(5)
    sent = b""
    pieces = documents.session_list(str(owner.user_id))
    assert not isinstance(pieces, bytes)
    for piece in pieces:
        sent += piece
        for session_id in chosen.sample(there, 5):
            owner.patch(f"/api/sessions/{session_id}", {"title": "moved"})
        owner.session("new")
    came = [item["id"] for item in json.loads(sent)["items"]]
    assert sorted(came) == sorted(there)
