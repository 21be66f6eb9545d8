"""Statements: their values, their converters, and that each of the store's uses an index."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from typing import Any

import pytest
from flask import Flask
from peewee import BooleanField, TextField

import store
from database import Statement, UpdateThenInsert, db, param
from models import BaseModel, Message, User, WebhookRun
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db
from tests.helpers.query_plan import slow_steps


class Feature(BaseModel):
    """A table of this test's own."""

    external_name = TextField(column_name="name")
    enabled = BooleanField(default=True)


@pytest.fixture
def feature(app: Flask) -> type[Feature]:
    Feature.create_table()
    return Feature


@pytest.mark.sqlite
def test_rows_come_by_field_name_and_converted(feature: type[Feature]) -> None:
    insert = Statement(feature.insert({feature.external_name: param("name"), feature.enabled: param("enabled")}))
    with db.write_transaction():
        insert.execute(name="on", enabled=True)
        insert.execute(name="off", enabled=False)
    query = feature.select(feature.external_name, feature.enabled).order_by(feature.external_name.desc())
    expected = [{"external_name": "on", "enabled": True}, {"external_name": "off", "enabled": False}]
    assert list(Statement(query).dicts()) == expected
    one = Statement(query.where(feature.external_name == param("name")))
    assert one.get(name="off") == expected[1]
    assert one.get(name="missing") is None
    assert all(type(row["enabled"]) is bool for row in Statement(query).dicts())


def test_foreign_key_is_returned_by_the_name_of_its_id(owner: ApiClient) -> None:
    session = owner.imported(message())
    query = Message.select(Message.session).where(Message.session == param("session_id"))
    assert Statement(query).get(session_id=session["id"]) == {"session_id": session["id"]}


@pytest.mark.sqlite
def test_execute_many_adds_the_defaults_of_other_fields(feature: type[Feature]) -> None:
    with db.write_transaction():
        Statement(feature.insert({feature.external_name: param("name")})).execute_many([("a",), ("b",)])
    assert query_db("SELECT name, enabled FROM feature") == [("a", 1), ("b", 1)]


def test_writing_outside_a_transaction_raises(app: Flask) -> None:
    delete = Statement(User.delete().where(User.id == param("id")))
    with pytest.raises(RuntimeError, match="outside a transaction: DELETE"):
        delete.execute(id="x")


def statements(module: Any) -> Iterator[tuple[str, Statement]]:
    """Yield all statements of a module, also those in its dicts."""
    for name, value in vars(module).items():
        for each in value.values() if isinstance(value, dict) else (value,):
            if isinstance(each, UpdateThenInsert):
                yield from ((name, each._update), (name, each._insert))
            elif isinstance(each, Statement):
                yield name, each
    for model in (Message, WebhookRun) if module.__name__ == "store.entries" else ():
        get, *by_order = module._statements(model)
        yield from ((model.__name__, each) for each in (get, *chain.from_iterable(map(dict.values, by_order))))


# Run at start, from the command line or in the background; they scan a small table.
SCANS_ALLOWED = {
    ("users", "LIST"),
    ("users", "ANY"),
    ("webhook_runs", "INTERRUPT"),
    ("drafts", "FRESH_OF_USER"),  # of all chats in progress
    ("drafts", "STALE"),
    ("drafts", "EXPIRE"),
    ("deletion", "OWNERS_OF_DELETED"),
    ("deletion", "DRAFTS"),
}


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(statement, id=f"{module}.{name}")
        for module in (each.name for each in pkgutil.iter_modules(store.__path__))
        for name, statement in statements(importlib.import_module(f"store.{module}"))
        if (module, name) not in SCANS_ALLOWED
    ],
)
def test_statement_uses_an_index(owner: ApiClient, query: Statement) -> None:
    owner.imported(message())
    steps = slow_steps(query.sql)
    assert not steps, (
        f"This statement reads a whole table, or sorts: {steps}. Add an index in a migration and in the model, or name "
        f"the statement in SCANS_ALLOWED if it does not run in requests.\n{query.sql}"
    )


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that the app executes from now on, without those that begin and end transactions."""
    statements: list[str] = []
    real = db.obj.execute_sql

    def execute_sql(sql: str, params: Any = None) -> Any:
        statements.append(sql)
        return real(sql, params)

    monkeypatch.setattr(db.obj, "execute_sql", execute_sql)
    return statements


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """An item for each transaction that is begun from now on."""
    transactions: list[None] = []
    real = db.obj.begin

    def begin(*arguments: Any) -> None:
        transactions.append(None)
        real(*arguments)

    monkeypatch.setattr(db.obj, "begin", begin)
    return transactions


def test_a_message_is_appended_in_one_statement_where_statements_are_dear(
    owner: ApiClient, executed: list[str], begun: list[None]
) -> None:
    """Each is a round trip to PostgreSQL, and so are the beginning and the end of a transaction."""
    path = f"/api/sessions/{owner.session()['id']}/messages"
    for headers, statements, transactions in (({}, 1, 0), ({"Idempotency-Key": "a key"}, 3, 1)):
        executed.clear()
        begun.clear()
        assert owner.post(path, message(), headers=headers).status_code == 201
        check_login, *others = executed
        assert check_login.startswith("SELECT")
        is_one = db.dialect == "postgresql"
        assert len(others) == (statements if is_one else statements + 1)
        assert len(begun) == (transactions if is_one else 1)


def test_append_returns_what_is_stored(owner: ApiClient) -> None:
    session = owner.session()
    for metadata in ({}, {"a": [1.0, 10**30, "\u2028"], "b": None}):
        appended = owner.post(f"/api/sessions/{session['id']}/messages", message(metadata=metadata))
        assert appended.status_code == 201
        stored = owner.get(f"/api/sessions/{session['id']}").get_json()
        assert stored["messages"][-1] == appended.get_json()
        assert stored["updated_at"] == appended.get_json()["created_at"]


def test_a_single_write_is_of_one_statement(app: Flask) -> None:
    """On SQLite it is a transaction like any other."""
    delete = Statement(User.delete().where(User.id == param("id")))
    with db.single_write():
        delete.execute(id="x")
        with nullcontext() if db.dialect == "sqlite" else pytest.raises(RuntimeError, match="outside a transaction"):
            delete.execute(id="x")
    with pytest.raises(RuntimeError, match="outside a transaction"):
        delete.execute(id="x")
