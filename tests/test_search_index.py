"""The search index: it follows what is written, in batches, beside the writers.

Longer than other files: the cases share one oracle, which compares the index with the tables.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import database
import search
from database import db
from database.sqlite import SqliteEngine, sqlite_url
from search import batch, indexer, sqlite
from search.index import current_index
from store import imports
from tests.helpers.client import ApiClient, message
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import open_data
from tests.helpers.database import query_db
from tests.helpers.process import ServerProcess, create_user
from tests.helpers.query_plan import slow_steps
from tests.helpers.search_index import assert_index_complete, find_sessions, find_titles, index_batches, stored_entries
from tests.helpers.waits import assert_hardly_noticed, measured_waits

MOMENT = "2026-01-01T00:00:00.000Z"
LATE = "01a20000-0000-7000-8000-000000000001"


def test_index_follows_changes(app: Flask, owner: ApiClient, other: ApiClient) -> None:
    session = owner.session("lion")
    path = f"/api/sessions/{session['id']}"
    assert find_titles(owner, "lion") == ["lion"]
    owner.patch(path, {"title": "tiger"})
    assert (find_titles(owner, "lion"), find_titles(owner, "tiger")) == ([], ["tiger"])
    owner.post(f"{path}/messages", message("a zebra"))
    assert find_titles(owner, "zebra") == ["tiger"]
    query_db("UPDATE messages SET content = 'a gnu'")
    assert (find_titles(owner, "zebra"), find_titles(owner, "gnu")) == ([], ["tiger"])
    owner.patch(f"{path}/system-prompt", {"system_prompt": "giraffe"})
    assert find_titles(owner, "giraffe") == []
    assert_index_complete()
    owner.imported(message("unseen"), title="never indexed")
    owner.delete(path)
    assert (find_titles(owner, "gnu"), find_titles(owner, "tiger")) == ([], [])
    assert_index_complete()
    other.imported(message("a zebra"), title="theirs")
    owner.imported(message("a zebra"), title="mine")
    search.update_index(10)
    assert find_titles(owner, "mine") == find_titles(owner, "zebra") == ["mine"]
    assert owner.delete("/api/sessions").get_json() == {"deleted": 2}  # with the one that was not indexed
    assert find_titles(owner, "mine") == find_titles(owner, "zebra") == []
    assert_index_complete()
    assert find_titles(other, "zebra") == ["theirs"]
    assert app.test_cli_runner().invoke(args=["users", "remove", "other", "--yes"]).exit_code == 0
    assert_index_complete()
    assert stored_entries() == []


def test_reused_seq_is_indexed_again(owner: ApiClient) -> None:
    """A new message has the seq of a deleted one."""
    for _ in range(3):
        session = owner.imported(message("zebra"), message("zebra"))
        assert len(find_sessions(owner, "zebra")) == 1
        owner.delete(f"/api/sessions/{session['id']}")
        again = owner.session()
        owner.post(f"/api/sessions/{again['id']}/messages", message("zebra, and longer"))
        assert len(find_sessions(owner, "zebra")) == 1
        assert_index_complete()
        owner.delete("/api/sessions")
        assert_index_complete()


@pytest.mark.sqlite
def test_long_import_is_indexed_once_it_has_an_owner(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "IMPORT_BATCH_SIZE", 100)
    real = SqliteEngine.write_transaction

    def write_transaction(self: Any, durable: bool = True) -> Any:
        if not durable and query_db("SELECT count(*) FROM messages") == [(200,)]:
            monkeypatch.setattr(SqliteEngine, "write_transaction", real)
            search.update_index(10)  # in the middle of it
        return real(self, durable)

    monkeypatch.setattr(SqliteEngine, "write_transaction", write_transaction)
    session = owner.imported(*(message(f"zebra {number}") for number in range(450)), title="long")
    assert query_db("SELECT what FROM search_pending ORDER BY 1") == [("messages",), ("title",)]
    while query_db("SELECT done FROM search_pending WHERE what = 'messages'") == [(0,)]:
        index_batches()
    owner.post(f"/api/sessions/{session['id']}/messages", message("one more zebra"))
    assert find_titles(owner, "zebra") == ["long"]
    assert_index_complete()
    another = owner.imported(*(message(f"zebra {number}") for number in range(450)))
    index_batches()
    index_batches()
    owner.delete(f"/api/sessions/{another['id']}")  # half of it indexed
    assert_index_complete()


def test_session_is_indexed_once_it_has_an_owner(owner: ApiClient) -> None:
    """Its texts were passed over before, and some of them are indexed when more are added, or all are deleted."""
    query_db(
        "INSERT INTO sessions (id, title, created_at, updated_at) VALUES (?, 'lion', ?, ?)",
        LATE, MOMENT, MOMENT,
    )  # fmt: skip
    for number in range(300):
        query_db(
            "INSERT INTO messages (id, session_id, role, content, metadata, created_at) "
            "VALUES (?, ?, 'user', ?, '{}', ?)",
            str(number), LATE, f"zebra {number}", MOMENT,
        )  # fmt: skip
    search.update_index(10)
    assert stored_entries() == []
    query_db("UPDATE sessions SET user_id = ? WHERE id = ?", owner.user_id, LATE)
    index_batches()
    assert 0 < len(stored_entries()) < 300
    owner.post(f"/api/sessions/{LATE}/messages", message("one more zebra"))
    for query in ("zebra 7", "one more zebra", "lion"):
        assert find_titles(owner, query) == ["lion"]
    assert_index_complete()
    query_db("UPDATE sessions SET user_id = NULL")
    query_db("UPDATE sessions SET user_id = ?", owner.user_id)
    index_batches()
    query_db("DELETE FROM sessions")
    assert_index_complete()
    assert stored_entries() == []


@pytest.mark.sqlite
def test_backup_contains_the_index(app: Flask, owner: ApiClient, tmp_path: Path) -> None:
    for number in range(5):
        owner.imported(message(f"zebra {number}"), title=f"lion {number}")
    owner.delete(f"/api/sessions/{find_sessions(owner, 'lion')[0]['id']}")
    assert app.test_cli_runner().invoke(args=["backup", str(tmp_path / "copy.db")]).exit_code == 0
    db.close()
    database.open_database(sqlite_url(tmp_path / "copy.db"))
    assert_index_complete()
    assert len(find_sessions(owner, "zebra")) == len(find_sessions(owner, "lion")) == 4


def test_session_without_owner_is_not_found(owner: ApiClient, other: ApiClient) -> None:
    """Nobody finds it from then on, and nothing of it stays."""
    session = owner.imported(*(message(f"zebra {number}") for number in range(20)), title="lion")
    remaining = owner.imported(message("zebra"), title="other")
    search.update_index(10)
    query_db("UPDATE sessions SET user_id = NULL WHERE id = ?", session["id"])
    assert (find_titles(owner, "zebra"), find_titles(owner, "lion")) == (["other"], [])
    query_db("DELETE FROM messages WHERE session_id = ? AND seq % 3 = 0", session["id"])
    assert find_titles(owner, "zebra") == ["other"]
    query_db("DELETE FROM sessions WHERE user_id IS NULL")
    assert_index_complete()
    query_db("UPDATE sessions SET user_id = ? WHERE id = ?", other.user_id, remaining["id"])
    assert (find_titles(owner, "zebra"), find_titles(other, "zebra"), find_titles(other, "other")) == (
        [],
        ["other"],
        ["other"],
    )
    assert_index_complete()


@pytest.mark.sqlite
def test_index_follows_changes_made_while_it_reads(
    owner: ApiClient, other: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are read and split outside the transaction that stores them: others write in between."""
    chance = random.Random(1)
    monkeypatch.setattr(sqlite, "INDEX_BATCH_SIZE", 7)
    monkeypatch.setattr(imports, "IMPORT_BATCH_SIZE", 10)
    read = sqlite._read

    def act() -> None:
        caller = chance.choice((owner, other))
        sessions = caller.get("/api/sessions").get_json()["items"]
        path = f"/api/sessions/{chance.choice(sessions)['id']}" if sessions else ""
        kind = chance.randrange(6)
        if kind == 0 or not sessions:
            caller.imported(*[message("zebra 北京")] * chance.choice((1, 5, 25)), title=chance.choice(("", "lion")))
        elif kind == 1:
            caller.delete(path)
        elif kind == 2:
            caller.patch(path, {"title": f"tiger {chance.random()}"})
        elif kind == 3:
            newest = query_db("SELECT session_id FROM messages ORDER BY seq DESC LIMIT 1")
            query_db("DELETE FROM sessions WHERE id = ?", newest[0][0] if newest else "")
        else:
            caller.post(f"{path}/messages", message(f"zebra {chance.random()}"))

    def reading(*values: Any) -> Any:
        found = read(*values)
        for _ in range(chance.choice((0, 0, 1, 2))):
            act()
        return found

    for _ in range(12):
        monkeypatch.setattr(sqlite, "_read", reading)
        for _ in range(12):
            act()
            if chance.random() < 0.7:
                index_batches()
        monkeypatch.setattr(sqlite, "_read", read)
        assert_index_complete()


