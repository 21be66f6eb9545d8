"""Request bodies: what is valid JSON here, media types and sizes. An invalid one changes nothing."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from flask import Flask
from marshmallow import ValidationError

import fields
from schemas import RequestSchema
from tests.helpers.client import ApiClient, error_of
from tests.helpers.database import query_db

JSON = {"Content-Type": "application/json"}


class Flagged(RequestSchema):
    """A schema of this test's own: no request has a boolean so far."""

    flag = fields.JsonBoolean(required=True)


def post_raw(caller: ApiClient, raw: bytes, path: str = "/api/sessions", headers: dict[str, str] | None = None) -> Any:
    return caller.post(path, data=raw, headers=JSON if headers is None else headers)


def import_with_metadata(raw: bytes) -> bytes:
    return b'{"session":{},"messages":[{"role":"user","content":"x","metadata":{"a":' + raw + b"}}]}"


@pytest.mark.parametrize("value", [True, False])
def test_boolean_of_a_body_is_json_true_or_false(value: bool) -> None:
    assert Flagged().load({"flag": value}) == {"flag": value}


@pytest.mark.parametrize("value", ["yes", "true", "t", "", 1, 0, 1.0, None, [], {}])
def test_boolean_of_a_body_is_nothing_else(value: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        Flagged().load({"flag": value})
    assert set(raised.value.messages_dict) == {"flag"}


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
def test_rejects_invalid_json(owner: ApiClient, raw: bytes, path: str) -> None:
    assert error_of(post_raw(owner, raw, path)) == (400, "invalid_json")
    assert query_db("SELECT * FROM sessions") == []


@pytest.mark.parametrize("raw", NOT_JSON_NUMBERS)
def test_rejects_invalid_numbers(owner: ApiClient, raw: bytes) -> None:
    assert error_of(post_raw(owner, import_with_metadata(raw), "/api/sessions/import")) == (400, "invalid_json")
    assert query_db("SELECT * FROM sessions") == []


@pytest.mark.parametrize("depth", [150, 199, 200, 250, 300, 900, 1_000, 1_020, 5_000])
@pytest.mark.parametrize("inner", [b"1", b"9" * 30])
def test_deep_nesting_is_stored_or_rejected(owner: ApiClient, depth: int, inner: bytes) -> None:
    nested = b"[" * depth + inner + b"]" * depth
    response = post_raw(owner, import_with_metadata(nested), "/api/sessions/import")
    if depth <= 199:  # the object itself is a level too
        assert response.status_code == 201
        exported = owner.get(f"/api/sessions/{response.get_json()['session']['id']}/export")
        assert nested in exported.data
    else:
        assert error_of(response) in [(400, "validation_error"), (400, "invalid_json")]
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
def test_rejects_extreme_values(owner: ApiClient, method: str, path: str, key: str, value: Any) -> None:
    raw = repr(value).encode() if isinstance(value, int) else orjson.dumps(value)
    response = owner(method, path, data=b'{"%b":%b}' % (key.encode(), raw), headers=JSON)
    assert error_of(response)[0] == 400
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
def test_accepts_json_media_types_alone(owner: ApiClient, content_type: str, status: int) -> None:
    response = post_raw(owner, b'{"title":"x"}', headers={"Content-Type": content_type})
    assert response.status_code == status
    if status == 415:
        assert error_of(response) == (415, "unsupported_media_type")
        assert response.get_json()["details"] == {"Content-Type": ["Must be one of: application/json."]}


def test_415_lists_the_media_types_of_an_import(owner: ApiClient) -> None:
    response = post_raw(owner, b"{}", "/api/import", {"Content-Type": "text/plain"})
    accepted = "application/json, application/x-ndjson, application/jsonl"
    assert error_of(response) == (415, "unsupported_media_type")
    assert response.get_json()["details"] == {"Content-Type": [f"Must be one of: {accepted}."]}


def test_empty_body_needs_no_content_type(owner: ApiClient) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}):
        assert post_raw(owner, b"", headers=headers).status_code == 201


def test_accepts_bodies_up_to_the_limit(app: Flask, owner: ApiClient, anonymous: ApiClient) -> None:
    app.config["PARLEY_MAX_BODY_BYTES"], app.config["PARLEY_MAX_IMPORT_BYTES"] = 1_000, 2_000
    for path, limit, good in (
        ("/api/sessions", 1_000, b'{"title":"x"}'),
        ("/api/sessions/import", 2_000, b'{"session":{},"messages":[]}'),
    ):
        assert post_raw(owner, good.ljust(limit), path).status_code == 201
        assert error_of(post_raw(owner, good.ljust(limit + 1), path)) == (413, "payload_too_large")
        assert error_of(post_raw(anonymous, good.ljust(limit + 1), path)) == (401, "missing_token")


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
def test_rejects_bodies_with_too_many_values(owner: ApiClient, metadata: str, status: int) -> None:
    """It would hold everybody up while it is parsed, however few bytes it has; what is in strings does not count."""
    session = owner.session()
    body = f'{{"role":"user","content":"x","metadata":{metadata}}}'
    response = owner.post(f"/api/sessions/{session['id']}/messages", data=body, content_type="application/json")
    assert response.status_code == status
    if status == 400:
        details = {"_schema": ["Has more than 100,000 values."]}
        assert response.get_json() == {"error": "validation_error", "details": details}
    assert len(owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]) == (status == 201)
