"""Idempotency-Key: who asks twice gets the first answer twice, and the work is done once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from database import db
from store import drafts
from tests.helpers.actions import write_actions
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.process import FakeLlm
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver

DOCUMENT = {"session": {"title": "imported"}, "messages": [message()] * 3}


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def settings(
    settings: dict[str, Any],
    fake_llm: FakeLlm,
    receiver: WebhookReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    monkeypatch.setenv("SECRET", SECRET)
    actions = str(write_actions(tmp_path / "actions.toml", receiver.url))
    return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url, "PARLEY_ACTIONS_FILE": actions}


def ask(caller: ApiClient, path: str, body: Any, key: str = "a key", **headers: str) -> Any:
    return caller.post(path, body, headers={"Idempotency-Key": key} | headers)


ROUTES = [
    ("/api/sessions", {"title": "one"}),
    ("/api/sessions/import", DOCUMENT),
    ("/api/sessions/{id}/messages", message(metadata={"a": 1})),
    ("/api/sessions/{id}/actions/ok", {"input": {"a": 1}}),
    ("/api/sessions/{id}/chat", {"content": "hello there"}),
]


def count() -> dict[str, int]:
    return {
        table: query_db(f"SELECT count(*) FROM {table}")[0][0] for table in ("sessions", "messages", "webhook_runs")
    }


@pytest.mark.parametrize(("path", "body"), ROUTES)
def test_the_same_again_gives_the_first_answer_again(owner: ApiClient, other: ApiClient, path: str, body: Any) -> None:
    session = owner.session()
    path = path.format(id=session["id"])
    first = ask(owner, path, body, Accept="application/json")
    assert first.status_code == 201
    there = count()
    for _ in range(2):
        again = ask(owner, path, body, Accept="application/json")
        assert (again.status_code, again.get_json()) == (201, first.get_json())
        assert count() == there
    for changed in (body | {"more": 1}, body | {"title": "x"}):
        refused = ask(owner, path, changed)
        assert (refused.status_code, refused.get_json()) == (409, {"error": "conflict"})
    assert ask(owner, "/api/sessions", body).status_code == (201 if path == "/api/sessions" else 409)
    assert count() == there
    assert ask(owner, path, body, "another key", Accept="application/json").get_json() != first.get_json()
    theirs = ask(other, path, body, Accept="application/json")  # keys belong to a user
    assert theirs.status_code == (404 if session["id"] in path else 201)
    assert theirs.get_json() != first.get_json()


def test_the_first_answer_is_the_first_even_when_things_have_changed(owner: ApiClient) -> None:
    first = ask(owner, "/api/sessions", {"title": "one"}).get_json()
    owner.patch(f"/api/sessions/{first['id']}", {"title": "two"})
    assert ask(owner, "/api/sessions", {"title": "one"}).get_json() == first
    owner.delete(f"/api/sessions/{first['id']}")
    assert ask(owner, "/api/sessions", {"title": "one"}).get_json() == first
    assert owner.get("/api/sessions").get_json() == {"items": []}


def test_text_is_not_kept_beyond_its_session(owner: ApiClient) -> None:
    session = owner.session()
    path = f"/api/sessions/{session['id']}/messages"
    ask(owner, path, message("a secret"))
    assert "a secret" not in str(query_db("SELECT * FROM retries"))
    owner.delete(f"/api/sessions/{session['id']}")
    assert ask(owner, path, message("a secret")).get_json() == {"error": "session_not_found"}


def test_what_was_refused_can_be_tried_again(owner: ApiClient) -> None:
    assert ask(owner, "/api/sessions", {"title": ""}).status_code == 400
    assert ask(owner, "/api/sessions/nothing/messages", message()).status_code == 404
    assert ask(owner, "/api/sessions/import?dry_run=1", DOCUMENT).status_code == 200
    assert query_db("SELECT * FROM retries") == []
    assert ask(owner, "/api/sessions", {"title": "x"}).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
def test_a_key_that_is_none(owner: ApiClient, key: str) -> None:
    answer = ask(owner, "/api/sessions", {}, key)
    assert (answer.status_code, set(answer.get_json()["details"])) == (400, {"Idempotency-Key"})
    assert owner.get("/api/sessions").get_json() == {"items": []}


def test_no_body_and_a_body_are_different(owner: ApiClient) -> None:
    key = {"Idempotency-Key": "k"}
    first = owner.post("/api/sessions", headers=key)
    assert owner.post("/api/sessions", headers=key).data == first.data
    assert owner.post("/api/sessions", {}, headers=key).status_code == 409


def test_a_day_later_it_is_forgotten(owner: ApiClient) -> None:
    first = ask(owner, "/api/sessions", {}).get_json()
    ask(owner, "/api/sessions", {}, "kept")
    query_db("UPDATE retries SET created_at = '2026-01-01T00:00:00.000Z' WHERE key = 'a key'")
    assert ask(owner, "/api/sessions", {}).get_json()["id"] != first["id"]
    assert len(query_db("SELECT * FROM retries")) == 2
    query_db("UPDATE retries SET created_at = '2026-01-01T00:00:00.000Z'")
    ask(owner, "/api/sessions", {}, "new")
    assert query_db("SELECT key FROM retries") == [("new",)]


@pytest.mark.parametrize(("path", "body"), [*ROUTES[:4], ("/api/sessions/{id}/actions/slow-30", {})])
def test_two_at_once_do_the_work_once(
    app: Flask, owner: ApiClient, receiver: WebhookReceiver, path: str, body: Any
) -> None:
    session = owner.session()
    before = count()

    def send(_: int) -> Any:
        answer = ask(ApiClient(app.test_client(), owner.token), path.format(id=session["id"]), body)
        db.close()
        return answer.status_code, answer.get_json()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(4)))
    assert answers == [answers[0]] * 4
    assert answers[0][0] == 201
    after = count()
    made = 1 if "import" not in path else 4
    assert sum(after.values()) - sum(before.values()) == made
    assert len(receiver.received) == (1 if "actions" in path else 0)


class TestChat:
    def events(self, answer: Any) -> list[tuple[str, Any]]:
        blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
        return [(block[0][7:], json.loads(block[1][6:])) for block in blocks]

    def test_its_stored_messages_are_the_answer(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        session = owner.session()
        path = f"/api/sessions/{session['id']}/chat"
        ask(owner, path, {"content": "hello there"}).get_data()
        asked = len(fake_llm.calls())
        question, reply = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
        again = ask(owner, path, {"content": "hello there"})
        assert again.mimetype == "text/event-stream"
        assert self.events(again) == [("message", question), ("message", reply), ("done", {})]
        as_json = ask(owner, path, {"content": "hello there"}, Accept="application/json")
        assert as_json.get_json() == {"messages": [question, reply]}
        assert len(fake_llm.calls()) == asked

    def test_what_is_appended_meanwhile_is_not_its_answer(self, owner: ApiClient) -> None:
        session = owner.session()
        path = f"/api/sessions/{session['id']}"
        stream = ask(owner, f"{path}/chat", {"content": "say x\nwait 0.3\nsay y"})
        pieces = stream.iter_encoded()
        next(pieces)
        owner.post(f"{path}/messages", message("intruder", role="assistant"))
        assert b"done" in b"".join(pieces)
        stream.close()
        again = ask(owner, f"{path}/chat", {"content": "say x\nwait 0.3\nsay y"}, Accept="application/json")
        assert [each["content"] for each in again.get_json()["messages"]] == ["say x\nwait 0.3\nsay y", "xy"]

    @pytest.mark.parametrize(
        ("script", "code", "status"),
        [
            (["status 500"], "upstream_error", 502),
            (["say half", "break"], "upstream_error", 502),
            (["say half", "error"], "upstream_error", 502),
            (["wait 30"], "upstream_timeout", 504),
            (["say half", "wait 30"], "upstream_timeout", 504),
        ],
    )
    def test_one_that_broke_off_ends_as_it_did(
        self, app: Flask, owner: ApiClient, script: list[str], code: str, status: int
    ) -> None:
        app.extensions["services"].llm.timeout = 0.5
        body = {"content": "\n".join(script)}
        ends = [("error", {"error": code})]
        for accept in ("text/event-stream", "application/json"):
            session = owner.session()
            path, key = f"/api/sessions/{session['id']}/chat", f"key for {accept}"
            first = ask(owner, path, body, key, Accept=accept)
            first_data = first.get_data()
            owner.post(f"/api/sessions/{session['id']}/messages", message("later"))
            there = count()
            again = ask(owner, path, body, key, Accept=accept)
            assert (again.status_code, again.get_data()) == (first.status_code, first_data)
            in_events = self.events(ask(owner, path, body, key, Accept="text/event-stream"))
            assert [name for name, _ in in_events] == ["message", *(["delta"] if "say half" in script else []), "error"]
            assert in_events[-1:] == ends
            as_json = ask(owner, path, body, key, Accept="application/json")
            assert (as_json.status_code, as_json.get_json()["error"]) == (status, code)
            stored = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
            assert as_json.get_json()["details"]["messages"] == stored[:-1]
            assert count() == there

    def test_one_that_was_cut_off_by_the_end_of_the_process(self, owner: ApiClient) -> None:
        """It ends as one that broke off: what there is of it is not an answer."""
        session = owner.session()
        path, body = f"/api/sessions/{session['id']}/chat", {"content": "say all"}
        ask(owner, path, body).get_data()
        (question, answer) = owner.get(f"/api/sessions/{session['id']}").get_json()["messages"]
        # As if the process had been killed in the middle: the draft is there, its answer is not.
        query_db("DELETE FROM messages WHERE id = ?", answer["id"])
        query_db("UPDATE retries SET answer = ?", json.dumps({"id": question["id"]}, separators=(",", ":")))
        query_db("INSERT INTO drafts VALUES (?, 'half', 'm', ?)", session["id"], question["id"])
        pending = ask(owner, path, body, Accept="application/json")
        assert (pending.status_code, pending.get_json()) == (409, {"error": "conflict"})
        run_in_transaction(drafts.finish_interrupted)
        again = ask(owner, path, body, Accept="application/json")
        assert (again.status_code, again.get_json()["error"]) == (502, "upstream_error")
        half = again.get_json()["details"]["messages"][1]
        assert (half["content"], half["metadata"]["finish_reason"]) == ("half", "interrupted")
        ending = [("delta", {"content": "half"}), ("error", {"error": "upstream_error"})]
        assert self.events(ask(owner, path, body)) == [("message", question), *ending]

    def test_one_that_is_under_way(self, owner: ApiClient) -> None:
        session = owner.session()
        path = f"/api/sessions/{session['id']}/chat"
        stream = ask(owner, path, {"content": "say x\nwait 30"})
        pieces = stream.iter_encoded()
        assert b"message" in next(pieces)
        again = ask(owner, path, {"content": "say x\nwait 30"})
        assert (again.status_code, again.get_json()) == (409, {"error": "conflict"})
        stream.close()
        again = ask(owner, path, {"content": "say x\nwait 30"}, Accept="application/json")
        assert (again.status_code, again.get_json()["error"]) == (502, "upstream_error")  # it never came to its end


@pytest.mark.parametrize(("path", "body"), ROUTES[:4])
def test_a_twin_of_what_is_not_committed_yet_gets_its_answer(
    app: Flask, owner: ApiClient, path: str, body: Any
) -> None:
    path = path.format(id=owner.session()["id"])
    before = count()

    def twin() -> Any:
        answer = ask(ApiClient(app.test_client(), owner.token), path, body)
        db.close()
        return answer.status_code, answer.get_json()

    with ThreadPoolExecutor(1) as pool:
        with db.write_transaction():
            first = ask(owner, path, body)
            second = pool.submit(twin)
            time.sleep(0.2)  # it does not see the first one, and waits for the lock to do the work itself
        assert second.result(timeout=10) == (first.status_code, first.get_json())
    assert first.status_code == 201
    made = {table: number - before[table] for table, number in count().items()}
    assert sum(made.values()) == (4 if "import" in path else 1)
