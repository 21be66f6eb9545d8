"""The export document, and that its import reads it back the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services import documents
from store import deletion, entries, imports, messages, sessions
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db, run_in_transaction

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


def exported(caller: ApiClient, session_id: str) -> dict[str, Any]:
    answer = caller.get(f"/api/sessions/{session_id}/export")
    assert answer.status_code == 200
    document: dict[str, Any] = answer.get_json()
    return document


def lasting(document: dict[str, Any]) -> dict[str, Any]:
    """What of a document survives export, import and export again."""
    session = {key: value for key, value in document["session"].items() if key not in ("id", "updated_at")}
    messages = [
        {key: value for key, value in item.items() if key not in ("id", "session_id")} for item in document["messages"]
    ]
    return {"version": document["version"], "session": session, "messages": messages}


def round_trip(caller: ApiClient, session_id: str) -> None:
    first = exported(caller, session_id)
    answer = caller.post("/api/sessions/import", first)
    assert answer.status_code == 201
    assert answer.get_json()["imported_messages"] == len(first["messages"])
    second = exported(caller, answer.get_json()["session"]["id"])
    assert lasting(second) == lasting(first)
    ids = [{document["session"]["id"], *(item["id"] for item in document["messages"])} for document in (first, second)]
    assert not ids[0] & ids[1]


def test_the_document_has_exactly_its_keys(owner: ApiClient) -> None:
    session = owner.imported(message(metadata={"model": "m"}), title="t")
    owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "not in it"})
    document = exported(owner, session["id"])
    assert list(document) == ["version", "exported_at", "session", "messages"]
    assert list(document["session"]) == ["id", "title", "created_at", "updated_at"]
    assert list(document["messages"][0]) == ["id", "session_id", "role", "content", "metadata", "created_at"]
    assert document["version"] == 1
    assert document["messages"] == owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]


@pytest.mark.parametrize("title", [None, "", " ", *(text[:120] for text in AWKWARD)])
def test_titles_survive(owner: ApiClient, title: str | None) -> None:
    round_trip(owner, owner.imported(title=title)["id"])


@pytest.mark.parametrize("text", AWKWARD)
def test_texts_survive(owner: ApiClient, text: str) -> None:
    metadata = {"text": text, text[:50]: [text, {"deep": None}]}
    session = owner.imported(message(text, metadata=metadata), message(text, role="assistant"))
    first = exported(owner, session["id"])["messages"][0]
    assert (first["content"], first["metadata"]) == (text, metadata)
    round_trip(owner, session["id"])


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
def test_numbers_in_metadata_are_kept_exactly(owner: ApiClient, value: Any) -> None:
    session = owner.imported(message(metadata={"value": value, "again": [value]}))
    kept = exported(owner, session["id"])["messages"][0]["metadata"]
    assert kept == {"value": value, "again": [value]}
    assert type(kept["value"]) is type(value)
    round_trip(owner, session["id"])


@pytest.mark.parametrize("count", [0, 1, 5_000])
def test_any_number_of_messages_survives(owner: ApiClient, count: int) -> None:
    messages = [
        message(f"message {n}", role=("user", "assistant", "system")[n % 3], created_at="2026-01-31T09:30:00Z")
        for n in range(count)
    ]
    session = owner.imported(*messages)
    document = exported(owner, session["id"])
    assert [item["content"] for item in document["messages"]] == [f"message {n}" for n in range(count)]
    round_trip(owner, session["id"])


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXT.filter(bool)},
    optional={
        "metadata": st.dictionaries(TEXT, JSON, max_size=4),
        "created_at": st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=st.none() | TEXT.map(lambda text: text[:120]), messages=st.lists(MESSAGE, max_size=5))
def test_whatever_is_imported_survives(owner: ApiClient, title: str | None, messages: list[dict[str, Any]]) -> None:
    answer = owner.post("/api/sessions/import", {"session": {"title": title}, "messages": messages})
    if answer.status_code == 400:  # a moment that is in no year of UTC's 1 to 9999
        assert {key for item in answer.get_json()["details"]["messages"].values() for key in item} == {"created_at"}
        return
    session_id = answer.get_json()["session"]["id"]
    kept = exported(owner, session_id)["messages"]
    assert [(item["role"], item["content"], item["metadata"]) for item in kept] == [
        (item["role"], item["content"], item.get("metadata", {})) for item in messages
    ]
    round_trip(owner, session_id)


@pytest.mark.parametrize(
    ("given_time", "kept"),
    [
        ("2026-01-31T09:30:00.123Z", "2026-01-31T09:30:00.123Z"),
        ("2026-01-31T09:30:00.123999Z", "2026-01-31T09:30:00.123Z"),
        ("2026-01-31T09:30:00+02:00", "2026-01-31T07:30:00.000Z"),
        ("2026-01-31T23:30:00-05:30", "2026-02-01T05:00:00.000Z"),
        ("2026-01-31T09:30", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31 09:30:00", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31t09:30:00z", "2026-01-31T09:30:00.000Z"),
        ("20260131T093000Z", "2026-01-31T09:30:00.000Z"),
        ("20260131T0930+0200", "2026-01-31T07:30:00.000Z"),
        ("2026-01-31T09:30:00,5Z", "2026-01-31T09:30:00.500Z"),
        ("2026-01-31T09:30:00,000Z", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31T09:30:00-00:00", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31T24:00:00Z", "2026-02-01T00:00:00.000Z"),
        ("2026-01-31T09", "2026-01-31T09:00:00.000Z"),
        ("2026-01-31", "2026-01-31T00:00:00.000Z"),
        ("2026-W05-6", "2026-01-31T00:00:00.000Z"),
        ("2026-031", "2026-01-31T00:00:00.000Z"),
        ("2026-01", "2026-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_in_any_form_are_normalised(owner: ApiClient, given_time: str, kept: str) -> None:
    session = owner.imported(message(created_at=given_time), created_at=given_time)
    assert session["created_at"] == kept
    assert exported(owner, session["id"])["messages"][0]["created_at"] == kept
    round_trip(owner, session["id"])


@pytest.mark.parametrize(
    "time",
    [
        None, 5, True, [], {}, "", " ", "x", "yesterday", "1769851800", "2026-02-30", "2026-13-01", "0000-01-01",
        "１９９９-01-01", "2026-01-31T", "2026-01-31T25:00", "2026-01-31T09:60", "2026-01-31T24:30", "2026-01-31_09:30",
        "2026-01-31x09:30", "2026-01-31T09:30+25:00", "0001-01-01T00:00+14:00", "9999-12-31T23:59:59-01:00",
        "2026-01-31T09:30:00Z ", "Z" * 5_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["message", "session", "updated"])
def test_other_times_are_refused(owner: ApiClient, time: Any, place: str) -> None:
    document: dict[str, Any] = {"session": {}, "messages": [message()]}
    where = document["messages"][0] if place == "message" else document["session"]
    key = "updated_at" if place == "updated" else "created_at"
    where[key] = time
    answer = owner.post("/api/sessions/import", document)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
    details = answer.get_json()["details"]
    assert list(details["messages"]["0"] if place == "message" else details["session"]) == [key]


def test_what_a_document_says_of_itself_is_not_believed(owner: ApiClient, other: ApiClient) -> None:
    document = exported(other, other.imported(message("theirs"))["id"])
    imported = owner.post("/api/sessions/import", document).get_json()["session"]
    assert imported["id"] != document["session"]["id"]
    assert imported["updated_at"] > document["session"]["updated_at"]
    assert imported["created_at"] == document["session"]["created_at"]
    assert other.get("/api/sessions").get_json()["items"][0]["id"] == document["session"]["id"]


@pytest.mark.parametrize("version", [0, 2, -1, 10**30, "1", 1.5, True, None, [], {}])
def test_another_version_is_refused(owner: ApiClient, version: Any) -> None:
    answer = owner.post("/api/sessions/import", {"version": version, "session": {}, "messages": []})
    assert answer.status_code == 400
    assert answer.get_json() == {"error": "unsupported_version", "details": {"version": ["Must be 1."]}}


GOOD = message()


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (..., "_schema"),
        (None, "_schema"),
        ([], "_schema"),
        ({}, "session"),
        ({"messages": []}, "session"),
        ({"session": {}}, "messages"),
        ({"session": None, "messages": []}, "session"),
        ({"session": [], "messages": []}, "session._schema"),
        ({"session": {}, "messages": None}, "messages"),
        ({"session": {}, "messages": {}}, "messages"),
        ({"session": {"title": 5}, "messages": []}, "session.title"),
        ({"session": {"title": "x" * 121}, "messages": []}, "session.title"),
        ({"session": {}, "messages": [None]}, "messages.0._schema"),
        ({"session": {}, "messages": [[]]}, "messages.0._schema"),
        ({"session": {}, "messages": ["x"]}, "messages.0._schema"),
        ({"session": {}, "messages": [{}]}, "messages.0.role"),
        ({"session": {}, "messages": [GOOD, GOOD, GOOD, message(role="tool")]}, "messages.3.role"),
        ({"session": {}, "messages": [GOOD | {"role": None}]}, "messages.0.role"),
        ({"session": {}, "messages": [GOOD | {"role": ["user"]}]}, "messages.0.role"),
        ({"session": {}, "messages": [GOOD | {"role": {}}]}, "messages.0.role"),
        ({"session": {}, "messages": [{"role": "user"}]}, "messages.0.content"),
        ({"session": {}, "messages": [message("")]}, "messages.0.content"),
        ({"session": {}, "messages": [message("x" * 50_001)]}, "messages.0.content"),
        ({"session": {}, "messages": [GOOD | {"content": None}]}, "messages.0.content"),
        ({"session": {}, "messages": [GOOD | {"content": 5}]}, "messages.0.content"),
        ({"session": {}, "messages": [GOOD | {"metadata": None}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": []}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": "{}"}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": 0}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": {"a": "\0"}}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": {"\0": 1}}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [GOOD | {"metadata": {"a": [{"b": ["\0"]}]}}]}, "messages.0.metadata"),
        ({"session": {}, "messages": [message("a\0b")]}, "messages.0.content"),
        ({"session": {"title": "\0"}, "messages": []}, "session.title"),
    ],
)  # fmt: skip
def test_a_refusal_says_where_and_leaves_nothing(owner: ApiClient, document: Any, path: str) -> None:
    answer = owner.post("/api/sessions/import", document)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
    details = answer.get_json()["details"]
    for key in path.split("."):
        details = details[key]
    assert isinstance(details, list)
    assert all(isinstance(problem, str) for problem in details)
    assert query_db("SELECT * FROM sessions") == query_db("SELECT * FROM messages") == []


def test_a_bad_role_is_explained(owner: ApiClient) -> None:
    answer = owner.post("/api/sessions/import", {"session": {}, "messages": [GOOD, GOOD, GOOD, message(role="tool")]})
    assert answer.get_json() == {
        "error": "validation_error",
        "details": {"messages": {"3": {"role": ["Must be one of: user, assistant, system."]}}},
    }


def test_a_document_of_nothing_but_mistakes_gets_a_short_answer(owner: ApiClient) -> None:
    answer = owner.post("/api/sessions/import", {"session": {}, "messages": [{}] * 50_000})
    assert answer.status_code == 400
    assert len(answer.data) < 5_000


@pytest.mark.parametrize("count", [3, imports.IMPORT_BATCH_SIZE * 2 + 5])
def test_an_import_that_fails_at_its_last_message_leaves_nothing(
    owner: ApiClient, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Past the checks, so that it is the database that refuses the last row.
    ids = iter([f"id {n}" for n in range(count - 1)] + ["id 1"])
    monkeypatch.setattr(messages, "new_id", lambda: next(ids))
    answer = owner.post("/api/sessions/import", {"session": {}, "messages": [GOOD] * count})
    assert answer.status_code == 500
    deletion.erase()
    assert query_db("SELECT * FROM sessions") == query_db("SELECT * FROM messages") == []


def test_a_long_conversation_is_sent_in_pages(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    session = owner.imported(*(message(f"message {n}") for n in range(2 * entries.READ_PAGE_SIZE + 1)))
    whole = [owner.get(f"/api/sessions/{session['id']}{path}").get_json() for path in ("", "/export")]
    assert [each["content"] for each in whole[0]["messages"]] == [
        f"message {n}" for n in range(2 * entries.READ_PAGE_SIZE + 1)
    ]
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 1_000)
    pages = [owner.get(f"/api/sessions/{session['id']}{path}").get_json() for path in ("", "/export")]
    whole[1].pop("exported_at"), pages[1].pop("exported_at")
    assert pages == whole


def test_a_session_deleted_while_it_is_sent_is_never_sent_as_if_whole(
    owner: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = owner.imported(*(message(f"message {n}") for n in range(entries.READ_PAGE_SIZE + 1)))
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 1_000)
    pieces = documents.export_document(sessions.get(str(owner.user_id), session["id"]))
    assert not isinstance(pieces, bytes)
    owner.delete(f"/api/sessions/{session['id']}")
    with pytest.raises(entries.DeletedDuringRead):
        list(pieces)


def test_an_import_that_was_cut_off_is_nobodys_and_swept(owner: ApiClient) -> None:
    kept = owner.imported(message())
    cut_off = owner.imported(message())
    query_db("UPDATE sessions SET user_id = NULL WHERE id = ?", cut_off["id"])
    assert owner.get("/api/sessions").get_json()["items"] == [kept]
    assert owner.get(f"/api/sessions/{cut_off['id']}").status_code == 404
    run_in_transaction(imports.delete_orphans)
    deletion.erase()
    assert query_db("SELECT id FROM sessions") == [(kept["id"],)]
    assert query_db("SELECT session_id FROM messages") == [(kept["id"],)]


@pytest.mark.parametrize("wanted", ["1", "true", "True", "yes"])
def test_a_rehearsal_writes_nothing(owner: ApiClient, wanted: str) -> None:
    document = {"version": 1, "session": {"title": "x"}, "messages": [message(), message()]}
    answer = owner.post(f"/api/sessions/import?dry_run={wanted}", document)
    assert (answer.status_code, answer.get_json()) == (200, {"imported_messages": 2})
    assert owner.get("/api/sessions").get_json() == {"items": []}
    assert owner.post("/api/sessions/import?dry_run=0", document).status_code == 201


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"version": 2},
        {"session": {}, "messages": [message(""), message(role="tool")]},
        {"session": {"title": 5}},
    ],
)
def test_a_rehearsal_refuses_what_the_import_refuses(owner: ApiClient, document: Any) -> None:
    real, rehearsed = (owner.post(f"/api/sessions/import{query}", document) for query in ("", "?dry_run=1"))
    assert (rehearsed.status_code, rehearsed.data) == (real.status_code, real.data)
    assert real.status_code == 400
    assert owner.post("/api/sessions/import?dry_run=maybe", document).status_code == 400
