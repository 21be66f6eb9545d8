"""Every field of a session and of its messages survives export and import, or is listed with the reason why not."""

from __future__ import annotations

import json
from typing import Any

import pytest

import models
import schemas
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db

SESSION: dict[str, Any] = {"title": "Checkout is slow", "created_at": "2020-01-31T09:30:00.000Z"}
"""A value for each column of a session, as it is stored, that is not the one of a new session."""
MESSAGE: dict[str, Any] = {
    "role": "assistant",
    "content": "The queue was full.",
    "metadata": '{"model":"m"}',
    "created_at": "2020-01-31T09:31:00.000Z",
}
"""Likewise of a message."""

SESSION_NOT_CARRIED = {
    "id": "an import has fresh ids",
    "user_id": "the importer owns it",
    "system_prompt": "by contract it is operational, and no part of the conversation",
    "updated_at": "an import is an update",
    "external_id": "it is the document's session id",
    "generation": "the importer's own",
}
MESSAGE_NOT_CARRIED = {
    "seq": "the order of the document's array is the order",
    "id": "an import has fresh ids",
    "session_id": "the imported session's",
}
TABLES_NOT_CARRIED = {
    models.WebhookRun: "by contract it is operational, and no part of the conversation",
    models.Draft: "a chat in progress becomes a message when it ends",
}

Table = type[models.BaseModel]
FIELDS = [
    (models.Session, schemas.Session, SESSION, SESSION_NOT_CARRIED),
    (models.Message, schemas.Message, MESSAGE, MESSAGE_NOT_CARRIED),
]


def column_names(table: Any) -> set[str]:
    """Return the names of a table's fields as Python and the API have them: a foreign key as its id."""
    return {
        field.object_id_name if hasattr(field, "object_id_name") else field.name for field in table._meta.sorted_fields
    }


@pytest.mark.parametrize(("table", "schema", "values", "not_carried"), FIELDS)
def test_every_field_has_a_value_or_a_reason(
    table: Table, schema: type[schemas.Schema], values: dict[str, Any], not_carried: dict[str, str]
) -> None:
    fields = column_names(table) | set(schema().fields)
    missing = fields - set(values) - set(not_carried)
    assert not missing, (
        f"{table.__name__} has the new fields {sorted(missing)}. "
        "In tests/test_round_trip.py, add a value that is not the default to "
        f"{table.__name__.upper()}, or, if it is not exported, a reason to {table.__name__.upper()}_NOT_CARRIED."
    )
    assert set(values) | set(not_carried) == fields
    assert not set(values) & set(not_carried)


def test_every_table_of_a_session_is_carried_or_has_a_reason() -> None:
    of_a_session = {table for table in models.TABLES if models.Session in table._meta.refs.values()}
    missing = of_a_session - {models.Message} - set(TABLES_NOT_CARRIED)
    assert not missing, (
        "add a value for each of its fields to tests/test_round_trip.py, or a reason to TABLES_NOT_CARRIED"
    )
    assert of_a_session == {models.Message, *TABLES_NOT_CARRIED}


def stored(table: Any, session_id: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that the row of a table has in these columns."""
    of_session = table.id == session_id if table is models.Session else table.session == session_id
    return {name: getattr(table.get(of_session), name) for name in values}


def test_every_value_survives_export_and_import(owner: ApiClient, other: ApiClient) -> None:
    session = owner.imported(message())
    for name, key, values in (("sessions", "id", SESSION), ("messages", "session_id", MESSAGE)):
        columns = ", ".join(f"{column} = ?" for column in values)
        query_db(f"UPDATE {name} SET {columns} WHERE {key} = ?", *values.values(), session["id"])

    document = owner.get(f"/api/sessions/{session['id']}/export").get_json()
    assert set(document["session"]) == {"id", "updated_at", *SESSION}, "export it: services/documents.py"
    for name, value in SESSION.items():
        assert document["session"][name] == value, f"{name} is not exported: see services/documents.py"
    for name, value in MESSAGE.items():
        expected = json.loads(value) if name in models.Message.JSON_FIELDS else value
        assert document["messages"][0][name] == expected, f"{name} is not exported: see services/documents.py"

    imported = other.post("/api/sessions/import", document).get_json()["session"]["id"]
    for table, values in ((models.Session, SESSION), (models.Message, MESSAGE)):
        default = stored(table, other.imported(message())["id"], values)
        for name, value in stored(table, imported, values).items():
            assert value == values[name], (
                f"{name} does not survive an import: add it to schemas.py and store/imports.py"
            )
            assert value != default[name], f"{name} has its default: choose another value in tests/test_round_trip.py"
