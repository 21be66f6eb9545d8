"""PostgreSQL as an engine: URLs, checks at the start, errors by their codes, connections that are lost."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest
from flask import Flask

import database
from app import create_app
from config import StartupError
from database import create_engine, db, prepare
from database.libpq import Connection
from models import Message
from store import entries
from tests.helpers import engine
from tests.helpers.client import ApiClient, error_of, message
from tests.helpers.database import query_db
from tests.helpers.postgresql import PostgresqlServer

pytestmark = pytest.mark.postgresql

PASSWORD = "a-short-secret"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a database that is empty but for its tables."""
    assert engine.server
    return engine.server.create(str(tmp_path / "own"))


@pytest.fixture
def own(url: str) -> Iterator[Any]:
    """An engine beside that of the app."""
    own: Any = create_engine(url, {"PARLEY_THREADS": 1})
    own.connect()
    yield own
    own.close_connections()


def write_and_lose(own: Any, *statements: str) -> None:
    """Run statements in a transaction, after the connection was ended within it."""
    with own.write_transaction():
        own.execute_sql("CREATE TABLE lost ()")
        terminate(own)
        for statement in statements:
            own.execute_sql(statement)


def terminate(own: Any) -> None:
    """End the connection of this thread, and those of the pool, at the server."""
    assert engine.server
    (name,) = own.execute_sql("SELECT current_database()").fetchone()
    engine.server.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'")


# URLs ---------------------------------------------------------------------------------------


def test_postgres_is_another_name_of_the_scheme(url: str) -> None:
    assert url.startswith("postgresql://")
    engine = create_engine(url.replace("postgresql://", "postgres://", 1))
    prepare(engine)
    engine.close_connections()


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://parley:{PASSWORD}@127.0.0.1/parley",
        f"postgresql:parley:{PASSWORD}@127.0.0.1/parley",
        f"postgresql://parley:{PASSWORD}@[::1/parley",
        f"postgresql://127.0.0.1/parley?no_such_option={PASSWORD}",
        f"postgresql://parley:{PASSWORD}%@127.0.0.1/parley",
        f"postgresql://parley:1/{PASSWORD}@127.0.0.1/parley",
        f"postgresql://parley:1@{PASSWORD}@127.0.0.1/parley",
        f"postgresql://parley@127.0.0.1/parley@{PASSWORD}",
    ],
)
def test_wrong_url_is_named_and_not_printed(url: str) -> None:
    with pytest.raises(StartupError, match="PARLEY_DATABASE_URL: ") as raised:
        create_engine(url)
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://parley:{PASSWORD}@127.0.0.1:1/parley",
        f"postgresql://127.0.0.1:1/parley?user=parley&password={PASSWORD}",
        f"postgresql://127.0.0.1:70000/parley?password={PASSWORD}",
    ],
)
def test_server_that_is_not_there_is_named_without_the_password(url: str) -> None:
    engine = create_engine(url)
    assert PASSWORD not in engine.location
    with pytest.raises(StartupError, match=r"127\.0\.0\.1") as raised:
        prepare(engine)
    assert PASSWORD not in str(raised.value)
    assert "cannot be used" in str(raised.value)


@pytest.mark.slow
def test_wrong_password_is_named_and_not_printed(tmp_path: Path) -> None:
    with PostgresqlServer(tmp_path / "data", password="the right one") as server:
        right = create_engine(server.url())
        prepare(right)
        right.close_connections()
        wrong = create_engine(server.url().replace("the%20right%20one", PASSWORD))
        with pytest.raises(StartupError, match="password authentication failed") as raised:
            prepare(wrong)
        assert PASSWORD not in str(raised.value)
        missing = create_engine(server.url("missing"))
        with pytest.raises(StartupError, match='database "missing" does not exist'):
            prepare(missing)


