"""Deletion: sessions and users are deleted at once, their rows in steps."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import peewee
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
from tests.helpers.database_files import assert_integrity
from tests.helpers.search_index import entry_tables, index_batches, indexed_terms

TABLES = ("sessions", "messages", "webhook_runs", "search_pending", "retries", "moves", "logins", "drafts")


def row_counts() -> dict[str, int]:
    return {table: query_db(f"SELECT count(*) FROM {table}")[0][0] for table in (*TABLES, *entry_tables())}


def long_session(caller: ApiClient, count: int, word: str = "filler") -> dict[str, Any]:
    session = caller.imported(*(message(f"{word} number{number}") for number in range(count)), title=f"{word} title")
    query_db(
        "INSERT INTO webhook_runs (id, session_id, action, status, request, started_at) "
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150) "
        "SELECT ? || i, ?, 'a', 'failed', '{}', '2026-01-01T00:00:00.000Z' FROM n",
        *(session["id"], session["id"]),
    )
    return session


def delete_one_by_one(caller: ApiClient) -> None:
    for item in caller.get("/api/sessions").get_json()["items"]:
        assert caller.delete(f"/api/sessions/{item['id']}").status_code == 204


def delete_all(caller: ApiClient) -> None:
    count = len(caller.get("/api/sessions").get_json()["items"])
    assert caller.delete("/api/sessions").get_json() == {"deleted": count}


def delete_selected(caller: ApiClient) -> None:
    ids = [item["id"] for item in caller.get("/api/sessions").get_json()["items"]]
    assert caller("DELETE", "/api/sessions", {"ids": ids}).get_json() == {"deleted": len(ids)}


def delete_user(caller: ApiClient) -> None:
    run_in_transaction(deletion.delete_user, str(caller.user_id))


@pytest.mark.parametrize("delete", [delete_one_by_one, delete_selected, delete_all, delete_user])
@pytest.mark.parametrize("indexed", [0, 1_000, 10_000])
def test_erases_all_dependent_rows_and_no_others(
    owner: ApiClient, other: ApiClient, delete: Callable[[ApiClient], None], indexed: int, tmp_path: Path
) -> None:
    """However many of them were in the search index; other users' sessions are found as before."""
    theirs = long_session(other, 150, "theirs")
    search.update_index(10)
    before = row_counts()
    for count in (0, 3, 700, imports.IMPORT_BATCH_SIZE + 5):
        long_session(owner, count)
    for _ in range(indexed // INDEX_BATCH_SIZE + 1):
        index_batches()
    owner.post("/api/sessions", {"title": "keyed"}, headers={"Idempotency-Key": "k"})
    owner.patch(f"/api/sessions/{owner.session()['id']}", {"title": "moved"})
    delete(owner)
    if delete is delete_user:
        assert owner.get("/api/sessions").get_json() == {"error": "token_revoked"}
    else:
        assert owner.get("/api/sessions").get_json() == {"items": []}
        assert owner.get("/api/sessions?q=filler").get_json() == {"items": []}
        assert owner.get("/api/sessions?q=title").get_json() == {"items": []}
        assert owner.get("/api/export").data == b""
    deletion.erase()
    search.update_index(10)
    remaining = {"logins", "retries", "moves"} if delete is not delete_user else set()
    expected_change = {"logins": -1} if delete is delete_user else {}
    after = row_counts()
    for table in after:
        if table not in remaining | {"search_pending"}:
            assert after[table] == before[table] + expected_change.get(table, 0), table
    assert not {"filler", "keyed", "moved"} & indexed_terms()
    assert [item["id"] for item in other.get("/api/sessions?q=theirs").get_json()["items"]] == [theirs["id"]]
    assert len(query_db("SELECT id FROM users")) == (1 if delete is delete_user else 2)
    assert_integrity(tmp_path)
    other.delete("/api/sessions")
    deletion.erase()
    search.update_index(10)
    assert indexed_terms() == set()


def test_deleted_session_is_not_found_before_its_rows_are_erased(owner: ApiClient) -> None:
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
    drafts.finish_stale()
    run_in_transaction(imports.delete_orphans)


def test_new_sessions_are_listed_while_old_ones_are_erased(owner: ApiClient) -> None:
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


def test_import_that_finishes_after_all_sessions_were_deleted_remains(
    owner: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It did not exist yet, and so was not deleted. If its owner is removed, it is rejected."""
    rows_of = messages.to_rows
    interruptions: list[Callable[[], Any]] = [lambda: owner.delete("/api/sessions")]

    def interrupted(*arguments: Any) -> Any:
        if interruptions:
            interruptions.pop()()
        return rows_of(*arguments)

    owner.session()
    monkeypatch.setattr(messages, "to_rows", interrupted)
    given = [message(str(number)) for number in range(imports.IMPORT_BATCH_SIZE + 1)]
    imported = owner.imported(*given)
    assert [item["id"] for item in owner.get("/api/sessions").get_json()["items"]] == [imported["id"]]
    interruptions.append(lambda: run_in_transaction(deletion.delete_user, str(owner.user_id)))
    response = owner.post("/api/sessions/import", {"session": {}, "messages": given})
    assert (response.status_code, response.get_json()) == (401, {"error": "token_revoked"})
    run_in_transaction(imports.delete_orphans)
    deletion.erase()
    assert (
        query_db("SELECT * FROM users")
        == query_db("SELECT * FROM sessions")
        == query_db("SELECT * FROM messages")
        == []
    )


@pytest.mark.parametrize("size", [1, imports.IMPORT_BATCH_SIZE + 1])
def test_nothing_is_created_for_a_user_being_removed(owner: ApiClient, size: int) -> None:
    run_in_transaction(deletion.delete_user, str(owner.user_id))
    with pytest.raises(peewee.IntegrityError, match="generation"):
        run_in_transaction(sessions.create, str(owner.user_id))
    given = {"title": None, "created_at": None, "external_id": None}
    with pytest.raises(peewee.IntegrityError, match="generation"):
        imports.import_session(str(owner.user_id), given, [("user", "x", "{}", None)] * size)
    deletion.erase()
    assert query_db("SELECT * FROM sessions") == query_db("SELECT * FROM messages") == []


def test_username_is_free_before_the_rows_are_erased(app: Flask, owner: ApiClient) -> None:
    long_session(owner, 100)
    run_in_transaction(deletion.delete_user, str(owner.user_id))
    again = add_user(app, "owner")
    assert again.get("/api/sessions").get_json() == {"items": []}
    assert owner.get("/api/auth/me").get_json() == {"error": "token_revoked"}
    session = again.session()
    deletion.erase()
    assert again.get("/api/sessions").get_json()["items"] == [session]


def test_reader_of_a_deleted_session_gets_an_error(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is erased between two of its pages."""
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 1)
    monkeypatch.setattr(deletion, "STEP_SECONDS", 0)
    for pages in range(6):
        session = owner.imported(*(message(str(number)) for number in range(5 * entries.READ_PAGE_SIZE)))
        _, pieces = documents.session_with_messages(str(owner.user_id), session["id"])
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


def test_chat_in_a_deleted_session_ends_with_not_found(owner: ApiClient) -> None:
    for delete in (delete_one_by_one, delete_selected, delete_all, delete_user):
        session = owner.imported(*(message(str(number)) for number in range(100)))
        started = run_in_transaction(drafts.start, str(owner.user_id), session["id"], "question", "{}")
        delete(owner)
        assert query_db("SELECT * FROM drafts") == []
        with pytest.raises(ApiError, match="session_not_found"):
            run_in_transaction(drafts.finish, str(owner.user_id), session["id"], started, "answer", "{}")
        drafts.finish_stale()


def test_step_ends_when_its_time_is_over(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both between sessions and within a large one."""
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
