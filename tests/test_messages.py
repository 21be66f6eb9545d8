"""Messages of a session: append, and list with the session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.client import ApiClient, message

MESSAGE_KEYS = ["id", "session_id", "role", "content", "metadata", "created_at"]


def test_messages_are_listed_in_the_order_written(owner: ApiClient) -> None:
    times = ["2026-03-01", "2026-01-01", "2026-02-01"]
    session = owner.imported(*(message(f"{n}", created_at=time) for n, time in enumerate(times)))
    messages = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
    assert [item["content"] for item in messages] == ["0", "1", "2"]
    assert [list(item) for item in messages] == [MESSAGE_KEYS] * 3
    assert {item["session_id"] for item in messages} == {session["id"]}
    assert [item["metadata"] for item in messages] == [{}] * 3


@pytest.mark.parametrize("metadata", [None, {}, {"model": "m", "deep": [{"a": 2**70}]}])
def test_append_returns_the_stored_message(owner: ApiClient, metadata: Any) -> None:
    session = owner.imported(message("first"))
    body = message("second\n", role="assistant", created_at="2020-01-01", unknown=1)
    path = f"/api/sessions/{session['id']}"
    response = owner.post(f"{path}/messages", body if metadata is None else body | {"metadata": metadata})
    appended = response.get_json()
    assert (response.status_code, list(appended)) == (201, MESSAGE_KEYS)
    assert (appended["role"], appended["content"], appended["metadata"]) == ("assistant", "second\n", metadata or {})
    after = owner.get(path).get_json()
    assert after["messages"][1:] == [appended]
    assert after["updated_at"] == appended["created_at"] > session["updated_at"]


@pytest.mark.parametrize(
    "body",
    [
        ..., None, {}, [], message(""), message("x" * 50_001), message("\0"), message(role="tool"),
        {"role": "user"}, {"content": "x"}, message(metadata=None), message(metadata=[]),
        message(metadata={"a": "\0"}),
    ],
)  # fmt: skip
def test_append_rejects_invalid_messages(owner: ApiClient, body: Any) -> None:
    session = owner.imported(message())
    before = owner.get(f"/api/sessions/{session['id']}").get_json()
    response = owner.post(f"/api/sessions/{session['id']}/messages", body)
    assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
    assert owner.get(f"/api/sessions/{session['id']}").get_json() == before
