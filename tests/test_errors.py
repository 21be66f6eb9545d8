"""Everything that can be wrong with a request: each gets its code, in one shape, and changes nothing."""

from __future__ import annotations

import json
import logging
import sqlite3
from typing import Any

import orjson
import peewee
import pytest
from flask import Flask

import errors
from database import sqlite
from store import session_pages
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db

JSON = {"Content-Type": "application/json"}


def send(caller: ApiClient, raw: bytes, path: str = "/api/sessions", headers: dict[str, str] | None = None) -> Any:
    return caller.post(path, data=raw, headers=JSON if headers is None else headers)


def code(answer: Any) -> tuple[int, str]:
    assert answer.content_type == "application/json"
    assert set(answer.get_json()) <= {"error", "details"}
    return answer.status_code, answer.get_json()["error"]


def in_metadata(raw: bytes) -> bytes:
    return b'{"session":{},"messages":[{"role":"user","content":"x","metadata":{"a":' + raw + b"}}]}"


NOT_JSON = [
    b"{", b"}", b"{]", b"x", b"'x'", b"{'a':1}", b'{"a":1,}', b"[1,]", b"// comment\n{}", b"{} {}", b"\x00", b" ",
    b"\xff", b'{"title":"\xff"}', b'{"title":"\xed\xa0\x80"}', b"\xef\xbb\xbf{}", "{}".encode("utf-16"),
    b'{"title":NaN}',
    b'{"title":"\\ud800"}', b'{"title":"\\udc00\\ud800"}', b'{"title":"\x01"}', b'{"title":"\\x41"}', b"[" * 5_000,
    b"[" * 5_000 + b"]" * 5_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b"[" * 100_000,
]  # fmt: skip

NOT_JSON_NUMBERS = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"01",
    b"+1",
    b"0x10",
    b".5",
    b"1.",
    b"9" * 5_000,
]


@pytest.mark.parametrize("raw", NOT_JSON)
@pytest.mark.parametrize("path", ["/api/sessions", "/api/sessions/import", "/api/auth/login"])
def test_what_is_not_json(owner: ApiClient, raw: bytes, path: str) -> None:
    assert code(send(owner, raw, path)) == (400, "invalid_json")
    assert query_db("SELECT * FROM sessions") == []


@pytest.mark.parametrize("raw", NOT_JSON_NUMBERS)
def test_numbers_that_are_none(owner: ApiClient, raw: bytes) -> None:
    assert code(send(owner, in_metadata(raw), "/api/sessions/import")) == (400, "invalid_json")
    assert query_db("SELECT * FROM sessions") == []


@pytest.mark.parametrize("depth", [150, 199, 200, 250, 300, 900, 1_000, 1_020, 5_000])
@pytest.mark.parametrize("inner", [b"1", b"9" * 30])
def test_deep_nesting_is_kept_or_refused(owner: ApiClient, depth: int, inner: bytes) -> None:
    nested = b"[" * depth + inner + b"]" * depth
    answer = send(owner, in_metadata(nested), "/api/sessions/import")
    if depth <= 199:  # the object itself is a level too
        assert answer.status_code == 201
        exported = owner.get(f"/api/sessions/{answer.get_json()['session']['id']}/export")
        assert nested in exported.data
    else:
        assert code(answer) in [(400, "validation_error"), (400, "invalid_json")]
        assert query_db("SELECT * FROM sessions") == []


@pytest.mark.parametrize("value", [2**63, 2**64, -(2**63) - 1, 10**400, 1e308, [[]] * 1000, "x" * 100_000, "\0"])
@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("POST", "/api/sessions", "title"),
        ("PATCH", "/api/sessions/x", "title"),
        ("PATCH", "/api/sessions/x/system-prompt", "system_prompt"),
        ("POST", "/api/auth/login", "username"),
        ("POST", "/api/auth/password", "new_password"),
        ("POST", "/api/sessions/import", "session"),
        ("POST", "/api/sessions/import", "messages"),
    ],
)
def test_absurd_values(owner: ApiClient, method: str, path: str, key: str, value: Any) -> None:
    raw = repr(value).encode() if isinstance(value, int) else orjson.dumps(value)
    answer = owner(method, path, data=b'{"%b":%b}' % (key.encode(), raw), headers=JSON)
    assert code(answer)[0] == 400
    assert query_db("SELECT * FROM sessions") == []


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("APPLICATION/JSON", 201),
        ("application/problem+json", 201),
        ("text/plain", 415),
        ("text/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonx", 415),
        ("json", 415),
        ("", 415),
        ("é", 415),
    ],
)
def test_content_types(owner: ApiClient, content_type: str, status: int) -> None:
    answer = send(owner, b'{"title":"x"}', headers={"Content-Type": content_type})
    assert answer.status_code == status
    if status == 415:
        assert code(answer) == (415, "unsupported_media_type")
        assert answer.get_json()["details"] == {"Content-Type": ["Must be one of: application/json."]}


