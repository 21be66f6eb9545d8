"""Everything out and in again, and in from elsewhere."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database import db
from services import documents, markdown, transfer
from store import entries, sessions
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db
from tests.helpers.process import ROOT, environment

LINES = "application/x-ndjson"
DOCUMENT = {"version": 1, "session": {"id": "elsewhere-1", "title": "t"}, "messages": [message("hello")]}


def lines(caller: ApiClient) -> list[dict[str, Any]]:
    answer = caller.get("/api/export")
    assert (answer.status_code, answer.mimetype) == (200, LINES)
    return [json.loads(line) for line in answer.data.splitlines()]


def send(caller: ApiClient, *items: Any, query: str = "", kind: str = LINES) -> dict[str, Any]:
    body = b"\n".join(item if isinstance(item, bytes) else json.dumps(item).encode() for item in items)
    answer = caller.post(f"/api/import{query}", data=body, content_type=kind)
    assert answer.status_code == 200, answer.data
    report: dict[str, Any] = answer.get_json()
    statuses = [each["status"] for each in report["sessions"]]
    counts = {status: statuses.count(status) for status in ("imported", "skipped", "refused")}
    counts["refused"] += report.get("not_listed", 0)
    assert report["counts"] == counts
    return report


def said(document: dict[str, Any]) -> Any:
    """What of a document must come back the same."""
    session = {key: document["session"][key] for key in ("title", "created_at")}
    keys = ("role", "content", "metadata", "created_at")
    return session, [{key: each[key] for key in keys} for each in document["messages"]]


def conversation(caller: ApiClient, report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = caller.get(f"/api/sessions/{report['session_id']}").get_json()
    return found


def test_everything_goes_out_and_comes_in_again(owner: ApiClient, other: ApiClient, anonymous: ApiClient) -> None:
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
    assert anonymous.get("/api/export").status_code == anonymous.post("/api/import").status_code == 401


def test_each_line_is_all_or_nothing(owner: ApiClient) -> None:
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
def test_nothing_is_nothing(owner: ApiClient, body: bytes) -> None:
    assert send(owner, body)["sessions"] in ([], [{"line": 1, "status": "refused", "error": "invalid_json"}])
    assert lines(owner) == []


@pytest.mark.parametrize("as_array", [True, False])
def test_of_junk_not_all_is_told_but_all_is_looked_at(owner: ApiClient, as_array: bool) -> None:
    items = [0, {}, {"session": 5}] * 1_000 + [DOCUMENT]
    report = send(owner, items) if as_array else send(owner, *items)
    assert report["counts"] == {"imported": 1, "skipped": 0, "refused": 3_000}
    assert report["not_listed"] == 2_000
    assert [each["line"] for each in report["sessions"]] == [*range(1, 1_001), 3_001]
    assert "not_listed" not in send(owner, [0] * 1_000)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("many", [True, False])
def test_an_array_or_one_document(owner: ApiClient, many: bool, indent: int | None) -> None:
    item: Any = [DOCUMENT, DOCUMENT | {"session": {"id": "another"}}] if many else DOCUMENT
    report = send(owner, json.dumps(item, indent=indent).encode(), kind="application/json")
    assert report["counts"]["imported"] == (2 if many else 1)


def test_a_broken_line_at_the_beginning_costs_that_line(owner: ApiClient) -> None:
    assert [each["status"] for each in send(owner, b'{"session', DOCUMENT)["sessions"]] == ["refused", "imported"]


def test_what_is_not_taken(owner: ApiClient, app: Flask) -> None:
    assert owner.post("/api/import", data=b"{}", content_type="text/html").status_code == 415
    assert owner.post("/api/import?duplicate=maybe", data=b"{}", content_type=LINES).status_code == 400
    app.config["PARLEY_MAX_IMPORT_BYTES"] = 10
    assert owner.post("/api/import", data=b"{}" * 6, content_type=LINES).status_code == 413


@pytest.mark.parametrize("origin", [..., None, 5, "", "x" * 256, "\0", []])
def test_without_an_id_a_conversation_is_known_by_its_content(owner: ApiClient, origin: Any) -> None:
    session = {"title": "t"} if origin is ... else {"id": origin, "title": "t"}
    messages = [message("a", metadata={"x": 1, "y": [2]}, created_at="2026-01-31T09:30:00Z"), message("b")]
    document = {"session": session, "messages": messages}
    written_otherwise = json.dumps(
        {"messages": [message("a", metadata={"y": [2], "x": 1}, created_at="2026-01-31T10:30+01"), message("b")]}
        | {"version": 1, "session": session | {"created_at": "2026-01-31"}},
        indent=2,
    ).encode()
    others: list[Any] = [document | {"session": session | {"title": "u"}}, document | {"messages": messages[::-1]}]
    others += [document | {"messages": messages[:1]}, document | {"messages": [messages[0], message("b", "system")]}]
    assert send(owner, document, document)["counts"] == {"imported": 1, "skipped": 1, "refused": 0}
    assert send(owner, written_otherwise)["counts"]["skipped"] == 1
    assert send(owner, *others)["counts"]["imported"] == 4
    assert send(owner, document, query="?duplicate=1")["counts"]["imported"] == 1


def test_what_was_imported_alone_is_known_too_until_it_is_deleted(owner: ApiClient) -> None:
    session = owner.post("/api/sessions/import", DOCUMENT).get_json()["session"]
    assert send(owner, DOCUMENT)["sessions"] == [{"line": 1, "status": "skipped", "session_id": session["id"]}]
    assert owner.post("/api/sessions/import", DOCUMENT).status_code == 201  # which always imports
    owner.delete("/api/sessions")
    assert send(owner, DOCUMENT)["counts"]["imported"] == 1


def test_long_ones_are_given_whole_or_not_at_all(owner: ApiClient) -> None:
    long = DOCUMENT | {"messages": [message(str(number)) for number in range(6_000)]}
    assert send(owner, long, long)["counts"] == {"imported": 1, "skipped": 1, "refused": 0}
    assert query_db("SELECT count(*) FROM messages") == [(6_000,)]
    assert query_db("SELECT count(*) FROM sessions") == [(1,)]


@pytest.mark.parametrize("query", ["", "&duplicate=1"])
def test_a_rehearsal_reports_what_the_import_will(owner: ApiClient, query: str) -> None:
    long = DOCUMENT | {"session": {"id": "long"}, "messages": [message(str(number)) for number in range(3_000)]}
    own = json.loads(owner.get(f"/api/sessions/{owner.imported(message())['id']}/export").data)
    gpt = {"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": ["x", {"image": 1}]}}}}}
    items = [DOCUMENT, DOCUMENT, long, long, own, gpt, gpt, {"session": {}}, b"{", {}, 5, {"version": 2, "session": 1}]
    items += [DOCUMENT | {"session": {}}] * 2 + [0] * 2_000
    rehearsed = send(owner, *items, query=f"?dry_run=1{query}")
    assert rehearsed["counts"]["imported"] == (9 if query else 4)
    assert len(lines(owner)) == 1
    real = send(owner, *items, query=f"?dry_run=0{query}")
    for report in (rehearsed, real):
        for each in report["sessions"]:
            each.pop("session_id", None)
    assert rehearsed == real
    for bad in ("2", "maybe", ""):
        answer = owner.post(f"/api/import?dry_run={bad}", data=b"{}", content_type=LINES)
        assert (answer.status_code, list(answer.get_json()["details"])) == (400, ["dry_run"])


def test_one_that_is_deleted_meanwhile_is_left_out(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = owner.session("first"), owner.session("second")
    pieces = transfer.export_all(str(owner.user_id))
    assert second["id"] in next(pieces).decode()
    owner.delete(f"/api/sessions/{first['id']}")
    assert list(pieces) == []
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 10)
    assert [line["session"]["id"] for line in lines(owner)] == [second["id"]]


@pytest.mark.parametrize("pages", [0, 1, 2])
def test_one_that_is_deleted_while_it_is_sent_is_no_document(
    owner: ApiClient, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    monkeypatch.setattr(documents, "MAX_WHOLE_BYTES", 10)
    ids = [
        owner.imported(*(message(str(number)) for number in range(3 * entries.READ_PAGE_SIZE)))["id"] for _ in range(3)
    ]
    pieces = transfer.export_all(str(owner.user_id))
    sent = b"".join(next(pieces) for _ in range(1 + pages))
    owner.delete(f"/api/sessions/{ids[2]}")  # the newest comes first
    out = (sent + b"".join(pieces)).splitlines()
    broken, *whole = map(json.loads, out)  # each a line of JSON
    assert (broken["error"], broken["session"]["id"]) == ("session_not_found", ids[2])
    assert [(each["session"]["id"], len(each["messages"])) for each in whole] == [
        (each, 3 * entries.READ_PAGE_SIZE) for each in ids[1::-1]
    ]
    assert set(whole[0]) == {"version", "exported_at", "session", "messages"}
    report = send(owner, *out, query="?duplicate=1")
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
            "created_at": st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
        },
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=TEXT | st.none(), messages=MESSAGES)
def test_whatever_can_be_imported_comes_back_the_same(
    owner: ApiClient, other: ApiClient, title: str | None, messages: list[dict[str, Any]]
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
    def test_out_and_in(self, app: Flask, owner: ApiClient, other: ApiClient, tmp_path: Path) -> None:
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

    @pytest.mark.slow
    def test_pipes_devices_and_links(self, owner: ApiClient, tmp_path: Path) -> None:
        owner.imported(message("piped"))
        db.close()
        target, link, fifo = tmp_path / "target", tmp_path / "link", tmp_path / "fifo"
        target.write_text("before")
        link.symlink_to(target)
        os.mkfifo(fifo)
        flask = f"{sys.executable} -m flask"

        def shell(command: str) -> subprocess.CompletedProcess[bytes]:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, env=environment(tmp_path), capture_output=True
            )
            assert b"Traceback" not in done.stderr
            return done

        for destination in ("-", "/dev/stdout", "/proc/self/fd/1"):
            done = shell(f"{flask} export owner {destination}")
            assert json.loads(done.stdout)["messages"][0]["content"] == "piped"
            wrote = "standard output" if destination == "-" else destination
            assert done.stderr == f"Wrote {wrote}, {len(done.stdout)} bytes.\n".encode()  # and no empty bar
        for command, beginning in (("export owner", b'{"version"'), ("backup", b"SQLite format 3\0")):
            assert shell(f"{flask} {command} {link}").returncode == 0
            assert link.is_symlink()
            assert target.read_bytes().startswith(beginning)
            assert target.stat().st_mode & 0o777 == 0o600
            done = shell(f"cat {fifo} & {flask} {command} {fifo} >&2; wait")
            assert done.stdout == target.read_bytes() or command == "export owner"
            assert done.stdout.startswith(beginning)
            assert fifo.is_fifo()
            for device, code in (("/dev/null", 0), ("/dev/full", 1)):
                assert shell(f"{flask} {command} {device}").returncode == code
                assert stat.S_ISCHR(os.stat(device).st_mode)
            done = shell(f"echo first > {target}; {flask} {command} - >> {target}")
            assert target.read_bytes().startswith(b"first\n" + beginning)
        for source in ("-", "/dev/stdin"):
            done = shell(f"{flask} export owner - | {flask} import owner {source} --duplicate --dry-run")
            assert done.stdout == b"1 imported, 0 skipped, 0 refused. This was a rehearsal: nothing is written.\n"
            done = shell(f"{flask} export owner - | {flask} import owner {source}")
            assert done.stdout == b"0 imported, 1 skipped, 0 refused.\n"
        assert {path.name for path in tmp_path.iterdir()} >= {"target", "link", "fifo", "parley.db"}
        assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "tmp"))]

    def test_of_what_goes_wrong_not_all_is_said(self, app: Flask, owner: ApiClient, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"{}\n" * 3_000)
        done = app.test_cli_runner().invoke(args=["import", "owner", str(tmp_path / "a")])
        assert "0 imported, 0 skipped, 3,000 refused." in done.output
        assert "And 2,000 more." in done.output
        assert done.output.count("Line ") == 1_000

    def test_an_archive_is_to_be_unpacked_first(self, app: Flask, owner: ApiClient, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
            archive.writestr("conversations.json", "[]")
        done = app.test_cli_runner().invoke(args=["import", "owner", str(tmp_path / "export.zip")])
        assert (done.exit_code, done.output.count("\n")) == (1, 1)
        assert "unpack it" in done.output

    def test_what_goes_wrong_is_said(self, app: Flask, owner: ApiClient, tmp_path: Path) -> None:
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


def step_by_step(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of an answer, each made in a new thread: whichever is free goes on with it."""

    def step() -> bytes | None:
        try:
            return next(pieces, None)
        finally:
            if not db.is_closed():
                db.close()

    while (piece := ThreadPoolExecutor(1).submit(step).result()) is not None:
        yield piece


def test_an_answer_goes_on_in_whichever_thread_is_free(owner: ApiClient) -> None:
    """A client that takes its time lets its thread go, and the next one may not have used the database yet."""
    large = [owner.imported(*(message("x" * 50_000) for _ in range(60))) for _ in range(2)]
    owner.session()
    user_id = owner.get("/api/auth/me").get_json()["id"]
    assert len(b"".join(step_by_step(transfer.export_all(user_id))).splitlines()) == 3
    for each in (documents.export_document, documents.session_with_messages, markdown.export):
        document = each(sessions.get(user_id, large[0]["id"]))
        assert not isinstance(document, bytes)
        assert b"".join(step_by_step(document)).count(b"x" * 50_000) == 60
