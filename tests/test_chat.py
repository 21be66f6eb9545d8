"""Chats with a model: the stand-in of fake_llm.py does what the user's message tells it to."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from flask import Flask
from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder

import models
from services import chat as chats
from services import drafts
from store import drafts as stored_drafts
from tests.helpers.client import ApiClient, message
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.fake_llm import MODEL, USAGE
from tests.helpers.process import FakeLlm

KEY = "sk-only-for-tests"
JSON = {"Accept": "application/json"}


@pytest.fixture
def settings(settings: dict[str, Any], fake_llm: FakeLlm) -> dict[str, Any]:
    return settings | {
        "PARLEY_LLM_BASE_URL": fake_llm.url,
        "PARLEY_LLM_API_KEY": KEY,
        "PARLEY_LLM_MODEL": "asked-for",
        "PARLEY_LLM_TIMEOUT_SECONDS": 1,
    }


def events(body: bytes) -> list[tuple[str, Any]]:
    """Return name and data of each event of a stream."""
    decoder = SSEDecoder()
    decoded: Iterator[ServerSentEvent | None] = (decoder.decode(line) for line in body.decode().split("\n"))
    return [(event.event, json.loads(event.data)) for event in decoded if event]


def ask(caller: ApiClient, session: dict[str, Any], *script: str, **options: Any) -> Any:
    return caller.post(f"/api/sessions/{session['id']}/chat", {"content": "\n".join(script)}, **options)


def stored(caller: ApiClient, session: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = caller.get(f"/api/sessions/{session['id']}").get_json()["messages"]
    return messages


def test_an_answer_comes_as_events(owner: ApiClient) -> None:
    session = owner.session()
    answer = owner.post(f"/api/sessions/{session['id']}/chat", {"content": "what is up", "metadata": {"tab": 1}})
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "no-store" in answer.headers["Cache-Control"]
    came = events(answer.data)
    question, reply = stored(owner, session)
    assert came == [
        ("message", question),
        *(("delta", {"content": word}) for word in ("what ", "is ", "up ")),
        ("message", reply),
        ("done", {}),
    ]
    assert (question["role"], question["content"], question["metadata"]) == ("user", "what is up", {"tab": 1})
    assert (reply["role"], reply["content"]) == ("assistant", "what is up ")
    assert type(reply["metadata"].pop("duration_ms")) is int
    assert reply["metadata"] == {"model": MODEL, "finish_reason": "stop", "usage": USAGE}
    assert owner.get("/api/sessions").get_json()["items"][0]["updated_at"] == reply["created_at"]
    assert query_db("SELECT * FROM drafts") == []


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 201),
        ("application/json, text/event-stream;q=0.5", 201),
        ("text/event-stream", 200),
        ("application/json, text/event-stream", 200),
        ("application/json; charset=utf-8", 201),
        ("Application/JSON;Charset=UTF-8", 201),
        ("application/json; indent=2; version=1", 201),
        ("application/json; charset=utf-8; q=0.9, text/event-stream; charset=utf-8; q=0.1", 201),
        ("application/json; charset=utf-8; Q=0.1, text/event-stream; q=0.9", 200),
        ("text/*;q=0.5, application/json;charset=utf-8;q=0.6", 201),
        ("*/*;q=0.1, application/json;charset=utf-8", 201),
        ("application/json;charset=utf-8;q=0", 200),
        ("text/html, application/json;charset=utf-8", 201),
        ("application/json-seq", 200),
        ("text/event-stream; charset=utf-8", 200),
        ("application/json;charset=utf-8, text/event-stream;charset=utf-8", 200),
        ("*/*", 200),
        ("text/html", 200),
        ("", 200),
    ],
)
def test_who_wants_only_json_gets_it(owner: ApiClient, accept: str, status: int) -> None:
    session = owner.session()
    answer = ask(owner, session, "hello", headers={"Accept": accept})
    assert answer.status_code == status
    if status == 201:
        assert answer.get_json() == {"messages": stored(owner, session)}
    else:
        assert events(answer.data)[-1] == ("done", {})
    assert [each["content"] for each in stored(owner, session)] == ["hello", "hello "]


def test_what_is_not_told_is_not_in_the_metadata(owner: ApiClient) -> None:
    _, reply = ask(owner, owner.session(), "say x", "no-usage", headers=JSON).get_json()["messages"]
    assert set(reply["metadata"]) == {"model", "finish_reason", "duration_ms"}


def test_a_byte_order_mark_is_no_text(owner: ApiClient) -> None:
    session = owner.session()
    assert events(ask(owner, session, "bom", "say x").data)[1] == ("delta", {"content": "first "})
    assert stored(owner, session)[1]["content"] == "first x"


@pytest.mark.parametrize(
    ("script", "code", "kept"),
    [
        (["status 401"], "upstream_error", None),
        (["status 429"], "upstream_error", None),
        (["status 500"], "upstream_error", None),
        (["redirect"], "upstream_error", None),
        (["html"], "upstream_error", None),
        (["break"], "upstream_error", None),
        (["say half", "break"], "upstream_error", "half"),
        (["say half", "end"], "upstream_error", "half"),
        (["say half", "error"], "upstream_error", "half"),
        (["say half", "line 10000000"], "upstream_error", "half"),
        (["gzip", "say half"], "upstream_error", None),
        (["say half", "raw {"], "upstream_error", "half"),
        (["say half", "raw []"], "upstream_error", "half"),
        (["say half", 'raw {"choices": 5}'], "upstream_error", "half"),
        (["say half", 'raw {"choices": [{"delta": {"content": 5}}]}'], "upstream_error", "half"),
        (["say "], "upstream_error", None),  # all of it is nothing
        (["wait 30"], "upstream_timeout", None),
        (["say half", "wait 30"], "upstream_timeout", "half"),
        (["say half", "drip 0.1"], "upstream_timeout", "half"),
        (["repeat 1000 0.05 ha"], "upstream_timeout", "ha"),
    ],
)
def test_what_goes_wrong_upstream(owner: ApiClient, script: list[str], code: str, kept: str | None) -> None:
    session = owner.session()
    came = events(ask(owner, session, *script).data)
    question, *replies = stored(owner, session)
    assert came[0] == ("message", question)
    assert came[-1] == ("error", {"error": code})
    assert {name for name, _ in came[1:-1]} <= {"delta"}
    assert "".join(data["content"] for _, data in came[1:-1]) == "".join(each["content"] for each in replies)
    assert [each["metadata"]["finish_reason"] for each in replies] == (["error"] if kept else [])
    assert all(each["content"].startswith(kept or "-") for each in replies)

    answer = ask(owner, session, *script, headers=JSON)
    assert (answer.status_code, answer.get_json()["error"]) == (
        {"upstream_error": 502, "upstream_timeout": 504}[code],
        code,
    )
    assert answer.get_json()["details"]["messages"] == stored(owner, session)[1 + len(replies) :]
    assert query_db("SELECT * FROM drafts") == []


def test_an_upstream_that_is_not_there(owner: ApiClient, fake_llm: FakeLlm, app: Flask) -> None:
    llm = app.extensions["services"].llm
    llm.warm_up()  # which may take longer than this test waits for an answer
    llm._url = "http://127.0.0.1:9/v1/chat/completions"
    session = owner.session()
    assert events(ask(owner, session, "x").data)[-1] == ("error", {"error": "upstream_error"})
    assert [each["role"] for each in stored(owner, session)] == ["user"]


def test_an_answer_without_end_is_cut(owner: ApiClient) -> None:
    session = owner.session()
    came = events(ask(owner, session, f"repeat 600 0 {'é' * 99}").data)
    assert came[-1] == ("done", {})
    reply = stored(owner, session)[1]
    assert reply["content"] == "é" * 50_000
    assert "".join(data["content"] for name, data in came if name == "delta") == reply["content"]
    assert reply["metadata"]["finish_reason"] == "length"


def test_what_cannot_be_stored_is_replaced(owner: ApiClient) -> None:
    script = 'raw {"model": "m\\u0000", "choices": [{"delta": {"content": "a\\u0000b"}}], "usage": {"a\\u0000": 1}}'
    _, reply = ask(owner, owner.session(), script, "no-usage", headers=JSON).get_json()["messages"]
    assert reply["content"] == "a\ufffdb"
    assert "usage" not in reply["metadata"]


@pytest.mark.parametrize(
    "body",
    [
        ...,
        None,
        {},
        [],
        {"content": ""},
        {"content": None},
        {"content": 5},
        {"content": "x" * 50_001},
        {"content": "\0"},
        {"content": "x", "metadata": []},
        {"content": "x", "metadata": {"a": "\0"}},
    ],
)
def test_refuses(owner: ApiClient, body: Any) -> None:
    session = owner.session()
    answer = owner.post(f"/api/sessions/{session['id']}/chat", body)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
    assert stored(owner, session) == []


def test_the_upstream_gets_what_the_prompt_shows(owner: ApiClient, fake_llm: FakeLlm) -> None:
    session = owner.imported(message("first"), message("second", role="assistant"), message("third", role="system"))
    owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "Be brief."})
    shown = owner.get(f"/api/sessions/{session['id']}/prompt?content=hello").get_json()["messages"]
    assert shown == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "second"},
        {"role": "system", "content": "third"},
        {"role": "user", "content": "hello"},
    ]
    _ = ask(owner, session, "hello").data
    call = fake_llm.calls()[-1]
    assert call["asked"]["messages"] == shown
    assert (call["path"], call["asked"]["model"]) == ("/v1/chat/completions", "asked-for")
    assert call["authorization"] == f"Bearer {KEY}"


def test_the_key_is_nowhere_to_be_seen(owner: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("parley").propagate = True
    session = owner.session()
    body = ask(owner, session, "status 401").data + owner.get(f"/api/sessions/{session['id']}").data
    assert KEY.encode() not in body
    assert "status 401 test" in caplog.text
    assert KEY not in caplog.text


def test_a_session_that_is_deleted_meanwhile(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "SAVE_INTERVAL", 0.05)
    session = owner.session()
    answer = ask(owner, session, "repeat 1000 0.01 x")
    pieces = answer.iter_encoded()
    assert b"event: message" in next(pieces)
    owner.delete(f"/api/sessions/{session['id']}")
    assert events(b"".join(pieces))[-1] == ("error", {"error": "session_not_found"})
    answer.close()
    assert owner.get("/api/sessions").get_json() == {"items": []}


def test_what_a_process_that_is_no_more_has_left(owner: ApiClient) -> None:
    begun, silent = owner.imported(message()), owner.imported(message())
    query_db("INSERT INTO drafts (session_id, content, model) VALUES (?, 'half of', 'm')", begun["id"])
    query_db("INSERT INTO drafts (session_id, content, model) VALUES (?, '', NULL)", silent["id"])
    run_in_transaction(stored_drafts.finish_interrupted)
    assert query_db("SELECT * FROM drafts") == []
    assert len(stored(owner, silent)) == 1
    _, reply = stored(owner, begun)
    assert (reply["role"], reply["content"]) == ("assistant", "half of")
    assert reply["metadata"] == {"model": "m", "finish_reason": "interrupted"}


def test_a_draft_that_could_not_be_stored_is_when_the_next_one_begins(owner: ApiClient) -> None:
    session = owner.session()
    query_db("INSERT INTO drafts (session_id, content, model) VALUES (?, 'half of', 'm')", session["id"])
    assert events(ask(owner, session, "hello").data)[-1] == ("done", {})
    assert [each["content"] for each in stored(owner, session)] == ["half of", "hello", "hello "]


def test_silence_is_broken_by_comments(owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "KEEP_ALIVE_INTERVAL", 0)
    body = ask(owner, owner.session(), "say x", "wait 0.5", "say y").data
    assert b"\n\n: " in body
    assert [name for name, _ in events(body)] == ["message", "delta", "delta", "message", "done"]


def test_no_transaction_is_open_meanwhile(owner: ApiClient) -> None:
    answer = ask(owner, owner.session(), "say x", "wait 0.5")
    pieces = answer.iter_encoded()
    next(pieces)
    assert not models.db.in_transaction()
    assert owner.post("/api/sessions").status_code == 201
    assert events(b"".join(pieces))[-1] == ("done", {})
    answer.close()


class TestNotConfigured:
    @pytest.fixture
    def settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings | {"PARLEY_LLM_BASE_URL": None}

    def test_it_says_so_and_stores_nothing(self, owner: ApiClient) -> None:
        session = owner.session()
        answer = ask(owner, session, "x")
        assert (answer.status_code, answer.get_json()) == (503, {"error": "llm_not_configured"})
        assert "Retry-After" not in answer.headers
        assert stored(owner, session) == []


def test_the_stand_in_speaks_the_real_protocol(fake_llm: FakeLlm) -> None:
    """The official client understands it, streamed, whole and refused."""
    with openai.OpenAI(base_url=fake_llm.url, api_key=KEY, max_retries=0) as client:
        question: Any = {"model": "m", "messages": [{"role": "user", "content": "say well\nsay  done"}]}
        with client.chat.completions.create(**question, stream=True, stream_options={"include_usage": True}) as stream:
            chunks = list(stream)
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "well done"
        assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
        assert (chunks[-1].model, chunks[-1].usage and chunks[-1].usage.total_tokens) == (MODEL, USAGE["total_tokens"])
        whole = client.chat.completions.create(**question)
        assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("well done", "stop")
        question["messages"] = [{"role": "user", "content": "status 429"}]
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**question, stream=True)
