"""Everything out and in again, and in from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services import documents, transfer
from tests.conftest import Caller, message, rows

LINES = "application/x-ndjson"
DOCUMENT = {"version": 1, "session": {"id": "elsewhere-1", "title": "t"}, "messages": [message("hello")]}


def lines(caller: Caller) -> list[dict[str, Any]]:
    answer = caller.get("/api/export")
    assert (answer.status_code, answer.mimetype) == (200, LINES)
    return [json.loads(line) for line in answer.data.splitlines()]


def send(caller: Caller, *items: Any, query: str = "", kind: str = LINES) -> dict[str, Any]:
    body = b"\n".join(item if isinstance(item, bytes) else json.dumps(item).encode() for item in items)
    answer = caller.post(f"/api/import{query}", data=body, content_type=kind)
    assert answer.status_code == 200, answer.data
    report: dict[str, Any] = answer.get_json()
    statuses = [each["status"] for each in report["sessions"]]
    assert report["counts"] == {status: statuses.count(status) for status in ("imported", "skipped", "refused")}
    return report


def said(document: dict[str, Any]) -> Any:
    """What of a document must come back the same."""
    session = {key: document["session"][key] for key in ("title", "created_at")}
    keys = ("role", "content", "metadata", "created_at")
    return session, [{key: each[key] for key in keys} for each in document["messages"]]


def conversation(caller: Caller, report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = caller.get(f"/api/sessions/{report['session_id']}").get_json()
    return found


def test_everything_goes_out_and_comes_in_again(owner: Caller, other: Caller, nobody: Caller) -> None:
    assert lines(owner) == []
    for number in range(5):
        owner.imported(*(message(f"{number}\n{at}", metadata={"a": at}) for at in range(number)), title=str(number))
    owner.imported(*(message(str(at)) for at in range(300)))
    out = lines(owner)
    assert len(out) == 6
    for document in out:
        exported = owner.get(f"/api/sessions/{document['session']['id']}/export").get_json()
        assert exported | {"exported_at": document["exported_at"]} == document
    report = send(other, *out)
    assert report["counts"]["imported"] == 6
    assert [each["line"] for each in report["sessions"]] == [1, 2, 3, 4, 5, 6]
    assert sorted(map(str, map(said, lines(other)))) == sorted(map(str, map(said, out)))
    for caller in (owner, other):  # what one owns, and what one has imported
        again = send(caller, *out)
        assert again["counts"] == {"imported": 0, "skipped": 6, "refused": 0}
        assert len(lines(caller)) == 6
        ids = {each["session_id"] for each in again["sessions"]}
        assert ids == {document["session"]["id"] for document in lines(caller)}
    assert send(owner, *out, query="?duplicate=1")["counts"]["imported"] == 6
    assert len(lines(owner)) == 12
    assert nobody.get("/api/export").status_code == nobody.post("/api/import").status_code == 401


def test_each_line_is_all_or_nothing(owner: Caller) -> None:
    bad = {"session": {}, "messages": [message(), message("", role="tool")]}
    report = send(owner, DOCUMENT, b"{", bad, b"", b"5", {"version": 2}, {"a": 1}, DOCUMENT | {"session": {}}, DOCUMENT)
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
    assert len(lines(owner)) == 2
    assert send(owner, DOCUMENT | {"version": 2})["sessions"][0]["error"] == "unsupported_version"


@pytest.mark.parametrize("body", [b"", b"\n\n", b"[]", b"\xef\xbb\xbf"])
def test_nothing_is_nothing(owner: Caller, body: bytes) -> None:
    assert send(owner, body)["sessions"] in ([], [{"line": 1, "status": "refused", "error": "invalid_json"}])
    assert lines(owner) == []


def test_of_junk_not_all_is_told(owner: Caller) -> None:
    report = send(owner, [0] * 5_000 + [DOCUMENT])
    assert report["counts"] == {"imported": 0, "skipped": 0, "refused": 1_001}
    assert "not looked at" in str(report["sessions"][-1]["details"])


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("many", [True, False])
def test_an_array_or_one_document(owner: Caller, many: bool, indent: int | None) -> None:
    item: Any = [DOCUMENT, DOCUMENT | {"session": {"id": "another"}}] if many else DOCUMENT
    report = send(owner, json.dumps(item, indent=indent).encode(), kind="application/json")
    assert report["counts"]["imported"] == (2 if many else 1)


def test_a_broken_line_at_the_beginning_costs_that_line(owner: Caller) -> None:
    assert [each["status"] for each in send(owner, b'{"session', DOCUMENT)["sessions"]] == ["refused", "imported"]


def test_what_is_not_taken(owner: Caller, app: Flask) -> None:
    assert owner.post("/api/import", data=b"{}", content_type="text/html").status_code == 415
    assert owner.post("/api/import?duplicate=maybe", data=b"{}", content_type=LINES).status_code == 400
    app.config["PARLEY_MAX_IMPORT_BYTES"] = 10
    assert owner.post("/api/import", data=b"{}" * 6, content_type=LINES).status_code == 413


@pytest.mark.parametrize("origin", [None, 5, "", "x" * 256, "\0", []])
def test_an_origin_that_is_none_is_always_imported(owner: Caller, origin: Any) -> None:
    document = DOCUMENT | {"session": {"id": origin}}
    assert send(owner, document, document)["counts"]["imported"] == 2


def test_what_was_imported_alone_is_known_too_until_it_is_deleted(owner: Caller) -> None:
    session = owner.post("/api/sessions/import", DOCUMENT).get_json()["session"]
    assert send(owner, DOCUMENT)["sessions"] == [{"line": 1, "status": "skipped", "session_id": session["id"]}]
    assert owner.post("/api/sessions/import", DOCUMENT).status_code == 201  # which always imports
    owner.delete("/api/sessions")
    assert send(owner, DOCUMENT)["counts"]["imported"] == 1


def test_long_ones_are_given_whole_or_not_at_all(owner: Caller) -> None:
    long = DOCUMENT | {"messages": [message(str(number)) for number in range(6_000)]}
    assert send(owner, long, long)["counts"] == {"imported": 1, "skipped": 1, "refused": 0}
    assert rows("SELECT count(*) FROM messages") == [(6_000,)]
    assert rows("SELECT count(*) FROM sessions") == [(1,)]


def test_one_that_is_deleted_meanwhile_is_left_out(owner: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = owner.session("first"), owner.session("second")
    pieces = transfer.export_all(str(owner.user_id))
    assert second["id"] in next(pieces).decode()
    owner.delete(f"/api/sessions/{first['id']}")
    assert list(pieces) == []
    monkeypatch.setattr(documents, "WHOLE_BYTES", 10)
    assert [line["session"]["id"] for line in lines(owner)] == [second["id"]]


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
            "created_at": st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
        },
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=TEXT | st.none(), messages=MESSAGES)
def test_whatever_can_be_imported_comes_back_the_same(
    owner: Caller, other: Caller, title: str | None, messages: list[dict[str, Any]]
) -> None:
    owner.delete("/api/sessions"), other.delete("/api/sessions")
    document = {"version": 1, "session": {"title": title}, "messages": messages}
    rehearsed = owner.post("/api/sessions/import?dry_run=1", document)
    assert (rehearsed.status_code, rehearsed.get_json()) == (200, {"imported_messages": len(messages)})
    session = owner.post("/api/sessions/import", document).get_json()["session"]
    exported = owner.get(f"/api/sessions/{session['id']}/export").get_json()
    assert [(each["role"], each["content"], each["metadata"]) for each in exported["messages"]] == [
        (each["role"], each["content"], each.get("metadata", {})) for each in messages
    ]
    (line,) = lines(owner)
    assert said(line) == said(exported)
    send(other, line)
    (back,) = lines(other)
    assert said(back) == said(exported)


class TestCommands:
    def test_out_and_in(self, app: Flask, owner: Caller, other: Caller, tmp_path: Path) -> None:
        for number in range(3):
            owner.imported(message(str(number)))
        file = tmp_path / "all.ndjson"
        run = app.test_cli_runner().invoke
        done = run(args=["export", "owner", str(file)])
        assert (done.exit_code, "Wrote" in done.output) == (0, True), done.output
        assert file.stat().st_mode & 0o777 == 0o600
        assert len(file.read_bytes().splitlines()) == 3
        for expected in ("3 imported, 0 skipped, 0 refused.", "0 imported, 3 skipped, 0 refused."):
            done = run(args=["import", "other", str(file)])
            assert (done.exit_code, expected in done.output) == (0, True), done.output
        assert "3 imported" in run(args=["import", "other", str(file), "--duplicate"]).output
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".all")] == []
        assert len(lines(other)) == 6

    def test_what_goes_wrong_is_said(self, app: Flask, owner: Caller, tmp_path: Path) -> None:
        run = app.test_cli_runner().invoke
        (tmp_path / "a").write_text('{"session": {}}\n')
        done = run(args=["import", "owner", str(tmp_path / "a")])
        assert done.exit_code == 1
        assert "0 imported, 0 skipped, 1 refused." in done.output
        assert "Line 1: validation_error" in done.output
        for arguments in (["export", "nobody", str(tmp_path / "b")], ["export", "owner", str(tmp_path / "no" / "b")]):
            done = run(args=arguments)
            assert done.exit_code == 1
            assert "Traceback" not in done.output
        assert not (tmp_path / "b").exists()
