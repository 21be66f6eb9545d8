"""The search index on PostgreSQL: several indexers at once, beside writers, and the plans of its statements."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask

import search
from database import db
from search import postgresql
from search.batch import INDEX_BATCH_SIZE
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db
from tests.helpers.process import ROOT
from tests.helpers.search_index import assert_index_complete, find_sessions, find_titles, index_batches, stored_entries

pytestmark = pytest.mark.postgresql

INDEXER = "import sys, database, search; database.open_database(sys.argv[1]); search.update_index(60)"


@pytest.fixture
def url(app: Flask) -> str:
    return str(app.config["PARLEY_DATABASE_URL"])


@pytest.fixture
def writer(url: str) -> Iterator[Any]:
    """A connection of another process, in a transaction that ends with the test."""
    with psycopg.connect(url) as connection:
        yield connection
        connection.rollback()


@contextmanager
def running(function: Callable[[], Any]) -> Iterator[threading.Thread]:
    """Run a function in a thread with a connection of its own, and wait for its end after the block."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            db.ensure_connection()
            function()
        except BaseException as error:
            errors.append(error)
        finally:
            db.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(timeout=60)
    assert not thread.is_alive()
    assert not errors, errors


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def waiting() -> int:
    """Return how many connections wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return int(query_db(sql)[0][0])


def block_title(connection: Any, session: dict[str, Any]) -> None:
    """Hold up whoever stores the title of a session."""
    held = connection.execute("UPDATE search_titles SET terms = terms WHERE session_id = %s", (session["id"],))
    assert held.rowcount == 1


def test_later_title_counts_whoever_stores_it_first(owner: ApiClient, writer: Any) -> None:
    first, second = owner.session("old"), owner.session("old")
    assert_index_complete()
    block_title(writer, first)
    for session in (first, second):
        owner.patch(f"/api/sessions/{session['id']}", {"title": "tiger"})
    with running(lambda: search.update_index(30)):
        wait_until(lambda: waiting() == 1)  # it has read both titles
        owner.patch(f"/api/sessions/{second['id']}", {"title": "lion"})
        index_batches()
        writer.rollback()
    assert_index_complete()
    assert [item["id"] for item in find_sessions(owner, "lion")] == [second["id"]]
    assert [item["id"] for item in find_sessions(owner, "tiger")] == [first["id"]]


def test_title_removed_while_it_is_indexed_is_not_found(owner: ApiClient, writer: Any) -> None:
    first, second = owner.session("old"), owner.session("old")
    assert_index_complete()
    block_title(writer, first)
    for session in (first, second):
        owner.patch(f"/api/sessions/{session['id']}", {"title": "tiger"})
    with running(lambda: search.update_index(30)):
        wait_until(lambda: waiting() == 1)
        query_db("UPDATE sessions SET title = NULL WHERE id = ?", second["id"])
        index_batches()
        writer.rollback()
    assert_index_complete()
    assert [item["id"] for item in find_sessions(owner, "tiger")] == [first["id"]]


def test_search_waits_for_another_indexer_only_if_it_has_the_users_own_texts(
    app: Flask, owner: ApiClient, other: ApiClient, writer: Any
) -> None:
    mine, theirs = owner.session("old"), other.session("theirs")
    assert_index_complete()
    block_title(writer, mine)
    owner.patch(f"/api/sessions/{mine['id']}", {"title": "tiger"})
    owner.post(f"/api/sessions/{mine['id']}/messages", message("a zebra"))
    found: list[str] = []
    again = ApiClient(app.test_client(), owner.token)
    with running(lambda: search.update_index(30)):
        wait_until(lambda: waiting() == 1)
        other.post(f"/api/sessions/{theirs['id']}/messages", message("a zebra"))
        assert find_titles(other, "zebra") == ["theirs"]
        with running(lambda: found.extend(find_titles(again, "zebra"))):
            wait_until(lambda: waiting() == 2)
            assert found == []
            writer.rollback()
    assert found == ["tiger"]
    assert_index_complete()


def test_search_finds_the_rest_if_another_indexer_hangs(
    owner: ApiClient, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = owner.imported(message("a zebra"), title="old")
    assert_index_complete()
    block_title(writer, session)
    owner.patch(f"/api/sessions/{session['id']}", {"title": "tiger"})
    with running(lambda: search.update_index(30)):
        wait_until(lambda: waiting() == 1)
        monkeypatch.setattr(search, "INDEX_TIMEOUT", 0.1)
        assert [item["id"] for item in find_sessions(owner, "zebra")] == [session["id"]]
        assert find_sessions(owner, "tiger") == []
        writer.rollback()
    assert_index_complete()


@pytest.mark.parametrize("is_deleted", [True, False])
def test_message_that_is_being_deleted_remains_pending(owner: ApiClient, writer: Any, is_deleted: bool) -> None:
    """Whoever deletes it is not waited for, and may change their mind."""
    session = owner.imported(*(message(f"zebra {number}") for number in range(5)), title="lion")
    ((deleted,),) = query_db("SELECT id FROM messages WHERE content = 'zebra 2'")
    writer.execute("DELETE FROM messages WHERE id = %s", (deleted,))
    index_batches()
    assert len(stored_entries()) == 5
    assert query_db("SELECT last_seq - first_seq FROM search_pending") == [(0,)]
    assert [item["id"] for item in find_sessions(owner, "zebra 4")] == [session["id"]]
    (writer.commit if is_deleted else writer.rollback)()
    assert_index_complete()
    assert bool(find_sessions(owner, "zebra 2")) is not is_deleted
    assert query_db("SELECT count(*) FROM search_pending") == [(0,)]


def test_session_that_is_being_deleted_is_not_waited_for(owner: ApiClient, writer: Any) -> None:
    deleted, retained = owner.session("lion"), owner.session("lion")
    writer.execute("DELETE FROM sessions WHERE id = %s", (deleted["id"],))
    index_batches()
    assert [session_id for session_id, *_ in stored_entries()] == [retained["id"]]
    writer.commit()
    assert_index_complete()
    assert query_db("SELECT count(*) FROM search_pending") == [(0,)]


def test_import_is_one_pending_change_and_is_indexed_in_batches(owner: ApiClient) -> None:
    session = owner.imported(*(message(f"zebra {number}") for number in range(2 * INDEX_BATCH_SIZE + 5)))
    assert len(query_db("SELECT 1 FROM search_pending")) == 1
    owner.post(f"/api/sessions/{session['id']}/messages", message("one more zebra"))
    for stored in (INDEX_BATCH_SIZE, 2 * INDEX_BATCH_SIZE, 2 * INDEX_BATCH_SIZE + 6):
        index_batches()
        assert len(stored_entries()) == stored
    assert_index_complete()


def test_batch_of_long_texts_is_small(owner: ApiClient) -> None:
    owner.imported(*[message("zebra " * 5_000)] * 6)
    index_batches()
    assert len(stored_entries()) == 2
    assert_index_complete()


def test_pending_changes_of_what_is_gone_disappear(owner: ApiClient) -> None:
    session = owner.imported(*[message("zebra")] * 300, title="lion")
    index_batches()
    query_db("DELETE FROM sessions WHERE id = ?", session["id"])
    search.update_index(60)
    assert (stored_entries(), query_db("SELECT 1 FROM search_pending")) == ([], [])


def test_largest_sets_of_words_are_indexed(owner: ApiClient) -> None:
    """A tsvector has at most 1 MiB of words; the longest message is far below it, whatever it is made of."""
    distinct = "".join(chr(0x20000 + number % 40_000) + chr(0x30000 + number * 7 % 4_000) for number in range(25_000))
    wide = "".join(f"\ufdfa{chr(0x4E00 + number)}" for number in range(20_000)) + "\u3316" * 10_000
    for text in (
        distinct,
        wide,
        "\ufdfa" * 50_000,
        "".join(f"\ufdf2{chr(0x400 + number % 1_000)}" for number in range(25_000)),
    ):
        session = owner.imported(message(text))
        assert [item["id"] for item in find_sessions(owner, text[:10])] == [session["id"]]
        owner.delete("/api/sessions")
    assert_index_complete()


@pytest.mark.slow
def test_two_processes_index_each_change_once_beside_writers(owner: ApiClient, url: str) -> None:
    query_db('CREATE TABLE stored (session_id text COLLATE "C", seq bigint)')
    query_db("""
        CREATE FUNCTION note_stored() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO stored VALUES (new.session_id, new.seq); RETURN new; END $$
    """)
    query_db("""
        CREATE TRIGGER stored BEFORE INSERT ON search_messages FOR EACH ROW EXECUTE FUNCTION note_stored()
    """)
    try:
        for number in range(1_000):
            if number % 50 == 0:
                owner.imported(*[message(f"zebra {number}")] * 100, title=f"lion {number}")
            else:
                owner.session(f"lion {number}")
        sessions = [session_id for (session_id,) in query_db("SELECT id FROM sessions")]
        processes = [subprocess.Popen([sys.executable, "-c", INDEXER, url], cwd=ROOT) for _ in range(2)]
        chance = random.Random(1)
        while any(process.poll() is None for process in processes):
            path = f"/api/sessions/{chance.choice(sessions)}"
            owner.patch(path, {"title": f"tiger {chance.random()}"})
            owner.post(f"{path}/messages", message(f"zebra {chance.random()}"))
            if chance.random() < 0.1:
                assert owner.delete(path).status_code == 204
                sessions.remove(path.rpartition("/")[2])
        assert [process.returncode for process in processes] == [0, 0]
        assert_index_complete()
        assert query_db("SELECT count(*) FROM stored GROUP BY session_id, seq HAVING count(*) > 1") == []
        ((stored,),) = query_db("SELECT count(*) FROM stored")
        assert stored >= 1_000
    finally:
        query_db("DROP FUNCTION note_stored CASCADE")
        query_db("DROP TABLE stored")


@pytest.mark.slow
def test_search_finds_what_a_killed_indexer_was_at(owner: ApiClient, writer: Any, url: str) -> None:
    session = owner.session("old")
    assert_index_complete()
    block_title(writer, session)
    owner.patch(f"/api/sessions/{session['id']}", {"title": "tiger"})
    owner.imported(*[message("a zebra")] * 20, title="lion")
    process = subprocess.Popen([sys.executable, "-c", INDEXER, url], cwd=ROOT)
    try:
        wait_until(lambda: waiting() == 1)
    finally:
        process.kill()
        process.wait()
    writer.rollback()
    assert find_titles(owner, "zebra") == ["lion"]
    assert find_titles(owner, "tiger") == ["tiger"]
    assert_index_complete()


FILL = """
INSERT INTO users (id, username, name_key, password_hash, created_at)
    SELECT 'user-' || u, 'user-' || u, 'user-' || u, '', '2026-01-01T00:00:00.000Z' FROM generate_series(1, 100) u;
