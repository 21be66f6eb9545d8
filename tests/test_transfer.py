"""Bulk export of all sessions of a user, and what comes back when it is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database import db
from services import documents, markdown, transfer
from store import entries
from tests.helpers.client import ApiClient, message
from tests.helpers.documents import export_lines, import_items, portable_part


def test_export_can_be_imported_by_anyone(owner: ApiClient, other: ApiClient, anonymous: ApiClient) -> None:
    assert export_lines(owner) == []
    for number in range(5):
        owner.imported(*(message(f"{number}\n{at}", metadata={"a": at}) for at in range(number)), title=str(number))
    owner.imported(*(message(str(at)) for at in range(300)))
    exported = export_lines(owner)
    assert len(exported) == 6
    for document in exported:
        alone = owner.get(f"/api/sessions/{document['session']['id']}/export").get_json()
        assert alone | {"exported_at": document["exported_at"]} == document
    report = import_items(other, *exported)
    assert report["counts"]["imported"] == 6
    assert [each["line"] for each in report["sessions"]] == [1, 2, 3, 4, 5, 6]
    assert sorted(map(str, map(portable_part, export_lines(other)))) == sorted(map(str, map(portable_part, exported)))
    for client in (owner, other):  # the owner, and one who has imported it
        again = import_items(client, *exported)
        assert again["counts"] == {"imported": 0, "skipped": 6, "refused": 0}
        assert len(export_lines(client)) == 6
        ids = {each["session_id"] for each in again["sessions"]}
        assert ids == {document["session"]["id"] for document in export_lines(client)}
    assert import_items(owner, *exported, query="?duplicate=1")["counts"]["imported"] == 6
    assert len(export_lines(owner)) == 12
    assert anonymous.get("/api/export").status_code == anonymous.post("/api/import").status_code == 401


def test_session_deleted_during_export_is_left_out(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = owner.session("first"), owner.session("second")
    pieces = transfer.export_all(str(owner.user_id))
    assert second["id"] in next(pieces).decode()
    owner.delete(f"/api/sessions/{first['id']}")
    assert list(pieces) == []
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 10)
    assert [line["session"]["id"] for line in export_lines(owner)] == [second["id"]]


@pytest.mark.parametrize("pages", [0, 1, 2])
def test_session_deleted_while_it_is_sent_ends_with_an_error(
    owner: ApiClient, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 10)
    ids = [
        owner.imported(*(message(str(number)) for number in range(3 * entries.READ_PAGE_SIZE)))["id"] for _ in range(3)
    ]
    pieces = transfer.export_all(str(owner.user_id))
    sent = b"".join(next(pieces) for _ in range(1 + pages))
    owner.delete(f"/api/sessions/{ids[2]}")  # the newest comes first
    lines = (sent + b"".join(pieces)).splitlines()
    broken, *whole = map(json.loads, lines)  # each a line of JSON
    assert (broken["error"], broken["session"]["id"]) == ("session_not_found", ids[2])
    assert [(each["session"]["id"], len(each["messages"])) for each in whole] == [
        (each, 3 * entries.READ_PAGE_SIZE) for each in ids[1::-1]
    ]
    assert set(whole[0]) == {"version", "exported_at", "session", "messages"}
    report = import_items(owner, *lines, query="?duplicate=1")
    assert [each["status"] for each in report["sessions"]] == ["refused", "imported", "imported"]
    assert "broken off" in str(report["sessions"][0]["details"]["error"])
    assert owner.post("/api/sessions/import", broken).status_code == 400


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(("user", "assistant", "system")), "content": TEXT},
        optional={
            "metadata": st.dictionaries(TEXT, JSON, max_size=3),
            "created_at": st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
        },
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=TEXT | st.none(), messages=MESSAGES)
def test_export_and_import_are_lossless(
    owner: ApiClient, other: ApiClient, title: str | None, messages: list[dict[str, Any]]
) -> None:
    owner.delete("/api/sessions"), other.delete("/api/sessions")
    document = {"version": 1, "session": {"title": title}, "messages": messages}
    dry_run = owner.post("/api/sessions/import?dry_run=1", document)
    assert (dry_run.status_code, dry_run.get_json()) == (200, {"imported_messages": len(messages)})
    session = owner.post("/api/sessions/import", document).get_json()["session"]
    exported = owner.get(f"/api/sessions/{session['id']}/export").get_json()
    assert [(each["role"], each["content"], each["metadata"]) for each in exported["messages"]] == [
        (each["role"], each["content"], each.get("metadata", {})) for each in messages
    ]
    (line,) = export_lines(owner)
    assert portable_part(line) == portable_part(exported)
    import_items(other, line)
    (back,) = export_lines(other)
    assert portable_part(back) == portable_part(exported)


def read_in_new_threads(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a response, each read in a new thread, as by a pool."""

    def read_piece() -> bytes | None:
        try:
            return next(pieces, None)
        finally:
            if not db.is_closed():
                db.close()

    while (piece := ThreadPoolExecutor(1).submit(read_piece).result()) is not None:
        yield piece


def test_stream_continues_in_another_thread(owner: ApiClient) -> None:
    """A slow client's thread is released, and the next one may not have a connection to the database yet."""
    large = [owner.imported(*(message("x" * 50_000) for _ in range(60))) for _ in range(2)]
    owner.session()
    user_id = owner.get("/api/auth/me").get_json()["id"]
    assert len(b"".join(read_in_new_threads(transfer.export_all(user_id))).splitlines()) == 3
    for each in (documents.export_document, documents.session_with_messages, markdown.export):
        _, document = each(user_id, large[0]["id"])
        assert not isinstance(document, bytes)
        assert b"".join(read_in_new_threads(document)).count(b"x" * 50_000) == 60