def test_415_lists_the_media_types_of_an_import(owner: ApiClient) -> None:
    answer = send(owner, b"{}", "/api/import", {"Content-Type": "text/plain"})
    accepted = "application/json, application/x-ndjson, application/jsonl"
    assert code(answer) == (415, "unsupported_media_type")
    assert answer.get_json()["details"] == {"Content-Type": [f"Must be one of: {accepted}."]}


def test_no_body_needs_no_content_type(owner: ApiClient) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}):
        assert send(owner, b"", headers=headers).status_code == 201


def test_bodies_up_to_the_limit_and_over_it(app: Flask, owner: ApiClient, anonymous: ApiClient) -> None:
    app.config["PARLEY_MAX_BODY_BYTES"], app.config["PARLEY_MAX_IMPORT_BYTES"] = 1_000, 2_000
    for path, limit, good in (
        ("/api/sessions", 1_000, b'{"title":"x"}'),
        ("/api/sessions/import", 2_000, b'{"session":{},"messages":[]}'),
    ):
        assert send(owner, good.ljust(limit), path).status_code == 201
        assert code(send(owner, good.ljust(limit + 1), path)) == (413, "payload_too_large")
        assert code(send(anonymous, good.ljust(limit + 1), path)) == (401, "missing_token")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", (404, "not_found")),
        ("GET", "/api/", (404, "not_found")),
        ("GET", "/api/sessions/", (404, "not_found")),
        ("GET", "//api/sessions", (404, "not_found")),
        ("GET", "/api//sessions", (404, "not_found")),
        ("GET", "/api/sessions/a/b/c", (404, "not_found")),
        ("GET", "/api/sessions/%2e%2e/%2e%2e/etc/passwd", (404, "not_found")),
        ("GET", "/static/app.py", (404, "not_found")),
        ("GET", "/docs/../app.py", (404, "not_found")),
        ("GET", "/docs/..%2f..%2fapp.py", (404, "not_found")),
        ("PUT", "/api/sessions", (405, "method_not_allowed")),
        ("POST", "/api/sessions/x", (405, "method_not_allowed")),
        ("GET", "/api/sessions/import/export/", (404, "not_found")),
        ("DELETE", "/healthz", (405, "method_not_allowed")),
    ],
)
def test_paths_and_methods_that_are_not_there(
    owner: ApiClient, method: str, path: str, expected: tuple[int, str]
) -> None:
    answer = owner(method, path)
    assert code(answer) == expected
    assert ("Allow" in answer.headers) is (expected[0] == 405)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-123", True),
        ("A.b_c:d/e+f=", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ("é", False),
    ],
)
def test_the_request_id(anonymous: ApiClient, given: str, kept: bool) -> None:
    for path in ("/healthz", "/api/sessions", "/nowhere"):
        answer = anonymous.get(path, headers={"X-Request-Id": given})
        assert (answer.headers["X-Request-Id"] == given) is kept
        assert answer.headers["X-Request-Id"]
    assert anonymous.get("/healthz").headers["X-Request-Id"] != anonymous.get("/healthz").headers["X-Request-Id"]


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("told by its name")
    error.sqlite_errorname = name
    return error


