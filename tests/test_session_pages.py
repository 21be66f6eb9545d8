"""Pages of sessions: each session once, whatever is written between two pages."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Event

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
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.pages import read_pages
from timestamps import timestamp
from web import pagination

MOMENT = "2026-01-31T09:30:00.000Z"


def test_sessions_that_move_between_pages_are_listed_once(owner: ApiClient) -> None:
    """Listed sessions move, others move before they are listed, some are deleted, some are new."""
    chosen = random.Random(7)
    existing = [owner.session(str(number))["id"] for number in range(30)]
    deleted: set[str] = set()

    def write() -> None:
        for session in chosen.sample(existing, 6):
            owner.post(f"/api/sessions/{session}/messages", message())
        owner.session("new")
        last = chosen.choice(existing)
        owner.delete(f"/api/sessions/{last}")
        deleted.add(last)

    listed = [item["id"] for item in read_pages(owner, "/api/sessions", 4, write)]
    assert len(listed) == len(set(listed))
    assert set(existing) - deleted <= set(listed) <= set(existing)


def test_pages_are_complete_while_another_thread_writes(app: Flask, owner: ApiClient) -> None:
    existing = [owner.session(str(number))["id"] for number in range(40)]
    conversation = owner.imported(*(message(str(number)) for number in range(40)))
    path = f"/api/sessions/{conversation['id']}/messages"
    done = Event()

    def write() -> int:
        writer, chosen, count = ApiClient(app.test_client(), owner.token), random.Random(3), 0
        while not done.is_set():
            writer.patch(f"/api/sessions/{chosen.choice(existing)}", {"title": str(count)})
            writer.post("/api/sessions", {})
            writer.post(path, message(str(40 + count)))
            count += 1
        db.close()
        return count

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        for _ in range(5):
            listed = [item["id"] for item in read_pages(owner, "/api/sessions", 3)]
            assert len(listed) == len(set(listed))
            assert set(existing) <= set(listed)
            contents = [item["content"] for item in read_pages(owner, path, 7)]
            assert contents == [str(number) for number in range(len(contents))]
            assert len(contents) >= 40
        done.set()
        assert written.result() > 0


class Clock:
    """A clock that the test sets, forward and back."""

    def __init__(self) -> None:
        self.milliseconds = 0

    def __call__(self) -> str:
        return timestamp(datetime(2026, 1, 31, tzinfo=UTC) + timedelta(milliseconds=self.milliseconds))


class Pager:
    """A client that reads the list page by page, and the sessions that it must get."""

    def __init__(self, existing: set[str]):
        self.existing = existing
        self.listed: list[str] = []
        self.cursor: SessionCursor | None = None
        self.done = False

    def fetch(self, user_id: str, limit: int, characters: int) -> None:
        items, self.cursor = session_pages.list_page(user_id, limit, self.cursor, characters)
        self.done = self.cursor is None
        if session_pages.MAX_MOVES_PER_PAGE > 1_000:  # else a page may be short, or empty
            assert len(items) == limit or self.done or characters < 10_000
            assert items or self.done
        order = [(item["updated_at"], item["created_at"], item["id"]) for item in items]
        assert (
            sum(after > before for before, after in pairwise(order)) <= 1
        )  # sessions that moved past the cursor, and then the list
        self.listed += [item["id"] for item in items]
        with current_app.test_request_context("/api/sessions"):
            g.user_id = user_id
            cursor = pagination.encode_cursor(self.cursor, {})
            assert len(cursor or "") <= 512
            if cursor:
                self.cursor = pagination.decode_cursor({"cursor": cursor}, SessionCursor._make)


NUMBER = st.integers(0, 50)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["append", "rename", "prompt", "delete"]), NUMBER, NUMBER),
    st.tuples(st.just("create"), NUMBER, NUMBER),
    st.tuples(st.just("pager"), NUMBER, NUMBER),
    st.tuples(st.just("page"), NUMBER, st.integers(1, 4)),
    st.tuples(st.just("page"), NUMBER, st.just(3)),
    st.tuples(st.just("clock"), st.integers(-30, 30), NUMBER),
)


def update_session(user_id: str, session_id: str, **changes: str) -> None:
    with db.write_transaction():
        sessions.update(sessions.get(user_id, session_id), **changes)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(STEPS, min_size=5, max_size=60),
    characters=st.sampled_from([1, 500, 2_000_000]),
    max_moves=st.sampled_from([1, 3, 20_000]),
)
def test_each_session_is_listed_once_whatever_is_written(
    app: Flask, steps: list[tuple[str, int, int]], characters: int, max_moves: int
) -> None:
    """Against a model: any number of pagers, moves of all kinds, and a clock that goes back and stands still."""
    clock, user_id = Clock(), new_id()
    User.insert(id=user_id, username="x", name_key=user_id, password_hash="", created_at=MOMENT).execute()
    with pytest.MonkeyPatch.context() as patch, app.app_context():
        patch.setattr(timestamps, "now", clock)
        patch.setattr(session_pages, "MAX_MOVES_PER_PAGE", max_moves)
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
                if not (pager.listed or pager.done):
                    pager.existing = set(ids)
                if not pager.done:
                    pager.fetch(user_id, other, characters)
            elif ids and what == "append":
                run_in_transaction(messages.append, user_id, ids[number % len(ids)], "user", "hello", "{}")
            elif ids and what == "rename":
                update_session(user_id, ids[number % len(ids)], title=str(other))
            elif ids and what == "prompt":
                update_session(user_id, ids[number % len(ids)], system_prompt="x" * 300)
            elif ids:
                run_in_transaction(deletion.delete_session, user_id, ids.pop(number % len(ids)))
        for pager in pagers:
            if not pager.listed:
                pager.existing = set(ids)
            while not pager.done:
                pager.fetch(user_id, 3, characters)
            assert len(pager.listed) == len(set(pager.listed))
            assert pager.existing & set(ids) <= set(pager.listed)


def test_cursor_length_does_not_grow_with_pages(owner: ApiClient) -> None:
    for _ in range(300):
        run_in_transaction(sessions.create, str(owner.user_id))
    cursor = owner.get("/api/sessions?limit=1").get_json()["next_cursor"]
    for _ in range(3):
        page = owner.get(f"/api/sessions?limit=90&cursor={cursor}").get_json()
        cursor = page["next_cursor"]
        assert len(cursor) < 300


def test_cursor_expires_after_a_day(owner: ApiClient) -> None:
    ids = [owner.session()["id"] for _ in range(3)]
    cursor = owner.get("/api/sessions?limit=1").get_json()["next_cursor"]
    path = f"/api/sessions?limit=200&cursor={cursor}"
    for session_id in ids:
        owner.patch(f"/api/sessions/{session_id}", {"title": "moved"})
    moves.delete_old()
    assert {item["id"] for item in owner.get(path).get_json()["items"]} == {*ids[:2]}
    moves.delete_old(hours=-1)
    assert [row[0] for row in query_db("SELECT seq FROM moves")] == [3]  # so that none is used twice
    response = owner.get(path)
    assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
    assert "old" in response.get_json()["details"]["cursor"][0]
    assert len(owner.get("/api/sessions?limit=200").get_json()["items"]) == 3


def test_old_moves_are_deleted_in_batches(owner: ApiClient) -> None:
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


def test_streamed_list_equals_the_list(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_sessions_that_move_while_the_list_is_streamed_are_listed_once(
    owner: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    existing = [owner.session(str(number))["id"] for number in range(30)]
    monkeypatch.setattr(documents, "MAX_WHOLE_LIST_BYTES", 1)
    monkeypatch.setattr(documents, "LIST_PAGE_SIZE", 4)
    chosen = random.Random(5)
    sent = b""
    pieces = documents.session_list(str(owner.user_id))
    assert not isinstance(pieces, bytes)
    for piece in pieces:
        sent += piece
        for session_id in chosen.sample(existing, 5):
            owner.patch(f"/api/sessions/{session_id}", {"title": "moved"})
        owner.session("new")
    listed = [item["id"] for item in json.loads(sent)["items"]]
    assert sorted(listed) == sorted(existing)