@pytest.mark.sqlite
def test_corrupt_index_affects_only_search(owner: ApiClient) -> None:
    session = owner.imported(message("a zebra"), title="lion")
    deleted = owner.imported(message("a zebra"))
    assert len(find_sessions(owner, "zebra")) == 2
    query_db("UPDATE search_data SET block = x'00112233445566778899'")
    db.close()
    db.connect()
    path = f"/api/sessions/{session['id']}"
    assert owner.post(f"{path}/messages", message("a zebra")).status_code == 201
    assert owner.patch(path, {"title": "tiger"}).status_code == 200
    assert owner.delete(f"/api/sessions/{deleted['id']}").status_code == 204
    owner.imported(message("a zebra"))
    search.update_index(1)
    response = owner.get("/api/sessions?q=zebra")
    assert (response.status_code, response.get_json()["error"]) == (503, "database_unavailable")
    assert owner.get(path).get_json()["title"] == "tiger"
    assert owner.delete("/api/sessions").get_json() == {"deleted": 2}


@pytest.mark.sqlite
def test_migration_rebuilds_an_index_of_words(app: Flask, tmp_path: Path) -> None:
    """A database from before, with texts that were indexed and such that were not, one without an owner."""
    db.close()
    old = tmp_path / "old"
    shutil.copytree(
        database.MIGRATIONS / "sqlite", old / "migrations", ignore=shutil.ignore_patterns("__*", "000[789]_*", "001*")
    )
    path = old / "parley.db"
    path.touch()
    before = SqliteEngine(path)
    db.initialize(before)
    before.connect()
    database.migrate(before, old / "migrations")
    moment = "2026-01-01T00:00:00.000Z"
    query_db("INSERT INTO users VALUES ('u-1', 'owner', 'owner', '', ?)", moment)
    for session, user in (("a", "u-1"), ("b", None), ("c", "u-1")):
        query_db("INSERT INTO sessions (id, user_id, title, created_at, updated_at) VALUES (?, ?, 'lion', ?, ?)",
             session, user, moment, moment)  # fmt: skip
        query_db("INSERT INTO messages (id, session_id, role, content, metadata, created_at) "
             "VALUES (?, ?, 'user', '我在北京 deploy🚀', '{}', ?)", session, session, moment)  # fmt: skip
    query_db("INSERT INTO search (rowid, owner, text) SELECT seq, 'u1', content FROM messages WHERE session_id = 'a'")
    query_db("UPDATE search_progress SET seq = 1")
    before.close()
    database.open_database(sqlite_url(path))
    assert_index_complete()
    for query in ("北京", "deploy", "🚀", "lion"):
        assert {item["id"] for item in search.search("u-1", query, 20)} == {"a", "c"}
    query_db("UPDATE sessions SET user_id = 'u-1' WHERE id = 'b'")
    assert {item["id"] for item in search.search("u-1", "京", 20)} == {"a", "b", "c"}
    query_db("DELETE FROM users")
    assert_index_complete()
    assert query_db("SELECT count(*) FROM search") == [(0,)]


