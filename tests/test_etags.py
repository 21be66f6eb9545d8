"""Conditional requests: entity tags, ``If-None-Match`` and ``If-Match``."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from marshmallow import Schema, fields

import schemas
from database import db
from tests.helpers.client import UNKNOWN_ID, ApiClient, message
from tests.helpers.clock import frozen_time
from tests.helpers.process import ROOT
from web import etags
from web.etags import representation_digest


def etag(caller: ApiClient, session: dict[str, Any], path: str = "") -> str:
    response = caller.get(f"/api/sessions/{session['id']}{path}")
    assert response.status_code == 200
    return response.headers["ETag"]


@pytest.mark.parametrize("path", ["", "/export", "/export?format=markdown"])
def test_if_none_match_with_the_current_tag_gets_304(owner: ApiClient, other: ApiClient, path: str) -> None:
    session = owner.imported(message())
    target = f"/api/sessions/{session['id']}{path}"
    tag = etag(owner, session, path)
    assert tag.startswith('W/"' if path else '"')  # an export contains the time of its request
    assert tag.endswith('"')
    opaque = tag.removeprefix("W/")
    for known in (opaque, f"W/{opaque}", f'"x", {tag}', "*"):
        response = owner.get(target, headers={"If-None-Match": known})
        assert (response.status_code, response.data, response.headers["ETag"]) == (304, b"", tag)
        assert response.headers["X-Request-Id"]
    for unknown in ('"x"', "x", "", 'W/"x"'):
        assert owner.get(target, headers={"If-None-Match": unknown}).status_code == 200
    assert owner("HEAD", target, headers={"If-None-Match": tag}).status_code == 304
    assert other.get(target, headers={"If-None-Match": tag}).status_code == 404


def test_only_equal_bytes_have_a_strong_tag(owner: ApiClient) -> None:
    session = owner.imported(message())
    path = f"/api/sessions/{session['id']}"
    for part in ("", "/export", "/export?format=markdown"):
        responses = []
        for moment in ("2026-01-31T09:30:00.000Z", "2027-01-31T09:30:00.000Z"):
            with frozen_time(moment):
                responses.append(owner.get(path + part))
        assert len({response.headers["ETag"] for response in responses}) == 1
        same = responses[0].data == responses[1].data
        assert responses[0].headers["ETag"].startswith("W/") == (not same), part


def test_every_update_changes_the_tag(owner: ApiClient) -> None:
    session = owner.session()
    path = f"/api/sessions/{session['id']}"
    tags = [etag(owner, session)]
    for method, part, body in (
        ("PATCH", "", {"title": "a"}),
        ("PATCH", "/system-prompt", {"system_prompt": "b"}),
        ("POST", "/messages", message()),
    ):
        owner(method, path + part, body)
        tags.append(etag(owner, session))
        assert etag(owner, session) == tags[-1]
        assert owner.get(path, headers={"If-None-Match": tags[-2]}).status_code == 200
    assert len(set(tags)) == 4
    assert len({etag(owner, session, part) for part in ("", "/export", "/export?format=markdown")}) == 3


CHANGES: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"title": "a"}),
    ("PATCH", "/system-prompt", {"system_prompt": "b"}),
]
CHANGES += [("PATCH", "/system-prompt", {}), ("DELETE", "", None)]


@pytest.mark.parametrize(("method", "part", "body"), CHANGES)
def test_if_match_with_another_tag_gets_412_and_changes_nothing(
    owner: ApiClient, other: ApiClient, method: str, part: str, body: Any
) -> None:
    session = owner.session()
    path = f"/api/sessions/{session['id']}"
    old = etag(owner, session)
    owner.post(f"{path}/messages", message())
    tag, before = etag(owner, session), owner.get(path).data
    sent: dict[str, Any] = {"json": body} if body is not None else {}
    for wrong in (
        old,
        f"W/{tag}",
        '"x"',
        "x",
        "",
        etag(owner, session, "/export"),
        etag(owner, session, "/export")[2:],
    ):
        response = owner(method, path + part, headers={"If-Match": wrong}, **sent)
        assert (response.status_code, response.get_json()) == (412, {"error": "precondition_failed"}), wrong
        assert owner.get(path).data == before
    for caller, target in ((other, path), (owner, f"/api/sessions/{UNKNOWN_ID}")):
        assert caller(method, target + part, headers={"If-Match": tag}, **sent).status_code == 404
    response = owner(method, path + part, headers={"If-Match": f'"x", {tag}'}, **sent)
    assert response.status_code in (200, 204)
    if method == "PATCH":
        assert response.headers["ETag"] == etag(owner, session)
        assert owner(method, path + part, headers={"If-Match": "*"}, **sent).status_code == 200


def test_one_of_concurrent_conditional_updates_succeeds(app: Flask, owner: ApiClient) -> None:
    session = owner.session()
    tag = etag(owner, session)

    def edit(title: str) -> int:
        caller = ApiClient(app.test_client(), owner.token)
        response = caller.patch(f"/api/sessions/{session['id']}", {"title": title}, headers={"If-Match": tag})
        db.close()
        return response.status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(edit, "abcdefgh")) == [200, *[412] * 7]


class Widened(schemas.Session):
    field_of_this_test = fields.Boolean(required=True)


class UntitledIsEmpty(schemas.Session):
    title = fields.String(required=True)


class NumberedMessage(schemas.Message):
    number = fields.Integer(required=True)


class WithNumberedMessages(schemas.Session):
    messages = fields.List(fields.Nested(NumberedMessage), required=True)


class Reordered(Schema):
    updated_at, created_at, system_prompt, title, id = (
        schemas.Session().declared_fields[name] for name in ("updated_at", "created_at", "system_prompt", "title", "id")
    )


class Described(schemas.Session):
    title = fields.String(required=True, allow_none=True, metadata={"description": "Of the session."})


@pytest.mark.parametrize(
    ("schema", "changed"),
    [
        (schemas.Session, Widened),
        (schemas.Session, UntitledIsEmpty),
        (schemas.Session, Reordered),
        (schemas.SessionWithMessages, WithNumberedMessages),
    ],
)
def test_a_changed_schema_changes_the_tags(schema: type[Schema], changed: type[Schema]) -> None:
    assert representation_digest(schema) != representation_digest(changed)


def test_a_description_does_not_change_the_tags() -> None:
    assert representation_digest(Described) == representation_digest(schemas.Session)


def test_the_digests_are_in_the_tags(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    session = owner.session()
    paths = ("", "/export", "/export?format=markdown")
    before = [etag(owner, session, path) for path in paths]
    monkeypatch.setattr(etags, "REPRESENTATIONS", dict.fromkeys(etags.REPRESENTATIONS, "changed"))
    after = [etag(owner, session, path) for path in paths]
    assert not {*before} & {*after}


def test_tags_are_the_same_in_every_process() -> None:
    command = [sys.executable, "-c", "from web.etags import REPRESENTATIONS; print(REPRESENTATIONS)"]
    printed = {
        subprocess.check_output(command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, text=True)
        for seed in ("1", "2")
    }
    assert printed == {f"{etags.REPRESENTATIONS}\n"}