INSERT INTO sessions (id, user_id, title, created_at, updated_at)
    SELECT 's-' || s, 'user-' || 1 + s % 100, 'title ' || s, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z'
    FROM generate_series(1, {sessions}) s;
INSERT INTO messages (id, session_id, role, content, metadata, created_at)
    SELECT 'm-' || m, 's-' || 1 + m % {sessions}, 'user',
        'common word' || translate((m / 100 % 100)::text, '0123456789', 'abcdefghij')
            || ' rare' || translate(m::text, '0123456789', 'abcdefghij'),
        '{{}}', '2026-01-01T00:00:00.000Z'
    FROM generate_series(1, {messages}) m;
DELETE FROM search_pending;
INSERT INTO search_messages
    SELECT session_id, seq, 1, '=user' || substr(user_id, 6) || ' ' || content
    FROM messages JOIN sessions s ON s.id = session_id;
INSERT INTO search_titles
    SELECT id, row_number() OVER (), '=user' || substr(user_id, 6) || ' ' || title FROM sessions
"""
LARGE = ("sessions", "messages", "search_messages", "search_titles")


def count(column: str) -> dict[str, int]:
    query_db("SELECT pg_stat_force_next_flush()")
    return dict(query_db(f"SELECT relname, {column} FROM pg_stat_user_tables WHERE relname = ANY(?)", list(LARGE)))


@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def plan(app: Flask, request: pytest.FixtureRequest) -> Iterator[None]:
    """Have all statements planned for their values, or for any."""
    query_db(f"SET plan_cache_mode = {request.param}")
    yield
    query_db("RESET plan_cache_mode")


def fill(url: str, sessions: int, messages: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL.format(sessions=sessions, messages=messages).encode())
        connection.execute(f"VACUUM ANALYZE search_pending, {', '.join(LARGE)}".encode())


@pytest.mark.slow
@pytest.mark.parametrize(("sessions", "messages"), [(100, 300), (10_000, 30_000)])
def test_search_reads_the_texts_of_its_user_alone(plan: None, url: str, sessions: int, messages: int) -> None:
    fill(url, sessions, messages)
    for query in ("common", "wordb", "rarebjj", "r", "common rareb", "none"):
        for _ in range(2):
            before = count("idx_tup_fetch")["search_messages"]
            assert bool(search.search("user-1", query, 200)) is (query != "none")
            fetched = count("idx_tup_fetch")["search_messages"] - before
            assert fetched <= 4 * messages / 100, query  # once for each part of the search


@pytest.mark.slow
def test_no_statement_reads_a_whole_table(plan: None, url: str) -> None:
    fill(url, 10_000, 30_000)
    before = count("seq_scan")
    query_db("UPDATE sessions SET title = 'a lion' WHERE id = 's-100'")
    for _ in range(2):
        query_db("""
            INSERT INTO messages (id, session_id, role, content, metadata, created_at)
            VALUES (gen_random_uuid(), 's-100', 'user', 'a zebra', '{}', '2026-01-01T00:00:00.000Z')
        """)
        index_batches()
        query_db("INSERT INTO search_pending (session_id, first_seq, last_seq) VALUES ('s-100', 1, 1000000)")
        for query in ("zebra", "common", "z"):
            assert search.search("user-1", query, 200)
    assert count("seq_scan") == before


def test_user_with_many_texts_is_searched_by_prefix_in_the_newest_and_in_all(
    owner: ApiClient, other: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for caller in (owner, other):
        caller.imported(message("an old zebra"), title="old")
        caller.imported(*[message(f"lion {number}") for number in range(20)], title="new")
    monkeypatch.setattr(postgresql, "MAX_SCANNED", 5)
    monkeypatch.setattr(postgresql, "FETCH_SIZE", 3)
    for query, titles in (
        ("zeb", ["old"]),
        ("old zeb", ["old"]),
        ("lio", ["new"]),
        ("lion 1", ["new"]),
        ("old lio", []),
    ):
        assert find_titles(owner, query) == titles
