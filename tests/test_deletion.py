"""What is deleted is gone at once; its rows go in steps, whenever and by whomever these are taken."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from flask import Flask

import search
from database import db
from errors import ApiError
from search.batch import INDEX_BATCH_SIZE
from services import documents
from store import deletion, drafts, entries, imports, messages, sessions
from tests.helpers.client import ApiClient, add_user, message
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.search_index import index_batches

TABLES = ("sessions", "messages", "webhook_runs", "titles", "search_pending", "retries", "moves", "logins", "drafts")


def counts() -> dict[str, int]:
    return {table: query_db(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def words() -> list[str]:
    """The words that are in the search index of all."""
    query_db("CREATE VIRTUAL TABLE IF NOT EXISTS temp.words USING fts5vocab(main, search, row)")
    return [word for (word,) in query_db("SELECT term FROM temp.words")]


def long_session(caller: ApiClient, count: int, word: str = "filler") -> dict[str, Any]:
    session = caller.imported(*(message(f"{word} number{number}") for number in range(count)), title=f"{word} title")
    query_db(
        "INSERT INTO webhook_runs (id, session_id, action, status, request, started_at) "
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150) "
        "SELECT ? || i, ?, 'a', 'failed', '{}', '2026-01-01T00:00:00.000Z' FROM n",
        *(session["id"], session["id"]),
    )
    return session


def gone_one_by_one(caller: ApiClient) -> None:
    for item in caller.get("/api/sessions").get_json()["items"]:
        assert caller.delete(f"/api/sessions/{item['id']}").status_code == 204


def gone_at_once(caller: ApiClient) -> None:
    there = len(caller.get("/api/sessions").get_json()["items"])
    assert caller.delete("/api/sessions").get_json() == {"deleted": there}


def gone_with_the_user(caller: ApiClient) -> None:
    run_in_transaction(deletion.delete_user, str(caller.user_id))


@pytest.mark.parametrize("go", [gone_one_by_one, gone_at_once, gone_with_the_user])
@pytest.mark.parametrize("indexed", [0, 1_000, 10_000])
def test_all_that_hangs_on_it_goes_and_nothing_else(
    app: Flask, owner: ApiClient, other: ApiClient, go: Callable[[ApiClient], None], indexed: int
) -> None:
    """However much of it was in the search index; and what others have is found as before."""
    theirs = long_session(other, 150, "theirs")
    search.update_index(10)
    before = counts()
    for count in (0, 3, 700, imports.IMPORT_BATCH_SIZE + 5):
        long_session(owner, count)
    for _ in range(indexed // INDEX_BATCH_SIZE + 1):
        index_batches()
    owner.post("/api/sessions", {"title": "keyed"}, headers={"Idempotency-Key": "k"})
    owner.patch(f"/api/sessions/{owner.session()['id']}", {"title": "moved"})
    go(owner)
    if go is gone_with_the_user:
        assert owner.get("/api/sessions").get_json() == {"error": "token_revoked"}
    else:
        assert owner.get("/api/sessions").get_json() == {"items": []}
        assert owner.get("/api/sessions?q=filler").get_json() == {"items": []}
        assert owner.get("/api/sessions?q=title").get_json() == {"items": []}
        assert owner.get("/api/export").data == b""
    deletion.erase()
    search.update_index(10)
    kept = {"logins", "retries", "moves"} if go is not gone_with_the_user else set()
    mine_to_stay = {"logins": -1} if go is gone_with_the_user else {}
    after = counts()
    for table in TABLES:
        if table not in kept | {"search_pending"}:
            assert after[table] == before[table] + mine_to_stay.get(table, 0), table
    assert not {"filler", "keyed", "moved"} & set(words())
    assert [item["id"] for item in other.get("/api/sessions?q=theirs").get_json()["items"]] == [theirs["id"]]
    assert len(query_db("SELECT id FROM users")) == (1 if go is gone_with_the_user else 2)
    assert query_db("PRAGMA foreign_key_check") == []
    other.delete("/api/sessions")
    deletion.erase()
    search.update_index(10)
    assert words() == []


def test_what_is_deleted_is_missing_everywhere_before_its_rows_are_gone(owner: ApiClient) -> None:
    session = long_session(owner, 200)
    path = f"/api/sessions/{session['id']}"
    origin = query_db("SELECT origin FROM sessions")
    owner.delete(path)
    assert query_db("SELECT count(*) FROM sessions") == [(1,)]
    missing = {"error": "session_not_found"}
    for method, target, body in (
        ("GET", path, ...),
        ("GET", f"{path}/messages", ...),
        ("GET", f"{path}/export", ...),
        ("GET", f"{path}/export?format=markdown", ...),
        ("GET", f"{path}/webhook-runs", ...),
        ("GET", f"{path}/prompt", ...),
        ("PATCH", path, {"title": "x"}),
        ("PATCH", f"{path}/system-prompt", {"system_prompt": "x"}),
        ("POST", f"{path}/messages", message()),
        ("DELETE", path, ...),
    ):
        assert owner(method, target, body).get_json() == missing, (method, target)
    assert owner.get("/api/sessions").get_json() == owner.get("/api/sessions?q=filler").get_json() == {"items": []}
    assert owner.get("/api/export").data == b""
    assert owner.delete("/api/sessions").get_json() == {"deleted": 0}
    assert origin == query_db("SELECT origin FROM sessions")
    run_in_transaction(drafts.finish_interrupted)
    run_in_transaction(imports.delete_orphans)


def test_a_list_begins_anew_while_the_old_one_is_erased(owner: ApiClient) -> None:
    for number in range(5):
        long_session(owner, 100, f"old{number}")
    cursor = owner.get("/api/sessions?limit=2").get_json()["next_cursor"]
    assert owner.delete("/api/sessions").get_json() == {"deleted": 5}
    new = [owner.session(str(number)) for number in range(3)]
    assert owner.get("/api/sessions").get_json()["items"] == new[::-1]
    assert owner.get(f"/api/sessions?cursor={cursor}").get_json() == {"items": [], "next_cursor": None}
    assert owner.delete("/api/sessions").get_json() == {"deleted": 3}
    deletion.erase()
    assert query_db("SELECT * FROM sessions") == query_db("SELECT * FROM messages") == []


def test_an_import_that_ends_after_all_were_deleted_is_there(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not there yet, and so was not deleted; and its owner's removal refuses it."""
    rows_of = messages.to_rows
    between: list[Callable[[], Any]] = [lambda: owner.delete("/api/sessions")]

    def made(*arguments: Any) -> Any:
        if between:
            between.pop()()
        return rows_of(*arguments)

    owner.session()
    monkeypatch.setattr(messages, "to_rows", made)
    given = [message(str(number)) for number in range(imports.IMPORT_BATCH_SIZE + 1)]
    imported = owner.imported(*given)
    assert [item["id"] for item in owner.get("/api/sessions").get_json()["items"]] == [imported["id"]]
    between.append(lambda: run_in_transaction(deletion.delete_user, str(owner.user_id)))
    answer = owner.post("/api/sessions/import", {"session": {}, "messages": given})
    assert (answer.status_code, answer.get_json()) == (401, {"error": "token_revoked"})
    run_in_transaction(imports.delete_orphans)
    deletion.erase()
    assert (
        query_db("SELECT * FROM users")
        == query_db("SELECT * FROM sessions")
        == query_db("SELECT * FROM messages")
        == []
    )


