"""Export and import preserve all of a conversation: every field that has no reason why not, and every value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import models
import schemas
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db
from tests.helpers.round_trip import check_round_trip, export_session

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


AWKWARD = [
    "plain",
    "\n",
    " \t ",
    "a\r\nb",
    "emoji 👩‍🚀 flag 🇨🇭",
    "\u0001\u001f\u007f\u0080",
    "\ud7ff\ue000\ufffd\uffff",
    "\U0010ffff",
    "e\u0301 vs \u00e9",
    '"quotes" \\backslash\\ /slash/ \\u0000',
    "</script><b>",
    "\u2028\u2029\ufeff",
    "x" * 50_000,
    "🙂" * 50_000,
    "'; DROP TABLE messages; --",
    "%s %d {} ${x}",
]


@pytest.mark.parametrize("title", [None, "", " ", *(text[:120] for text in AWKWARD)])
def test_titles_survive(owner: ApiClient, title: str | None) -> None:
    check_round_trip(owner, owner.imported(title=title)["id"])


@pytest.mark.parametrize("text", AWKWARD)
def test_texts_survive(owner: ApiClient, text: str) -> None:
    metadata = {"text": text, text[:50]: [text, {"deep": None}]}
    session = owner.imported(message(text, metadata=metadata), message(text, role="assistant"))
    first = export_session(owner, session["id"])["messages"][0]
    assert (first["content"], first["metadata"]) == (text, metadata)
    check_round_trip(owner, session["id"])


@pytest.mark.parametrize(
    "value",
    [
        2**53 + 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
        10**40,
        -(10**40),
        1e300,
        -5e-324,
        0.1,
        True,
        None,
        [],
        {},
    ],
)
def test_numbers_in_metadata_survive_exactly(owner: ApiClient, value: Any) -> None:
    session = owner.imported(message(metadata={"value": value, "again": [value]}))
    exported = export_session(owner, session["id"])["messages"][0]["metadata"]
    assert exported == {"value": value, "again": [value]}
    assert type(exported["value"]) is type(value)
    check_round_trip(owner, session["id"])


@pytest.mark.parametrize("count", [0, 1, 5_000])
def test_any_number_of_messages_survives(owner: ApiClient, count: int) -> None:
    messages = [
        message(f"message {n}", role=("user", "assistant", "system")[n % 3], created_at="2026-01-31T09:30:00Z")
        for n in range(count)
    ]
    session = owner.imported(*messages)
    document = export_session(owner, session["id"])
    assert [item["content"] for item in document["messages"]] == [f"message {n}" for n in range(count)]
    check_round_trip(owner, session["id"])


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXTS.filter(bool)},
    optional={
        "metadata": st.dictionaries(TEXTS, JSON_VALUES, max_size=4),
        "created_at": st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=st.none() | TEXTS.map(lambda text: text[:120]), messages=st.lists(MESSAGES, max_size=5))
def test_whatever_is_imported_survives(owner: ApiClient, title: str | None, messages: list[dict[str, Any]]) -> None:
    response = owner.post("/api/sessions/import", {"session": {"title": title}, "messages": messages})
    if response.status_code == 400:  # a time that is not within the years 1 to 9999 of UTC
        assert {key for item in response.get_json()["details"]["messages"].values() for key in item} == {"created_at"}
        return
    session_id = response.get_json()["session"]["id"]
    exported = export_session(owner, session_id)["messages"]
    assert [(item["role"], item["content"], item["metadata"]) for item in exported] == [
        (item["role"], item["content"], item.get("metadata", {})) for item in messages
    ]
    check_round_trip(owner, session_id)
