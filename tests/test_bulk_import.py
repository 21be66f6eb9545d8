"""Bulk import: a report of each line, and what counts as imported already."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db
from tests.helpers.documents import DOCUMENT, NDJSON, export_lines, import_items
from tests.helpers.foreign_exports import CHATGPT


def test_each_line_is_imported_whole_or_refused(owner: ApiClient) -> None:
    bad = {"session": {}, "messages": [message(), message("", role="tool")]}
    report = import_items(
        owner, DOCUMENT, b"{", bad, b"", b"5", {"version": 2}, {"a": 1}, DOCUMENT | {"session": {}}, DOCUMENT
    )
    assert [(each["line"], each["status"], each.get("error")) for each in report["sessions"]] == [
        (1, "imported", None),
        (2, "refused", "invalid_json"),
        (3, "refused", "validation_error"),
        (5, "refused", "validation_error"),
        (6, "refused", "validation_error"),
        (7, "refused", "validation_error"),
        (8, "imported", None),
        (9, "skipped", None),
    ]
    assert set(report["sessions"][2]["details"]["messages"]["1"]) == {"role", "content"}
    assert len(export_lines(owner)) == 2
    assert import_items(owner, DOCUMENT | {"version": 2})["sessions"][0]["error"] == "unsupported_version"


@pytest.mark.parametrize("body", [b"", b"\n\n", b"[]", b"\xef\xbb\xbf"])
def test_empty_import_creates_nothing(owner: ApiClient, body: bytes) -> None:
    assert import_items(owner, body)["sessions"] in ([], [{"line": 1, "status": "refused", "error": "invalid_json"}])
    assert export_lines(owner) == []


@pytest.mark.parametrize("as_array", [True, False])
def test_first_1000_refused_items_are_listed_and_the_rest_counted(owner: ApiClient, as_array: bool) -> None:
    items = [0, {}, {"session": 5}] * 1_000 + [DOCUMENT]
    report = import_items(owner, items) if as_array else import_items(owner, *items)
    assert report["counts"] == {"imported": 1, "skipped": 0, "refused": 3_000}
    assert report["not_listed"] == 2_000
    assert [each["line"] for each in report["sessions"]] == [*range(1, 1_001), 3_001]
    assert "not_listed" not in import_items(owner, [0] * 1_000)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("many", [True, False])
def test_accepts_an_array_or_one_document(owner: ApiClient, many: bool, indent: int | None) -> None:
    item: Any = [DOCUMENT, DOCUMENT | {"session": {"id": "another"}}] if many else DOCUMENT
    report = import_items(owner, json.dumps(item, indent=indent).encode(), content_type="application/json")
    assert report["counts"]["imported"] == (2 if many else 1)


@pytest.mark.parametrize(
    ("item", "status", "summary"),
    [
        (DOCUMENT, "imported", {"title": "t", "messages": 1}),
        (DOCUMENT | {"session": {}}, "imported", {"messages": 1}),
        (CHATGPT, "imported", {"title": "A chat", "messages": 3}),
        (DOCUMENT | {"session": {"title": "x" * 500}}, "refused", {"title": "x" * 120, "messages": 1}),
        ({"session": {"title": "two"}, "messages": [{}, message()]}, "refused", {"title": "two", "messages": 2}),
        ({"session": {"title": 5}, "messages": {}}, "refused", {}),
        ({"session": ["title"]}, "refused", {}),
        ({"version": 2, "session": {"title": "of tomorrow"}}, "refused", {"title": "of tomorrow"}),
        ([], "refused", {}),
    ],
)
def test_report_names_each_conversation(owner: ApiClient, item: Any, status: str, summary: dict[str, Any]) -> None:
    for query in ("?dry_run=1", ""):
        [reported] = import_items(owner, json.dumps([item]).encode(), query=query)["sessions"]
        assert reported["status"] == status
        assert {name: reported[name] for name in ("title", "messages") if name in reported} == summary


def test_invalid_first_line_does_not_affect_the_next(owner: ApiClient) -> None:
    assert [each["status"] for each in import_items(owner, b'{"session', DOCUMENT)["sessions"]] == [
        "refused",
        "imported",
    ]


def test_rejects_wrong_types_queries_and_sizes(owner: ApiClient, app: Flask) -> None:
    assert owner.post("/api/import", data=b"{}", content_type="text/html").status_code == 415
    assert owner.post("/api/import?duplicate=maybe", data=b"{}", content_type=NDJSON).status_code == 400
    app.config["PARLEY_MAX_IMPORT_BYTES"] = 10
    assert owner.post("/api/import", data=b"{}" * 6, content_type=NDJSON).status_code == 413


@pytest.mark.parametrize("external_id", [..., None, 5, "", "x" * 256, "\0", []])
def test_conversation_without_id_is_recognized_by_its_content(owner: ApiClient, external_id: Any) -> None:
    session = {"title": "t"} if external_id is ... else {"id": external_id, "title": "t"}
    messages = [message("a", metadata={"x": 1, "y": [2]}, created_at="2026-01-31T09:30:00Z"), message("b")]
    document = {"session": session, "messages": messages}
    written_otherwise = json.dumps(
        {"messages": [message("a", metadata={"y": [2], "x": 1}, created_at="2026-01-31T10:30+01"), message("b")]}
        | {"version": 1, "session": session | {"created_at": "2026-01-31"}},
        indent=2,
    ).encode()
    others: list[Any] = [document | {"session": session | {"title": "u"}}, document | {"messages": messages[::-1]}]
    others += [document | {"messages": messages[:1]}, document | {"messages": [messages[0], message("b", "system")]}]
    assert import_items(owner, document, document)["counts"] == {"imported": 1, "skipped": 1, "refused": 0}
    assert import_items(owner, written_otherwise)["counts"]["skipped"] == 1
    assert import_items(owner, *others)["counts"]["imported"] == 4
    assert import_items(owner, document, query="?duplicate=1")["counts"]["imported"] == 1


def test_single_import_is_recognized_until_it_is_deleted(owner: ApiClient) -> None:
    session = owner.post("/api/sessions/import", DOCUMENT).get_json()["session"]
    known = {"line": 1, "status": "skipped", "title": "t", "messages": 1, "session_id": session["id"]}
    assert import_items(owner, DOCUMENT)["sessions"] == [known]
    assert owner.post("/api/sessions/import", DOCUMENT).status_code == 201  # which always imports
    owner.delete("/api/sessions")
    assert import_items(owner, DOCUMENT)["counts"]["imported"] == 1


def test_long_document_is_skipped_without_remains(owner: ApiClient) -> None:
    long = DOCUMENT | {"messages": [message(str(number)) for number in range(6_000)]}
    assert import_items(owner, long, long)["counts"] == {"imported": 1, "skipped": 1, "refused": 0}
    assert query_db("SELECT count(*) FROM messages") == [(6_000,)]
    assert query_db("SELECT count(*) FROM sessions") == [(1,)]


@pytest.mark.parametrize("query", ["", "&duplicate=1"])
def test_dry_run_reports_what_the_import_will(owner: ApiClient, query: str) -> None:
    long = DOCUMENT | {"session": {"id": "long"}, "messages": [message(str(number)) for number in range(3_000)]}
    own = json.loads(owner.get(f"/api/sessions/{owner.imported(message())['id']}/export").data)
    gpt = {"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": ["x", {"image": 1}]}}}}}
    items = [DOCUMENT, DOCUMENT, long, long, own, gpt, gpt, {"session": {}}, b"{", {}, 5, {"version": 2, "session": 1}]
    items += [DOCUMENT | {"session": {}}] * 2 + [0] * 2_000
    planned = import_items(owner, *items, query=f"?dry_run=1{query}")
    assert planned["counts"]["imported"] == (9 if query else 4)
    assert len(export_lines(owner)) == 1
    imported = import_items(owner, *items, query=f"?dry_run=0{query}")
    for report in (planned, imported):
        for each in report["sessions"]:
            each.pop("session_id", None)
    assert planned == imported
    for bad in ("2", "maybe", ""):
        response = owner.post(f"/api/import?dry_run={bad}", data=b"{}", content_type=NDJSON)
        assert (response.status_code, list(response.get_json()["details"])) == (400, ["dry_run"])