@pytest.mark.parametrize("size", [1, imports.IMPORT_BATCH_SIZE + 1])
def test_nothing_is_made_for_a_user_who_is_being_removed(owner: ApiClient, size: int) -> None:
    run_in_transaction(deletion.delete_user, str(owner.user_id))
    with pytest.raises(Exception, match="NOT NULL"):
        run_in_transaction(sessions.create, str(owner.user_id))
    given = {"title": None, "created_at": None, "external_id": None}
    with pytest.raises(Exception, match="NOT NULL"):
        imports.import_session(str(owner.user_id), given, [("user", "x", "{}", None)] * size)
    deletion.erase()
    assert query_db("SELECT * FROM sessions") == query_db("SELECT * FROM messages") == []


def test_a_name_is_free_at_once(app: Flask, owner: ApiClient) -> None:
    long_session(owner, 100)
    run_in_transaction(deletion.delete_user, str(owner.user_id))
    again = add_user(app, "owner")
    assert again.get("/api/sessions").get_json() == {"items": []}
    assert owner.get("/api/auth/me").get_json() == {"error": "token_revoked"}
    session = again.session()
    deletion.erase()
    assert again.get("/api/sessions").get_json()["items"] == [session]


def test_a_reader_gets_all_or_learns_that_it_does_not(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it has been erased between two of its pages."""
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 1)
    monkeypatch.setattr(deletion, "STEP_SECONDS", 0)
    for pages in range(6):
        session = owner.imported(*(message(str(number)) for number in range(5 * entries.READ_PAGE_SIZE)))
        pieces = documents.session_with_messages(sessions.get(str(owner.user_id), session["id"]))
        assert not isinstance(pieces, bytes)
        for _ in range(pages):
            next(pieces)
        owner.delete(f"/api/sessions/{session['id']}")
        for _ in range(random.Random(pages).randrange(4)):
            with db.write_transaction():
                deletion._step(str(owner.user_id))
        with pytest.raises(entries.DeletedDuringRead):
            list(pieces)
        deletion.erase()


def test_a_chat_learns_that_its_session_is_gone(owner: ApiClient) -> None:
    for delete in (gone_one_by_one, gone_at_once, gone_with_the_user):
        session = owner.imported(*(message(str(number)) for number in range(100)))
        run_in_transaction(drafts.start, str(owner.user_id), session["id"], "question", "{}")
        delete(owner)
        assert query_db("SELECT * FROM drafts") == []
        with pytest.raises(ApiError, match="session_not_found"):
            run_in_transaction(drafts.finish, str(owner.user_id), session["id"], "answer", "{}")
        run_in_transaction(drafts.finish_interrupted)


def test_a_step_is_short(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step ends where its time is over, be it among many sessions or in a large one."""
    monkeypatch.setattr(deletion, "STEP_SECONDS", 0)
    owner.imported(*(message("x " * 20_000) for _ in range(20)))
    for _ in range(5):
        owner.imported(message())
    owner.delete("/api/sessions")
    left = []
    while True:
        with db.write_transaction():
            more = deletion._step(str(owner.user_id))
        left.append(query_db("SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM sessions)")[0])
        if left[-1] == (0, 0):
            break
        assert more
    assert len(left) > 8
    assert all(before[0] - after[0] <= 4 for before, after in pairwise(left))
