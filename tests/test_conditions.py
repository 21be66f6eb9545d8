"""Conditional requests: what is known is not sent again, and of two editors one wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from database import db
from tests.helpers.client import ApiClient, message
from tests.helpers.clock import frozen_time

UNKNOWN = "01a20000-0000-7000-8000-000000000000"


def etag(caller: ApiClient, session: dict[str, Any], path: str = "") -> str:
    answer = caller.get(f"/api/sessions/{session['id']}{path}")
    assert answer.status_code == 200
    return answer.headers["ETag"]


@pytest.mark.parametrize("path", ["", "/export", "/export?format=markdown"])
def test_what_is_known_is_not_sent_again(owner: ApiClient, other: ApiClient, path: str) -> None:
    session = owner.imported(message())
    target = f"/api/sessions/{session['id']}{path}"
    tag = etag(owner, session, path)
    assert tag.startswith('W/"' if path else '"')  # an export says when it was made
    assert tag.endswith('"')
    opaque = tag.removeprefix("W/")
    for known in (opaque, f"W/{opaque}", f'"x", {tag}', "*"):
        answer = owner.get(target, headers={"If-None-Match": known})
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tag)
        assert answer.headers["X-Request-Id"]
    for unknown in ('"x"', "x", "", 'W/"x"'):
        assert owner.get(target, headers={"If-None-Match": unknown}).status_code == 200
    assert owner("HEAD", target, headers={"If-None-Match": tag}).status_code == 304
    assert other.get(target, headers={"If-None-Match": tag}).status_code == 404


def test_a_strong_tag_stands_for_bytes(owner: ApiClient) -> None:
    session = owner.imported(message())
    path = f"/api/sessions/{session['id']}"
    for part in ("", "/export", "/export?format=markdown"):
        answers = []
        for moment in ("2026-01-31T09:30:00.000Z", "2027-01-31T09:30:00.000Z"):
            with frozen_time(moment):
                answers.append(owner.get(path + part))
        assert len({answer.headers["ETag"] for answer in answers}) == 1
        same = answers[0].data == answers[1].data
        assert answers[0].headers["ETag"].startswith("W/") == (not same), part


def test_every_change_makes_another_tag(owner: ApiClient) -> None:
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
def test_who_knows_an_earlier_state_changes_nothing(
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
        answer = owner(method, path + part, headers={"If-Match": wrong}, **sent)
        assert (answer.status_code, answer.get_json()) == (412, {"error": "precondition_failed"}), wrong
        assert owner.get(path).data == before
    for caller, target in ((other, path), (owner, f"/api/sessions/{UNKNOWN}")):
        assert caller(method, target + part, headers={"If-Match": tag}, **sent).status_code == 404
    answer = owner(method, path + part, headers={"If-Match": f'"x", {tag}'}, **sent)
    assert answer.status_code in (200, 204)
    if method == "PATCH":
        assert answer.headers["ETag"] == etag(owner, session)
        assert owner(method, path + part, headers={"If-Match": "*"}, **sent).status_code == 200


def test_of_two_editors_one_wins(app: Flask, owner: ApiClient) -> None:
    session = owner.session()
    tag = etag(owner, session)

    def edit(title: str) -> int:
        caller = ApiClient(app.test_client(), owner.token)
        answer = caller.patch(f"/api/sessions/{session['id']}", {"title": title}, headers={"If-Match": tag})
        db.close()
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(edit, "abcdefgh")) == [200, *[412] * 7]
