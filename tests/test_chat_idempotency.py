"""Idempotency-Key on a chat: it is replayed from its stored messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from database import db
from errors import STATUS_BY_CODE
from ids import new_id
from models import SHORT_RESPONSE
from store import drafts, idempotency
from store.idempotency import Outcome
from tests.helpers.chats import STALE, parse_events, plant_draft
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db
from tests.helpers.idempotency import count_rows, send_with_key
from tests.helpers.process import FakeLlm


@pytest.fixture
def llm_timeout() -> int:
    return 300


@pytest.fixture
def settings(settings: dict[str, Any], fake_llm: FakeLlm, llm_timeout: int) -> dict[str, Any]:
    return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url, "PARLEY_LLM_TIMEOUT_SECONDS": llm_timeout}


def events(response: Any) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in response.text.strip().split("\n\n")]
    return [(block[0][7:], json.loads(block[1][6:])) for block in blocks]


def test_replay_streams_the_stored_messages(owner: ApiClient, fake_llm: FakeLlm) -> None:
    session = owner.session()
    path = f"/api/sessions/{session['id']}/chat"
    send_with_key(owner, path, {"content": "hello there"}).get_data()
    asked = len(fake_llm.calls())
    question, reply = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
    again = send_with_key(owner, path, {"content": "hello there"})
    assert again.mimetype == "text/event-stream"
    assert events(again) == [("message", question), ("message", reply), ("done", {})]
    as_json = send_with_key(owner, path, {"content": "hello there"}, Accept="application/json")
    assert as_json.get_json() == {"messages": [question, reply]}
    assert len(fake_llm.calls()) == asked


def test_replay_skips_messages_appended_during_the_chat(owner: ApiClient) -> None:
    session = owner.session()
    path = f"/api/sessions/{session['id']}"
    stream = send_with_key(owner, f"{path}/chat", {"content": "say x\nwait 0.3\nsay y"})
    pieces = stream.iter_encoded()
    next(pieces)
    owner.post(f"{path}/messages", message("intruder", role="assistant"))
    assert b"done" in b"".join(pieces)
    stream.close()
    again = send_with_key(owner, f"{path}/chat", {"content": "say x\nwait 0.3\nsay y"}, Accept="application/json")
    assert [each["content"] for each in again.get_json()["messages"]] == ["say x\nwait 0.3\nsay y", "xy"]


@pytest.mark.parametrize(
    ("script", "code", "status"),
    [
        (["status 500"], "upstream_error", 502),
        (["say half", "break"], "upstream_error", 502),
        (["say half", "error"], "upstream_error", 502),
        pytest.param(["wait 30"], "upstream_timeout", 504, marks=pytest.mark.slow),
        pytest.param(["say half", "wait 30"], "upstream_timeout", 504, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("llm_timeout", [3])
def test_replay_of_a_failed_chat_ends_with_its_error(
    owner: ApiClient, script: list[str], code: str, status: int
) -> None:
    body = {"content": "\n".join(script)}
    ends = [("error", {"error": code})]
    for accept in ("text/event-stream", "application/json"):
        session = owner.session()
        path, key = f"/api/sessions/{session['id']}/chat", f"key for {accept}"
        first = send_with_key(owner, path, body, key, Accept=accept)
        first_data = first.get_data()
        owner.post(f"/api/sessions/{session['id']}/messages", message("later"))
        there = count_rows()
        again = send_with_key(owner, path, body, key, Accept=accept)
        assert (again.status_code, again.get_data()) == (first.status_code, first_data)
        in_events = events(send_with_key(owner, path, body, key, Accept="text/event-stream"))
        assert [name for name, _ in in_events] == ["message", *(["delta"] if "say half" in script else []), "error"]
        assert in_events[-1:] == ends
        as_json = send_with_key(owner, path, body, key, Accept="application/json")
        assert (as_json.status_code, as_json.get_json()["error"]) == (status, code)
        stored = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
        assert as_json.get_json()["details"]["messages"] == stored[:-1]
        assert count_rows() == there


def test_replay_of_an_interrupted_chat_is_an_upstream_error(owner: ApiClient) -> None:
    """It ends like a failed one: its text is not a completion."""
    session = owner.session()
    path, body = f"/api/sessions/{session['id']}/chat", {"content": "say all"}
    send_with_key(owner, path, body).get_data()
    (question, answer) = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
    # As if the process had been killed in the middle: the draft is there, its answer is not.
    query_db("DELETE FROM messages WHERE id = ?", answer["id"])
    query_db("UPDATE retries SET answer = ?", json.dumps({"id": question["id"]}, separators=(",", ":")))
    plant_draft(session, "half", age=STALE, question_id=question["id"])
    pending = send_with_key(owner, path, body, Accept="application/json")
    assert (pending.status_code, pending.get_json()) == (409, {"error": "conflict"})
    drafts.finish_stale()
    again = send_with_key(owner, path, body, Accept="application/json")
    assert (again.status_code, again.get_json()["error"]) == (502, "upstream_error")
    half = again.get_json()["details"]["messages"][1]
    assert (half["content"], half["metadata"]["finish_reason"]) == ("half", "interrupted")
    ending = [("delta", {"content": "half"}), ("error", {"error": "upstream_error"})]
    assert events(send_with_key(owner, path, body)) == [("message", question), *ending]


def test_repeat_of_a_chat_in_progress_is_a_conflict(owner: ApiClient) -> None:
    session = owner.session()
    path = f"/api/sessions/{session['id']}/chat"
    stream = send_with_key(owner, path, {"content": "say x\nwait 30"})
    pieces = stream.iter_encoded()
    assert b"message" in next(pieces)
    again = send_with_key(owner, path, {"content": "say x\nwait 30"})
    assert (again.status_code, again.get_json()) == (409, {"error": "conflict"})
    stream.close()
    again = send_with_key(owner, path, {"content": "say x\nwait 30"})
    assert (again.status_code, again.get_json()) == (409, {"error": "conflict"})  # it goes on without its client
    assert owner.delete(path).status_code == 204


@pytest.mark.parametrize("script", ["say x\nwait 30", "wait 30"])
def test_replay_of_a_stopped_chat_ends_as_it_did(owner: ApiClient, script: str) -> None:
    session = owner.session()
    path, body = f"/api/sessions/{session['id']}/chat", {"content": script}
    stream = send_with_key(owner, path, body)
    pieces = stream.iter_encoded()
    begun = next(pieces) + (next(pieces) if "say" in script else b"")
    assert owner.delete(path).status_code == 204
    first = parse_events(begun + b"".join(pieces))
    stream.close()
    stored = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
    messages = [("message", message) for message in stored]
    assert [event for event in first if event[0] != "delta"] == [*messages, ("done", {})]
    assert len(messages) == (2 if "say" in script else 1)
    assert events(send_with_key(owner, path, body)) == [*messages, ("done", {})]
    as_json = send_with_key(owner, path, body, Accept="application/json")
    assert (as_json.status_code, as_json.get_json()) == (201, {"messages": stored})


def test_replay_of_a_chat_whose_answer_was_replaced_leaves_that_out(owner: ApiClient) -> None:
    session = owner.session()
    path, body = f"/api/sessions/{session['id']}/chat", {"content": "say half\nerror"}
    first = events(send_with_key(owner, path, body, "first"))
    assert [name for name, _ in first] == ["message", "delta", "error"]
    second = events(send_with_key(owner, path, {"retry": True}, "second"))
    assert [name for name, _ in second] == ["message", "delta", "error"]
    question, answer = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
    assert events(send_with_key(owner, path, body, "first")) == [first[0], first[2]]
    assert events(send_with_key(owner, path, {"retry": True}, "second")) == second
    as_json = send_with_key(owner, path, {"retry": True}, "second", Accept="application/json")
    assert (as_json.status_code, as_json.get_json()["details"]) == (502, {"messages": [question, answer]})
    assert send_with_key(owner, path, {"content": "another"}, "second").status_code == 409


def test_the_end_of_a_chat_does_not_read_the_other_keys_of_the_user(owner: ApiClient) -> None:
    """Of which there may be millions in a day; meanwhile the draft is locked."""
    response = Outcome(new_id(), new_id(), max(STATUS_BY_CODE, key=len)).to_json()
    assert len(response) <= SHORT_RESPONSE
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[db.dialect]
    sql = idempotency.REPLACE.sql
    plan = list(db.execute_sql(f"{explain} {sql}", [response, owner.user_id, response]))
    assert "retries_short" in str(plan)
    assert "retries_pkey" not in str(plan)