@pytest.mark.sqlite
def test_statements_use_an_index(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for tables of one row, and the deleted rows, of which a LIMIT says how many are read."""
    session = owner.imported(message("a zebra"), title="lion")
    execute_sql: Any = SqliteEngine.execute_sql
    statements: dict[str, Any] = {}

    def record(self: SqliteEngine, sql: str, params: Any = None) -> Any:
        statements.setdefault(sql, params)
        return execute_sql(self, sql, params)

    monkeypatch.setattr(SqliteEngine, "execute_sql", record)
    query_db("UPDATE sessions SET user_id = NULL")
    query_db("UPDATE sessions SET user_id = ?", owner.user_id)
    search.search(str(owner.user_id), "zebra li", 20)
    query_db("DELETE FROM sessions WHERE id = ?", session["id"])
    search.update_index(10)
    monkeypatch.undo()
    slow = {step for sql in statements if sql.lstrip().startswith("SELECT") for step in slow_steps(sql)}
    assert slow == {"SCAN search_progress", "SCAN search_deleted"}


@pytest.mark.sqlite
def test_background_round_indexes_every_kind_of_change(owner: ApiClient) -> None:
    """None waits for another one: a few rows of each are indexed, however many rounds bring some of another."""
    deleted = owner.imported(message("a zebra"))
    session = owner.session("lion")
    assert_index_complete()
    owner.delete(f"/api/sessions/{deleted['id']}")
    ownerless = owner.imported(message("a zebra"))
    for user_id in (None, owner.user_id):
        query_db("UPDATE sessions SET user_id = ? WHERE id = ?", user_id, ownerless["id"])
    owner.post(f"/api/sessions/{session['id']}/messages", message("a zebra"))
    assert len(sqlite.pending_batches(1, None)) == 4
    search.update_index(60, background=True)
    assert sqlite.pending_batches(1, None) == []
    assert_index_complete()


def test_background_round_leaves_less_than_a_batch_and_the_next_one_takes_it(
    owner: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "PAUSE_FRACTION", 0)
    size = batch.INDEX_BATCH_SIZE
    owner.imported(*(message(f"zebra {number}") for number in range(2 * size + 5)))
    search.update_index(60, background=True)
    assert len(stored_entries()) == 2 * size
    search.update_index(60, background=True)
    assert len(stored_entries()) == 2 * size + 5
    assert_index_complete()


def test_search_finds_what_the_background_has_left(owner: ApiClient) -> None:
    owner.imported(*[message("lion")] * batch.INDEX_BATCH_SIZE, message("a zebra"), title="new")
    search.update_index(60, background=True)
    assert len(current_index().pending_batches(1, None)) == 1
    assert find_titles(owner, "zebra") == ["new"]


@pytest.mark.sqlite
def test_deletions_come_first_with_any_other_batch(owner: ApiClient) -> None:
    """Messages that have the numbers of deleted ones cannot be indexed before."""
    session = owner.imported(*[message("lion")] * 3)
    assert_index_complete()
    owner.delete(f"/api/sessions/{session['id']}")
    owner.imported(*[message("zebra")] * batch.INDEX_BATCH_SIZE)
    rounds = 0
    while batches := sqlite.pending_batches(batch.INDEX_BATCH_SIZE, None):
        for index_batch in batches:
            index_batch(10)
        rounds += 1
        assert rounds < 5
    assert_index_complete()
    assert len(find_sessions(owner, "zebra")) == 1


@pytest.mark.slow
def test_indexing_long_texts_leaves_others_served_and_survives_a_kill(tmp_path: Path) -> None:
    """One user imports and searches texts that take long to split; another is served; the process is killed."""
    data = tmp_path / "data"
    mine, theirs = (create_user(data, name) for name in ("alice", "bob"))
    chance = random.Random(1)
    han = "".join(chr(0x4E00 + chance.randrange(5_000)) for _ in range(25_000)) + " zebra 北京 " + "word " * 4_000

    def load(server: ServerProcess) -> None:
        document = {"version": 1, "session": {"title": "long"}, "messages": [message(han)] * 5}
        for _ in range(30):
            assert server.request("POST", "/api/sessions/import", document, mine)[0] == 201
        while len(server.request("GET", "/api/sessions?q=zebra&limit=200", token=mine)[1]["items"]) < 30:
            pass

    with ServerProcess(data) as server:
        session = server.request("POST", "/api/sessions", token=theirs)[1]["id"]
        loader = threading.Thread(target=load, args=(server,))
        loader.start()
        path = f"/api/sessions/{session}"
        with measured_waits(server, theirs, ("GET", path, None), ("POST", f"{path}/messages", message())) as waits:
            loader.join()
        assert_hardly_noticed(waits)
        assert server.request("DELETE", "/api/sessions", token=mine)[1] == {"deleted": 30}
        document = {"version": 1, "session": {}, "messages": [message("a lion")] * 20_000}
        assert server.request("POST", "/api/sessions/import", document, mine)[0] == 201
        time.sleep(0.6)
        server.process.kill()
    with ServerProcess(data) as server:
        wait_until(lambda: server.request("GET", "/api/sessions?q=lion", token=mine)[1]["items"], "it is indexed")
        assert server.request("GET", "/api/sessions?q=zebra", token=mine)[1]["items"] == []
        assert server.stop() == 0
    with open_data(data):
        assert_index_complete()