def test_missing_driver_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in [name for name in sys.modules if name.startswith("database.")]:
        if name in ("database.postgresql", "database.pool", "database.libpq"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(database, "postgresql")
    with pytest.raises(StartupError, match=r"pip install -r requirements-postgresql\.txt"):
        create_engine(url)


def test_secret_is_required(settings: dict[str, Any]) -> None:
    with pytest.raises(StartupError, match="PARLEY_JWT_SECRET_KEY: required with PostgreSQL"):
        create_app({name: value for name, value in settings.items() if name != "PARLEY_JWT_SECRET_KEY"})
    db.close_connections()


# Checks -------------------------------------------------------------------------------------


def test_collations_are_checked(own: Any) -> None:
    prepare(own)
    own.execute_sql('ALTER TABLE sessions ALTER COLUMN origin TYPE text COLLATE "default"')
    with pytest.raises(StartupError, match=r'COLLATE "C".*: sessions\.origin\.$'):
        prepare(own)


def test_version_is_checked(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from database import postgresql

    monkeypatch.setattr(postgresql, "MIN_VERSION", 1_000)
    with pytest.raises(StartupError, match="PostgreSQL 1000 or newer is needed"):
        prepare(own)


def test_encoding_is_checked(tmp_path: Path) -> None:
    assert engine.server
    name = engine.server._name("an encoding")
    engine.server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    engine.server._created.add(name)
    own = create_engine(engine.server.url_of(name))
    with pytest.raises(StartupError, match="has the encoding SQL_ASCII: create it with UTF8"):
        prepare(own)
    own.close_connections()


# Errors -------------------------------------------------------------------------------------

CODES = {
    "53100": "disk_full",
    "53200": "database_busy",
    "53300": "database_busy",
    "55P03": "database_busy",
    "57014": "database_busy",
    "40001": "database_busy",
    "40P01": "database_busy",
    "25006": "database_unavailable",
    "57P01": "database_unavailable",
    "57P02": "database_unavailable",
    "57P03": "database_unavailable",
    "08006": "database_unavailable",
    "28P01": "database_unavailable",
    "3D000": "database_unavailable",
    "58030": "database_unavailable",
    "XX001": "database_unavailable",
    "23503": "token_revoked",
    "23502": "token_revoked",
    "XX000": "internal_error",
    "23514": "internal_error",
    "23505": "internal_error",
    "25P02": "internal_error",
    "42P01": "internal_error",
    "22P02": "internal_error",
}


@pytest.mark.parametrize("sqlstate", CODES)
def test_error_of_the_server_has_its_code(app: Flask, sqlstate: str) -> None:
    sql = f"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{sqlstate}'; END $$"
    with pytest.raises(peewee.PeeweeException) as raised, db.write_transaction():
        query_db(sql)
    assert database.error_code(raised.value) == CODES[sqlstate]
    db.ensure_connection()
    assert query_db("SELECT 1") == [(1,)]


def test_conflict_is_of_the_constraints_whose_values_clients_choose(owner: ApiClient) -> None:
    session = owner.session()
    owner.post("/api/sessions", {}, headers={"Idempotency-Key": "a key"})
    owner.post(f"/api/sessions/{session['id']}/messages", {"role": "user", "content": "x"})
    for table, code in {"retries": "conflict", "messages": "internal_error", "users": "internal_error"}.items():
        with pytest.raises(peewee.IntegrityError) as raised:
            query_db(f"INSERT INTO {table} SELECT * FROM {table}")
        assert database.error_code(raised.value) == code


def test_errors_have_no_values_of_rows(owner: ApiClient) -> None:
    """PostgreSQL adds those as details, and errors are logged."""
    secret = "a message of somebody"
    session = owner.session()
    row = ("id", session["id"], "nobody", secret, "{}", "2026-11-30T12:00:00.000Z")
    columns = ("id", "session_id", "role", "content", "metadata", "created_at")
    insert = f"INSERT INTO messages ({', '.join(columns)}) VALUES (?, ?, ?, ?, ?, ?)"
    errors = []
    for write in (
        lambda: query_db(insert, *row),
        lambda: db.bulk_insert("messages", columns, [row]),
        lambda: db.bulk_insert("messages", columns, [(*row[:4], secret, row[5])]),
        lambda: query_db("SELECT CAST(CAST(? AS text) AS json)", f"{{{secret}"),
    ):
        with pytest.raises(peewee.PeeweeException) as raised, db.write_transaction():
            write()
        errors.append(raised.value)
    for error in errors:
        link: BaseException | None = error
        while link:
            assert secret not in str(link)
            assert secret not in repr(link)
            link = link.__cause__ or link.__context__


# Connections --------------------------------------------------------------------------------


def test_connection_lost_in_a_transaction_leaves_the_thread_usable(own: Any) -> None:
    for _ in range(own._pool.size + 2):  # none of them is missing from the pool
        with pytest.raises(peewee.PeeweeException) as raised:
            write_and_lose(own, "SELECT 1")
        assert own.error_code(raised.value) == "database_unavailable"
        assert not own.in_transaction()
        own.ensure_connection()
        assert own.execute_sql("SELECT 1").fetchone() == (1,)


def test_connection_lost_before_a_commit_leaves_the_thread_usable(own: Any) -> None:
    with pytest.raises(peewee.PeeweeException) as raised:
        write_and_lose(own)
    assert own.error_code(raised.value) == "database_unavailable"
    own.ensure_connection()
    assert "lost" not in own.get_tables()


def test_connection_lost_in_a_savepoint_leaves_the_thread_usable(own: Any) -> None:
    with pytest.raises(peewee.PeeweeException) as raised, own.write_transaction():
        write_and_lose(own, "SELECT 1")
    assert own.error_code(raised.value) == "database_unavailable"
    own.ensure_connection()
    assert own.execute_sql("SELECT 1").fetchone() == (1,)


def test_read_and_beginning_are_repeated_on_a_new_connection(own: Any) -> None:
    terminate(own)
    assert own.execute_sql("SELECT 1").fetchone() == (1,)
    terminate(own)
    with own.write_transaction():
        assert own.execute_sql("SELECT 1").fetchone() == (1,)
    terminate(own)
    with own.read_transaction():
        assert own.execute_sql("SELECT 1").fetchone() == (1,)


def test_read_is_repeated_with_what_it_requires(own: Any) -> None:
    terminate(own)
    own.require("SELECT 1", [], LookupError())
    assert own.execute_sql("SELECT 2").fetchall() == [(2,)]
    terminate(own)
    own.require("SELECT 1 WHERE FALSE", [], LookupError())
    with pytest.raises(LookupError):
        own.execute_sql("SELECT 2")


def test_requirement_that_is_not_met_cannot_be_ignored(own: Any) -> None:
    own.require("SELECT 1 WHERE FALSE", [], LookupError())
    for read in (lambda: own.execute_sql("SELECT 2"), lambda: own.execute_sql("SELECT 3"), own.check_requirement):
        with pytest.raises(LookupError):
            read()
    assert own.execute_sql("SELECT 2").fetchall() == [(2,)]  # of the next request


def test_requirement_outlives_errors_of_the_database(own: Any) -> None:
    own.require("SELECT 1 WHERE 1 / 0 = 1", [], LookupError())
    for attempt in (lambda: own.execute_sql("SELECT 2"), own.begin, lambda: own.execute_sql("SELECT 3")):
        with pytest.raises(peewee.PeeweeException, match="division by zero"):
            attempt()
    own.drop_requirement()
    assert own.execute_sql("SELECT 2").fetchall() == [(2,)]


class TestReads:
    PATHS = ["", "?limit=5", "/{id}", "/{id}/messages?limit=5", "/{id}/export"]

    @pytest.fixture
    def executed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Statements that were executed."""
        executed, run = [], Connection.run

        def count(connection: Connection, sql: str, params: Any = ()) -> Any:
            executed.append(sql)
            return run(connection, sql, params)

        monkeypatch.setattr(Connection, "run", count)
        return executed

    @pytest.mark.parametrize("path", PATHS)
    def test_wait_once_for_the_database(self, owner: ApiClient, executed: list[str], path: str) -> None:
        session = owner.imported(message(), message())
        executed.clear()
        assert owner.get(f"/api/sessions{path.format(id=session['id'])}").status_code == 200
        assert len(executed) == 1, executed

    @pytest.mark.parametrize("path", [*PATHS, "?q=x", "/{id}?messages=false"])
    def test_that_fail_do_not_wait_again(
        self, owner: ApiClient, executed: list[str], monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        session, run = owner.session(), Connection.run

        def cancel(*arguments: Any) -> Any:
            run(*arguments)
            raise psycopg.errors.QueryCanceled

        monkeypatch.setattr(Connection, "run", cancel)
        executed.clear()
        response = owner.get(f"/api/sessions{path.format(id=session['id'])}")
        assert error_of(response) == (503, "database_busy")
        assert len(executed) == 1, executed

    @pytest.mark.parametrize("is_active", [True, False])
    def test_search_without_an_update_is_for_those_who_are_logged_in(
        self, owner: ApiClient, monkeypatch: pytest.MonkeyPatch, is_active: bool
    ) -> None:
        owner.imported(message("hello"))
        assert len(owner.get("/api/sessions?q=hello").get_json()["items"]) == 1
        run = Connection.run

        def cancel_update(connection: Connection, sql: str, params: Any = ()) -> Any:
            if "search_pending" in sql:
                raise psycopg.errors.QueryCanceled
            return run(connection, sql, params)

        monkeypatch.setattr(Connection, "run", cancel_update)
        if not is_active:
            owner.post("/api/auth/logout")
        response = owner.get("/api/sessions?q=hello")
        if is_active:
            assert len(response.get_json()["items"]) == 1
        else:
            assert error_of(response) == (401, "token_revoked")


def test_write_is_not_repeated(own: Any) -> None:
    """It may have been done."""
    own.execute_sql("CREATE TABLE numbers (number int)")
    terminate(own)
    with pytest.raises(peewee.PeeweeException), own.single_write():
        own.execute_sql("INSERT INTO numbers VALUES (1)")
    own.ensure_connection()
    assert own.execute_sql("SELECT * FROM numbers").fetchall() == []


def test_connection_that_may_only_read_is_closed(own: Any) -> None:
    def backend() -> Any:
        return own.execute_sql("SELECT pg_backend_pid()").fetchone()

    own.execute_sql("CREATE TABLE numbers (number int)")
    before = backend()
    own.execute_sql("SET default_transaction_read_only = on")
    with pytest.raises(peewee.PeeweeException) as raised, own.write_transaction():
        own.execute_sql("INSERT INTO numbers VALUES (1)")
    assert own.error_code(raised.value) == "database_unavailable"
    own.ensure_connection()
    assert backend() != before
    with own.write_transaction():
        own.execute_sql("INSERT INTO numbers VALUES (1)")


def test_no_lost_connection_is_taken_from_the_pool(own: Any) -> None:
    barrier = threading.Barrier(6)

    def use() -> None:
        own.ensure_connection()
        own.execute_sql("SELECT 1")
        barrier.wait()
        own.close()

    threads = [threading.Thread(target=use) for _ in range(5)]
    for thread in threads:
        thread.start()
    barrier.wait()
    for thread in threads:
        thread.join()
    assert len(own._pool._idle) == 5
    terminate(own)
    own.close()
    for _ in range(6):
        own.connect()
        assert own.connection().run("SELECT 1").ntuples == 1
        own.close()


def test_pool_has_a_limit(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from database import pool

    monkeypatch.setattr(pool, "POOL_TIMEOUT", 0.05)
    others = [own._pool.take() for _ in range(own._pool.size - 1)]
    errors: list[Exception] = []

    def connect() -> None:
        try:
            own.connect()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    assert [own.error_code(error) for error in errors] == ["database_busy"]
    for connection in others:
        own._pool.give_back(connection)
    assert own.execute_sql("SELECT 1").fetchone() == (1,)


def test_connection_with_an_open_transaction_does_not_return_to_the_pool(own: Any) -> None:
    connection = own.connection()
    connection.run("BEGIN")
    own.close()
    assert connection.closed
    own.connect()
    assert own.execute_sql("SELECT 1").fetchone() == (1,)


def test_session_imported_just_now_is_read_page_by_page(owner: ApiClient) -> None:
    """With a plan that takes it for an empty one, each page would read all of it."""
    owner.imported(*map(message, "abc"))
    db.execute_sql("ANALYZE")
    session = owner.imported(*(message(str(number)) for number in range(2_000)))
    first, last = query_db("SELECT min(seq), max(seq) FROM messages WHERE session_id = ?", session["id"])[0]
    with db.read_transaction():
        page = entries.read_more(Message, session["id"], first, last)
        fetched = query_db("SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'messages'")[0][0]
    assert 0 < len(json.loads(b"[%s]" % page.items)) <= fetched < 300
