"""What each engine of a database does alike: times, transactions, texts and JSON that are stored byte for byte."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import peewee
import pytest
from flask import Flask

import timestamps
from database import Statement, db, param
from errors import ApiError
from ids import new_id
from models import Message, User
from tests.helpers.client import ApiClient
from tests.helpers.clock import frozen_time
from tests.helpers.database import query_db

TIMES = [
    "2026-01-01T00:00:00.000Z",
    "2026-02-28T23:59:59.998Z",
    "2026-02-28T23:59:59.999Z",
    "2028-02-28T23:59:59.999Z",
    "2026-12-31T23:59:59.999Z",
    "1969-12-31T23:59:59.999Z",
    "0999-12-31T23:59:59.999Z",
]
NOW = "2026-11-30T12:00:00.000Z"
ODD_TEXTS = [
    "a\tb",
    "a\\tb\\",
    "a\nb\r\nc",
    "\\N",
    "\\.",
    "\\x41",
    "'\"`$$%s%%?:1{}",
    "é 漢字 😀 \u2028\ufeff\x01\x7f",
    " ",
]
ODD_JSON = [
    '{"a":1.0,"b":-0.0,"c":1e400,"d":123456789012345678901234567890,"e":0.1e-7}',
    '{"z":1,"a":2,"z":3,"":{"b":[],"a":null}}',
    '{ "a" : [ 1 , 2 ] }',
    '{"a":"\\u0000\\ud83d\\ude00\\/","b":"\\\\N\\t"}',
    '{"a":"tab\\tnew line\\n %s % ? \\\\."}',
]


def on_thread(function: Callable[[], Any]) -> Any:
    """Run a function on another thread, with a connection of its own, and return its result."""
    results: list[Any] = []

    def run() -> None:
        db.ensure_connection()
        try:
            results.append(function())
        finally:
            db.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


def next_timestamp(stored: str, now: str) -> str:
    """Return the time after one that is stored, as the database computes it."""
    query_db("UPDATE users SET created_at = ?", stored)
    (found,) = query_db_expression(db.next_timestamp(User.created_at, now))
    return found


def query_db_expression(expression: Any) -> list[str]:
    return [row[0] for row in db.execute_sql(*User.select(expression).sql())]


def test_time_of_the_database_has_the_form_of_timestamps(owner: ApiClient) -> None:
    before = timestamps.timestamp_before_now(seconds=5)
    (now,) = query_db_expression(db.timestamp())
    assert timestamps._CANONICAL.fullmatch(now)
    assert before < now < timestamps.timestamp_before_now(seconds=-5)
    (earlier,) = query_db_expression(db.timestamp(-1.5))
    (later,) = query_db_expression(db.timestamp(3600))
    assert timestamps.timestamp_before(now, seconds=2) < earlier < now
    assert now < later
    assert timestamps._CANONICAL.fullmatch(earlier)
    assert timestamps._CANONICAL.fullmatch(later)


@pytest.mark.parametrize("stored", TIMES)
def test_next_time_is_that_of_timestamps(owner: ApiClient, stored: str) -> None:
    for now in (NOW, stored, timestamps.timestamp_before(stored, milliseconds=1)):
        with frozen_time(now):
            assert next_timestamp(stored, now) == timestamps.next_timestamp(stored)


def test_next_time_is_a_millisecond_later_at_every_millisecond(owner: ApiClient) -> None:
    for millisecond in range(0, 1_000, 7):
        stored = f"2026-11-30T12:00:00.{millisecond:03}Z"
        assert next_timestamp(stored, NOW) == timestamps.timestamp_before(stored, milliseconds=-1)


@pytest.mark.parametrize("index", range(len(ODD_TEXTS)))
def test_bulk_insert_keeps_texts(owner: ApiClient, index: int) -> None:
    content, session = ODD_TEXTS[index], owner.session()
    values = (new_id(), session["id"], "user", content, "{}", NOW)
    columns = ("id", "session_id", "role", "content", "metadata", "created_at")
    with db.write_transaction():
        db.bulk_insert("messages", columns, [values, (new_id(), *values[1:])])
    assert query_db("SELECT content FROM messages") == [(content,)] * 2


@pytest.mark.parametrize("metadata", ODD_JSON)
@pytest.mark.parametrize("in_bulk", [False, True])
def test_json_is_kept_byte_for_byte(owner: ApiClient, metadata: str, in_bulk: bool) -> None:
    session = owner.session()
    row = {"id": new_id(), "session_id": session["id"], "role": "user", "content": "x", "metadata": metadata}
    row |= {"created_at": NOW}
    with db.write_transaction():
        if in_bulk:
            db.bulk_insert("messages", list(row), [tuple(row.values())])
        else:
            Message.insert(row).execute()
    read = Statement(Message.select(Message.metadata).where(Message.id == param("id")))
    assert read.execute(id=row["id"]).fetchone() == (metadata,)


def test_read_transaction_is_one_snapshot(owner: ApiClient) -> None:
    count = "SELECT count(*) FROM sessions"
    with db.read_transaction():
        before = query_db(count)
        on_thread(owner.session)
        with db.read_transaction():
            assert query_db(count) == before
    assert query_db(count) == [(before[0][0] + 1,)]


def test_write_within_a_write_is_undone_alone(owner: ApiClient) -> None:
    rename = "UPDATE users SET username = ?"

    def fail() -> None:
        with db.write_transaction():
            query_db(rename, "inner")
            raise ZeroDivisionError

    with db.write_transaction():
        query_db(rename, "outer")
        with pytest.raises(ZeroDivisionError):
            fail()
        assert query_db("SELECT username FROM users") == [("outer",)]
    assert on_thread(lambda: query_db("SELECT username FROM users")) == [("outer",)]


def test_error_within_a_write_is_undone_alone(owner: ApiClient) -> None:
    with db.write_transaction():
        query_db("UPDATE users SET username = 'outer'")
        with pytest.raises(peewee.IntegrityError), db.write_transaction():
            query_db("INSERT INTO users SELECT * FROM users")
    assert query_db("SELECT username FROM users") == [("outer",)]


def test_error_undoes_the_whole_transaction(owner: ApiClient) -> None:
    def fail() -> None:
        with db.write_transaction():
            query_db("UPDATE users SET username = 'changed'")
            query_db("INSERT INTO users SELECT * FROM users")

    with pytest.raises(peewee.IntegrityError):
        fail()
    assert query_db("SELECT username FROM users") == [("owner",)]
    assert owner.post("/api/sessions").status_code == 201


def test_connection_is_released_between_transactions_alone(app: Flask) -> None:
    db.ensure_connection()
    with db.write_transaction():
        db.release_connection()
        assert not db.is_closed()
    db.release_connection()
    db.ensure_connection()
    assert query_db("SELECT 1") == [(1,)]


class TestRequirement:
    ERROR = ApiError("token_revoked")
    QUERIES = [
        "SELECT username FROM users WHERE username = 'nobody'",
        "SELECT NULL",
        "SELECT id, username AS id FROM users ORDER BY username DESC",
        "WITH numbers AS (SELECT 3 AS number UNION ALL SELECT 1 UNION ALL SELECT 2) SELECT * FROM numbers",
        "SELECT username FROM users ORDER BY username LIMIT 1",
    ]

    @staticmethod
    def require(username: str, then: Callable[[], Any]) -> Any:
        """Require that there is a user, and return what a function returns after that."""
        sql, params = User.select(User.id).where(User.username == username).sql()
        db.require(sql, params, TestRequirement.ERROR)
        return then()

    @pytest.mark.parametrize("sql", QUERIES)
    def test_query_has_the_same_rows_with_one(self, owner: ApiClient, other: ApiClient, sql: str) -> None:
        alone, joined = db.execute_sql(sql), self.require("owner", lambda: db.execute_sql(sql))
        assert [each[0] for each in joined.description] == [each[0] for each in alone.description]
        assert joined.fetchall() == alone.fetchall()

    def test_query_has_parameters_of_its_own(self, owner: ApiClient, other: ApiClient) -> None:
        query = User.select(User.username).where(User.username == "other").sql()
        assert self.require("owner", lambda: db.execute_sql(*query)).fetchall() == [("other",)]

    @pytest.mark.parametrize("sql", QUERIES)
    def test_error_comes_with_the_query_at_the_latest(self, owner: ApiClient, sql: str) -> None:
        with pytest.raises(ApiError, match="token_revoked"):
            self.require("nobody", lambda: db.execute_sql(sql))

    @pytest.mark.parametrize("begin", ["read_transaction", "write_transaction", "single_write"])
    def test_error_comes_before_a_transaction(self, owner: ApiClient, begin: str) -> None:
        with pytest.raises(ApiError, match="token_revoked"):
            self.require("nobody", lambda: getattr(db, begin)().__enter__())
        assert not db.in_transaction()
        assert not db.may_write()

    def test_error_comes_without_a_query(self, owner: ApiClient) -> None:
        with pytest.raises(ApiError, match="token_revoked"):
            self.require("nobody", db.check_requirement)
        self.require("owner", db.check_requirement)
        assert db.execute_sql("SELECT 1").fetchall() == [(1,)]