def wrapped(inner: Exception) -> Exception:
    """The way a failed commit arrives: the rollback fails too, with the reason behind it."""
    try:
        try:
            raise inner
        except Exception:
            raise peewee.OperationalError("cannot rollback")  # noqa: B904  # the context is what is tested
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (sqlite_error("SQLITE_BUSY"), (503, "database_busy")),
        (sqlite_error("SQLITE_BUSY_SNAPSHOT"), (503, "database_busy")),
        (sqlite_error("SQLITE_CANTOPEN"), (503, "database_unavailable")),
        (sqlite_error("SQLITE_IOERR_WRITE"), (503, "database_unavailable")),
        (sqlite_error("SQLITE_CORRUPT"), (503, "database_unavailable")),
        (sqlite_error("SQLITE_READONLY_DBMOVED"), (503, "database_unavailable")),
        (wrapped(sqlite_error("SQLITE_FULL")), (507, "disk_full")),
        (sqlite_error("SQLITE_FULL"), (507, "disk_full")),
        (sqlite_error("SQLITE_ERROR"), (500, "internal_error")),
        (ZeroDivisionError("a secret"), (500, "internal_error")),
    ],
)
def test_failures_behind_the_handlers(
    owner: ApiClient, error: Exception, expected: tuple[int, str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(session_pages, "list_page", fail)
    monkeypatch.setattr(logging.getLogger("parley"), "propagate", True)
    answer = owner.get("/api/sessions", headers={"X-Request-Id": "find-me"})
    assert code(answer) == expected
    assert answer.get_json().keys() == {"error"}
    assert answer.headers["X-Request-Id"] == "find-me"
    assert ("Retry-After" in answer.headers) is (expected[0] == 503)
    assert bool(caplog.records[0].exc_info) is (expected[0] == 500)  # a traceback for our own mistakes alone


def test_every_code_has_its_status() -> None:
    assert set(sqlite.CODE_BY_SQLITE_ERROR.values()) <= set(errors.STATUS_BY_CODE)
    assert errors.CODE_BY_STATUS[404] == "not_found"
    assert errors.CODE_BY_STATUS[413] == "payload_too_large"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/swagger-ui.css"])
def test_operations_are_open(anonymous: ApiClient, path: str) -> None:
    with anonymous.get(path) as answer:
        assert answer.status_code == 200


def test_the_docs_page_may_fetch_nothing_from_elsewhere(anonymous: ApiClient) -> None:
    answer = anonymous.get("/docs", headers={"Host": "evil.example"})
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert b"evil.example" not in answer.data
    assert b"https://" not in answer.data


def test_ready_is_503_without_its_database(owner: ApiClient, anonymous: ApiClient, tmp_path: Any) -> None:
    owner.imported(message())
    database = tmp_path / "parley.db"
    database.rename(tmp_path / "moved.db")
    assert code(anonymous.get("/readyz")) == (503, "database_unavailable")
    assert code(owner.get("/api/sessions")) == (503, "database_unavailable")
    assert code(owner.post("/api/sessions")) == (503, "database_unavailable")
    assert anonymous.get("/healthz").status_code == 200
    assert not database.exists()
    (tmp_path / "moved.db").rename(database)
    assert anonymous.get("/readyz").status_code == 200
    assert len(owner.get("/api/sessions").get_json()["items"]) == 1


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ('{"a":[' + ",".join(["[]"] * 50_000) + "]}", 400),
        ('{"a":[' + ",".join(["1"] * 100_001) + "]}", 400),
        ("{" + ",".join(f'"{number}":0' for number in range(100_001)) + "}", 400),
        ('{"a":[' + ",".join(["1"] * 99_000) + "]}", 201),
        (json.dumps({"csv": "1,2,[3],{4},\n" * 40_000}), 201),
        (json.dumps({"quoted": '\\",[' * 50_000}), 201),
    ],
)
def test_a_body_of_very_many_values_is_refused(owner: ApiClient, metadata: str, status: int) -> None:
    """It would hold everybody up while it is parsed, however few bytes it has; what is in strings does not count."""
    session = owner.session()
    body = f'{{"role":"user","content":"x","metadata":{metadata}}}'
    answer = owner.post(f"/api/sessions/{session['id']}/messages", data=body, content_type="application/json")
    assert answer.status_code == status
    if status == 400:
        details = {"_schema": ["Has more than 100,000 values."]}
        assert answer.get_json() == {"error": "validation_error", "details": details}
    assert len(owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]) == (status == 201)
